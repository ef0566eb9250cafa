"""What the benchmarks say is what their results say."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


def program(name: str) -> ModuleType:
    """One of the benchmarks, which find each other in their folder."""
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def report() -> ModuleType:
    return program("report")


@pytest.fixture(scope="module")
def quality() -> ModuleType:
    return program("quality")


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


def row(contestant: str, split: int, value: float, figure: str = "f1", **others: object) -> dict[str, object]:
    about = {"contestant": contestant, "set": "sms", "protocol": "natural", "split": split, "figure": figure}
    return about | {"value": value} | others


def test_rows_about_the_same_take_the_place_of_earlier_ones(quality: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "quality.jsonl"
    quality.add_rows([row("naive Bayes", 0, 0.5), row("nano", 1, 0.25), row("nano", 0, 1 / 3, low=0.1, high=0.4)], path)
    quality.add_rows([row("naive Bayes", 0, 0.75)], path)
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == [
        row("nano", 0, 0.333333, low=0.1, high=0.4),
        row("nano", 1, 0.25),
        row("naive Bayes", 0, 0.75),
    ]


def test_a_difference_is_paired(quality: ModuleType) -> None:
    labels = np.array([0, 1] * 200)
    scores = np.random.default_rng(0).random(400) * 0.6 + 0.4 * labels
    for found in quality.differences(labels, (scores, 0.5), (scores, 0.5)):
        assert (found["value"], found["low"], found["high"]) == (0, 0, 0)
    by_name = {found["figure"]: found for found in quality.differences(labels, (scores, 0.5), (1 - scores, 0.5))}
    auc = by_name["roc_auc over the best linear model"]
    assert 0 < auc["low"] < auc["value"] < auc["high"]


def test_a_set_of_one_class_has_no_figure_that_needs_two(quality: ModuleType) -> None:
    found = {row["figure"] for row in quality.figures(np.ones(50, dtype=int), np.linspace(0, 1, 50), 0.5)}
    assert "recall" in found
    assert not found & {"f1", "roc_auc", "false_positive_rate", "f1_at_half"}


def test_a_pivot_has_means_over_splits_and_the_interval_of_a_single_one(report: ModuleType) -> None:
    rows = [
        row("nano", 0, 0.9),
        row("nano", 1, 0.9),
        row("naive Bayes", 0, 0.5, low=0.4, high=0.6),
        row("x", 0, 1, "y"),
    ]
    assert report.pivoted(report.Pivot("F1, %", "contestant", "figure"), rows) == (
        "| F1, % | F1 |\n| --- | --- |\n| nano | 90.00 ± 0.00 |\n| naive Bayes | 50.00 (40.00 to 60.00) |"
    )


def test_a_pivot_of_one_set_has_nothing_of_another(report: ModuleType) -> None:
    rows = [
        row("nano", 0, 0.9),
        row("nano", 0, 0.1) | {"set": "sms + datasets"},
        row("nano", 0, 0.2) | {"set": "theme job"},
    ]
    assert "90.00" in report.pivoted(report.Pivot("", sets="sms"), rows)
    assert "10.00" not in report.pivoted(report.Pivot("", sets="sms"), rows)
    assert "20.00" in report.pivoted(report.Pivot("", sets="theme "), rows)
    assert "20.00" not in report.pivoted(report.Pivot(""), rows)
