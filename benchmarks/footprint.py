"""What it takes to install, and to get a first verdict: beside transformers with PyTorch, Optimum and scikit-learn.

    python benchmarks/footprint.py [--optimum-python OTHER/bin/python] [--rounds 5] [--shape nano]

OTHER is an environment of its own with `pip install optimum-onnx[onnxruntime]`. Install size: bytes on disk of a
package and of all it depends on, by the lists of files that pip keeps, in the environment that has it. Cold start: a
new process classifies one line, from start to exit, all with the same weights in fp32 but scikit-learn, which has the
SVM of `runtime_throughput.py`; everything is in the disk cache already. 1 minute. Linux only.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import ROOT, machine, write_result
from processes import optimum_versions, output_of, ratios, spreads

INSTALLS = {
    "transformers and PyTorch": ["transformers", "torch"],
    "scikit-learn": ["scikit-learn"],
}
LINE = "WIN a prize now, call 0900 000 1234"

SIZES = """
import importlib.metadata as metadata, json, re, sys
from packaging.requirements import Requirement
def closure(names):
    waiting, seen = [Requirement(name) for name in names], {}
    while waiting:
        wanted = waiting.pop()
        name = re.sub("[-_.]+", "-", wanted.name).lower()
        if name in seen and wanted.extras <= seen[name]:
            continue
        try:
            requires = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        seen[name] = seen.get(name, set()) | wanted.extras
        for other in map(Requirement, requires):
            if not other.marker or any(other.marker.evaluate({"extra": extra}) for extra in wanted.extras | {""}):
                waiting.append(other)
    return seen
def size(name):
    places = (file.locate() for file in metadata.files(name) or [])
    return sum(place.stat().st_size for place in places if place.is_file())
sizes = {name: size(name) for name in closure(sys.argv[1:])}
print(json.dumps({name: round(value / 1e6, 1) for name, value in sorted(sizes.items(), key=lambda one: -one[1])}))
"""
"""Run in the environment whose packages are measured: megabytes of those named and of all they need."""

PEAK = """
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024 / 1e6)
"""

TORCH = (
    """
import sys
import torch
from transformers import GPT2ForSequenceClassification, PreTrainedTokenizerFast
tokenizer = PreTrainedTokenizerFast(tokenizer_file=sys.argv[1] + "/tokenizer.json")
model = GPT2ForSequenceClassification.from_pretrained(sys.argv[1]).eval()
with torch.no_grad():
    logits = model(**tokenizer(sys.argv[2], return_tensors="pt", return_token_type_ids=False)).logits
label = model.config.id2label[int(logits.argmax())]
"""
    + PEAK
)

OPTIMUM = (
    """
import sys
from optimum.onnxruntime import ORTModelForSequenceClassification
from transformers import PreTrainedTokenizerFast
tokenizer = PreTrainedTokenizerFast(tokenizer_file=sys.argv[1] + "/tokenizer.json")
model = ORTModelForSequenceClassification.from_pretrained(sys.argv[1] + "/onnx")
logits = model(**tokenizer(sys.argv[2], return_tensors="pt", return_token_type_ids=False)).logits
label = model.config.id2label[int(logits.argmax())]
"""
    + PEAK
)

SKLEARN = (
    """
import sys
import joblib
label = joblib.load(sys.argv[1] + "/svm.joblib").predict([sys.argv[2]])[0]
"""
    + PEAK
)

OURS = (
    """
import sys
from runtime import SpamClassifier
label = SpamClassifier(sys.argv[1] + "/ours.onnx").predict([sys.argv[2]])[0]
"""
    + PEAK
)


def main() -> None:
    """Measure both and write ``results/footprint.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimum-python", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shape", default="nano", help="of the model that starts: nano or gpt2")
    arguments = parser.parse_args()
    optimum = str(arguments.optimum_python) if arguments.optimum_python else None
    result: dict[str, Any] = {"install_mb": installs(optimum), "shape": arguments.shape, "rounds": arguments.rounds}
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), arguments.shape, optimum)
        result["cold_start"] = cold_start(folder, arguments.rounds, optimum)
    write_result("footprint", result | machine() | optimum_versions(arguments.optimum_python))
    print(json.dumps(result["cold_start"], indent=1))


def installs(optimum: str | None) -> dict[str, Any]:
    """Megabytes of each install, as a whole and package by package; ours with its own folder and dependencies."""
    own = [line for line in importlib.metadata.requires("spam-edge") or [] if "extra ==" not in line]
    measured = {"spam-edge": [sys.executable, *own]}
    measured |= {name: [sys.executable, *packages] for name, packages in INSTALLS.items()}
    if optimum:
        measured["Optimum for onnxruntime"] = [optimum, "optimum-onnx[onnxruntime]"]
    found = {}
    for name, (python, *packages) in measured.items():
        sizes = json.loads(output_of([python, "-c", SIZES, *packages]))
        if name == "spam-edge":
            sizes["spam-edge"] = round(sum(map(folder_mb, ("runtime", "trainer", "exporter"))), 1)
        found[name] = {"total": round(sum(sizes.values()), 1), "packages": sizes}
        print(name, found[name]["total"], "MB")
    return found


def folder_mb(name: str) -> float:
    """Megabytes of a folder of this project, compiled files left out."""
    files = (path for path in (ROOT / name).rglob("*") if path.is_file() and path.suffix != ".pyc")
    return sum(path.stat().st_size for path in files) / 1e6


def prepare(folder: Path, shape: str, optimum: str | None) -> None:
    """The same random weights for all of them; and an SVM fitted on the collection."""
    import joblib
    from export_speed import OPTIMUM as EXPORT
    from runtime_throughput import SVM, fitted

    from exporter.export import Options, release, write_graph
    from exporter.huggingface import write_tokenizer
    from runtime.spec import ClassifierSpec
    from trainer.checkpoint import Classifier, save_model
    from trainer.gpt2 import SHAPES

    model = Classifier(SHAPES[shape], ClassifierSpec())
    model.initialize(0)
    save_model(folder, model, model.spec)
    write_tokenizer(folder, 1024)
    write_graph(model.config, release(model), model.spec, Options(), folder / "ours.onnx")
    if optimum:
        subprocess.run([optimum, "-c", EXPORT, str(folder), str(folder / "onnx")], check=True)
        (folder / "onnx" / "model_quantized.onnx").unlink()
    joblib.dump(fitted(SVM), folder / "svm.joblib")


def cold_start(folder: str, rounds: int, optimum: str | None) -> dict[str, Any]:
    """Seconds from start to exit, ratios to ours within a round, and the most memory; all in fp32."""
    commands = {
        "spam-edge": [sys.executable, "-c", OURS],
        "transformers and PyTorch": [sys.executable, "-c", TORCH],
        "scikit-learn": [sys.executable, "-c", SKLEARN],
    }
    if optimum:
        commands["Optimum for onnxruntime"] = [optimum, "-c", OPTIMUM]
    seconds, peaks = [], []
    for number in range(rounds + 1):
        taken, peak = {}, {}
        for name, command in commands.items():
            began = time.perf_counter()
            peak[name] = float(output_of([*command, folder, LINE]))
            taken[name] = time.perf_counter() - began
        if number:  # the first fills the disk cache
            seconds.append(taken)
            peaks.append(peak)
    return {
        "seconds": spreads(seconds),
        "times_ours": ratios(seconds, ["spam-edge"])["spam-edge"],
        "peak_mb": spreads(peaks),
    }


if __name__ == "__main__":
    main()
