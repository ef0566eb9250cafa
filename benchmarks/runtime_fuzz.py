"""Coverage-guided fuzzing of what the runtime reads: texts, input files and model files.

    pip install atheris
    python benchmarks/runtime_fuzz.py text|file|model|all [--seconds 60] [--model FILE]

``all`` runs the three one after the other, each for that long, and writes ``results/runtime_fuzz.json``.
A crash, a hang of more than 10 s, more than 2 GB of memory or any exception but the documented ones ends it with a
report and the input in a file; otherwise it ends with exit code 0. The target ``file`` reads the same bytes in every
form; ``model`` changes bytes of a model file with its seal taken off, so that onnxruntime has to cope with them.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import atheris
from machine import machine, write_result

with atheris.instrument_imports(include=["runtime", "email", "csv", "json"]):
    from runtime import SpamClassifier
    from runtime.errors import InputError, ModelError
    from runtime.inputs import Form, Reader
    from runtime.model_file import shipped_model, unsealed
    from runtime.tokenizer import encode

FORMS: tuple[Form, ...] = ("text", "csv", "tsv", "jsonl", "eml", "mbox")
SCRATCH = Path(tempfile.mkdtemp()) / "input"
FLAGS = sys.argv[2:]
SECONDS = int(FLAGS[FLAGS.index("--seconds") + 1]) if "--seconds" in FLAGS else 60
MODEL = Path(FLAGS[FLAGS.index("--model") + 1]) if "--model" in FLAGS else shipped_model()


def fuzz_text(data: bytes) -> None:
    """Every string has ids and a verdict."""
    text = atheris.FuzzedDataProvider(data).ConsumeUnicode(len(data))
    ids, _ = encode(text, 64)
    assert 1 <= len(ids) <= 64
    assert CLASSIFIER.verdict(text).label in CLASSIFIER.labels


def fuzz_file(data: bytes) -> None:
    """Any bytes are messages or an ``InputError``, in every form."""
    SCRATCH.write_bytes(data)
    for form in FORMS:
        try:
            for message in Reader(form=form, text_column="text" if form == "jsonl" else None).read([str(SCRATCH)]):
                assert isinstance(message.text, str)
        except InputError:  # noqa: PERF203
            continue


def fuzz_model(data: bytes) -> None:
    """A changed model is refused or serves."""
    changes = atheris.FuzzedDataProvider(data)
    broken = bytearray(WHOLE)
    for _ in range(changes.ConsumeIntInRange(1, 8)):
        # weights are most of a file and least of what can go wrong: aim at its ends
        span = changes.PickValueInList([256, 4096, len(broken)])
        at = changes.ConsumeIntInRange(0, span - 1)
        broken[at if changes.ConsumeBool() else -1 - at] = changes.ConsumeIntInRange(0, 255)
    SCRATCH.write_bytes(broken)
    try:
        SpamClassifier(SCRATCH, threads=1).verdict("WIN a prize now")
    except ModelError:
        return


TARGETS = {"text": fuzz_text, "file": fuzz_file, "model": fuzz_model}


def run_all() -> None:
    """Every target in a process of its own; what it ran and how it ended."""
    found = {}
    for target in TARGETS:
        done = subprocess.run([sys.executable, __file__, target, *FLAGS], stderr=subprocess.PIPE, text=True)
        runs = re.findall(r"Done (\d+) runs", done.stderr)
        if done.returncode or not runs:
            raise SystemExit(f"{target}: {done.stderr[-2000:]}")
        found[target] = {"runs": int(runs[-1]), "seconds": SECONDS}
        print(target, found[target], flush=True)
    write_result("runtime_fuzz", {"targets": found} | machine())


if __name__ == "__main__":
    if sys.argv[1] == "all":
        run_all()
        sys.exit()
    if sys.argv[1] == "text":
        CLASSIFIER = SpamClassifier(MODEL, threads=1)
    WHOLE = unsealed(MODEL.read_bytes())
    libfuzzer = [f"-max_total_time={SECONDS}", "-timeout=10", "-rss_limit_mb=2048", "-max_len=4096", "-verbosity=1"]
    atheris.Setup([sys.argv[0], *libfuzzer, f"-artifact_prefix={SCRATCH.parent}/"], TARGETS[sys.argv[1]])
    atheris.Fuzz()
