"""What the benchmarks say is what their results say."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def report() -> ModuleType:
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("report", FOLDER / "report.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["report"] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
    return module


def test_the_page_is_made_of_the_results(report: ModuleType) -> None:
    assert report.README.read_text(encoding="utf-8") == report.page(report.read_results()), (
        "run `python benchmarks/report.py`"
    )


def test_the_block_of_the_readme_is_made_of_the_results(report: ModuleType) -> None:
    text = report.TOP.read_text(encoding="utf-8")
    assert text == report.with_block(text, report.read_results()), "run `python benchmarks/report.py`"


def test_without_results_the_page_says_what_makes_them(report: ModuleType) -> None:
    page = report.page({})
    for program in ("latency.py", "scaling.py", "footprint.py", "train_speed.py", "quality.py", "invariance.py"):
        assert f"`python benchmarks/{program}" in page


def test_a_result_of_another_form_does_not_stop_the_page(report: ModuleType) -> None:
    assert "earlier form" in report.page({"scaling": json.loads("{}")})


def test_only_what_is_between_the_markers_changes(report: ModuleType) -> None:
    text = report.with_block(f"before {report.BEGIN} old {report.END} after", {})
    assert text.startswith(f"before {report.BEGIN}\n")
    assert text.endswith(f"{report.END} after")
    assert " old " not in text
    assert report.with_block("no markers", {}) == "no markers"


def test_a_ratio_is_bold_where_ours_is_behind(report: ModuleType) -> None:
    assert report.ratio({"median": 0.744, "least": 0.7, "most": 1.2}) == "**0.74 (0.70–1.20)**"
    assert report.ratio({"median": 17.23, "least": 9.5, "most": 18.0}) == "17.2 (9.50–18)"
