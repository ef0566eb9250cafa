"""A file that takes strings, in a program that is not Python: ``examples/classify.cpp``.

Run where g++ is, and onnxruntime's headers (Debian's ``libonnxruntime-dev``) in ``/usr/include/onnxruntime`` or
``$SPAM_EDGE_ORT_INCLUDE``. The libraries are those inside the Python packages.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import onnxruntime as ort
import pytest

from exporter.export import Options, export, extensions_library
from exporter.verify import HARD_TEXTS
from runtime import SpamClassifier
from runtime.spec import ClassifierSpec
from tests.exporter.models import make_model, saved

SOURCE = Path(__file__).parents[2] / "examples" / "classify.cpp"
INCLUDE = Path(os.environ.get("SPAM_EDGE_ORT_INCLUDE", "/usr/include/onnxruntime"))
# one message a line, so those with a newline inside are left out
TEXTS = [text for text in HARD_TEXTS if "\n" not in text] + ["<|endoftext|>", "WIN £1000 now 🎉🎉", "see you at noon"]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxruntime_extensions", reason="onnxruntime-extensions is not installed")
    if not shutil.which("g++"):
        pytest.skip("g++ is not installed")
    if not (INCLUDE / "onnxruntime_cxx_api.h").is_file():
        pytest.skip(f"onnxruntime_cxx_api.h is not in {INCLUDE}: set SPAM_EDGE_ORT_INCLUDE to its folder")
    folder = tmp_path_factory.mktemp("cpp")
    library = next((Path(ort.__file__).parent / "capi").glob("libonnxruntime.so.*"), None)
    if library is None:
        pytest.skip("this onnxruntime package has no libonnxruntime.so")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).symlink_to(library)
    command = ["g++", "-std=c++17", "-Wall", str(SOURCE), "-I", str(INCLUDE), "-L", str(folder), "-lonnxruntime"]
    subprocess.run([*command, f"-Wl,-rpath,{folder}", "-o", str(folder / "classify")], check=True, timeout=300)
    return folder / "classify"


def run(program: Path, *arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    # the build of the extensions inside a Python package wants Python's library, which no other build does
    library = Path(sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("LDLIBRARY"))
    environment = {**os.environ, **({"LD_PRELOAD": str(library)} if library.suffix == ".so" else {})}
    command = [str(program), *map(str, arguments)]
    return subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environment,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "spec",
    [
        ClassifierSpec(threshold=0.4, temperature=3.0),
        ClassifierSpec(
            threshold=0.7, temperature=3.0, labels=("spam", "ham", "other"), padding="longest", pad_length=40
        ),
    ],
    ids=["two labels", "three labels, padding as text"],
)
def test_a_cpp_program_gives_the_runtimes_verdicts(program: Path, tmp_path: Path, spec: ClassifierSpec) -> None:
    checkpoint = saved(make_model(spec, n_labels=len(spec.labels)), tmp_path / "checkpoint")
    export(checkpoint, tmp_path / "ids.onnx", Options())
    export(checkpoint, tmp_path / "text.onnx", Options(text=True))
    stdin = "".join(f"{text}\n" for text in TEXTS)
    result = run(program, tmp_path / "text.onnx", extensions_library(), stdin=stdin)
    assert result.returncode == 0, result.stderr
    answers = [line.split("\t") for line in result.stdout.splitlines()]
    expected = SpamClassifier(tmp_path / "ids.onnx").verdicts(TEXTS)
    assert [label for label, _ in answers] == [verdict.label for verdict in expected]
    assert [float(score) for _, score in answers] == pytest.approx([verdict.score for verdict in expected], abs=1e-5)
    assert len({label for label, _ in answers}) > 1


def test_what_the_program_cannot_open_is_one_line(program: Path, tmp_path: Path) -> None:
    result = run(program, tmp_path / "none.onnx", extensions_library())
    assert result.returncode == 2
    assert result.stderr.startswith("classify: ") and len(result.stderr.splitlines()) == 1
