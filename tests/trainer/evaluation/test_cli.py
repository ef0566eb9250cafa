"""``spam-eval`` as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "examples" / "messages.tsv"
MODEL = ROOT / "runtime" / "models" / "nano.onnx"
WITHOUT_TORCH = """
import sys
class Finder:
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Finder)
"""
"""Hides PyTorch from a process."""


def spam_eval(*arguments: object, before: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command; ``before`` is Python that runs first in its process."""
    code = f"{before}\nimport sys; sys.argv[0] = 'spam-eval'\nfrom trainer.evaluation.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, cwd=cwd)


def test_no_pytorch_is_imported(tmp_path: Path) -> None:
    watch = (
        "import atexit, sys; atexit.register(lambda: print('TORCH' if 'torch' in sys.modules else 'LIGHT', "
        "file=sys.stderr))"
    )
    done = spam_eval(MODEL, SAMPLE, "--out", tmp_path / "report", before=watch)
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("LIGHT\n")


def test_no_pytorch_is_needed() -> None:
    done = spam_eval(MODEL, SAMPLE, before=WITHOUT_TORCH)
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout


def test_every_module_of_evaluation_can_be_imported_without_pytorch() -> None:
    names = [path.stem for path in (ROOT / "trainer" / "evaluation").glob("*.py") if path.stem != "__init__"]
    assert len(names) > 5
    code = WITHOUT_TORCH + "".join(f"import trainer.evaluation.{n}\n" for n in names)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_its_extra_the_command_says_which_to_install() -> None:
    hide = "import importlib.util as u; f = u.find_spec; u.find_spec = lambda n, *a: None if n == 'scipy' else f(n, *a)"
    done = spam_eval(MODEL, SAMPLE, before=hide)
    assert done.returncode == 2
    assert done.stderr == "spam-eval: needs packages that are not installed (scipy): pip install 'spam-edge[eval]'\n"


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def sample(count: int, **columns: str) -> list[dict[str, str]]:
    lines = [line.split("\t", 1) for line in SAMPLE.read_text(encoding="utf-8").splitlines()[:count]]
    return [{"label": label, "text": text} | columns for label, text in lines]


def test_each_file_and_each_group_has_figures_and_all_together_too(tmp_path: Path) -> None:
    german, french, few = (sample(n, language=code) for n, code in ((40, "de"), (60, "fr"), (29, "it")))
    first = write(tmp_path / "first.jsonl", german + few)
    second = write(tmp_path / "second.jsonl", french)
    ham = write(tmp_path / "ham.jsonl", [row for row in german if row["label"] == "ham"])
    done = spam_eval(MODEL, first, second, ham, "--out", tmp_path / "report")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert {name: of["figures"]["count"] for name, of in report["sets"].items()} == {
        "first.jsonl": 69, "second.jsonl": 60, "ham.jsonl": len(ham.read_text().splitlines()),
    }  # fmt: skip
    assert report["all"]["count"] == sum(of["figures"]["count"] for of in report["sets"].values())
    assert list(report["sets"]["first.jsonl"]["by"]["language"]) == ["de"]  # 29 messages are too few
    alone = spam_eval(MODEL, write(tmp_path / "german.jsonl", german), "--out", tmp_path / "alone")
    assert alone.returncode == 0, alone.stderr
    figures = json.loads((tmp_path / "alone" / "metrics.json").read_text())["all"]
    assert report["sets"]["first.jsonl"]["by"]["language"]["de"] == figures
    assert {"roc_auc", "f1", "recall_at_fpr_0.001", "recall_at_fpr_0.02"} <= figures["intervals"].keys()
    assert [row["target_false_positive_rate"] for row in report["thresholds"]] == [0.001, 0.005, 0.01, 0.02]
    for title in ("first.jsonl by language", "All files, with", "All files by language"):
        assert title in done.stdout


def test_groups_are_by_the_columns_that_are_asked_for(tmp_path: Path) -> None:
    data = write(tmp_path / "a.jsonl", sample(40, kind="x", language="de") + sample(35, kind="y", language="de"))
    done = spam_eval(MODEL, data, "--by", "kind", "--out", tmp_path / "report")
    assert done.returncode == 0, done.stderr
    by = json.loads((tmp_path / "report" / "metrics.json").read_text())["by"]
    assert {column: {value: of["count"] for value, of in groups.items()} for column, groups in by.items()} == {
        "kind": {"x": 40, "y": 35}
    }
    done = spam_eval(MODEL, data, "--by", "knd")
    assert done.returncode == 2
    assert done.stderr == "spam-eval: --by knd: no file has anything in a column of this name\n"


def test_a_folder_is_its_files(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "b.jsonl", sample(30))
    write(tmp_path / "data" / "a.jsonl", sample(20))
    done = spam_eval(MODEL, tmp_path / "data", "--out", tmp_path / "report")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert list(report["sets"]) == ["a.jsonl", "b.jsonl"]
