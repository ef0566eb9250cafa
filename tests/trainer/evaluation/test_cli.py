"""``spam-eval`` as a user runs it."""

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
