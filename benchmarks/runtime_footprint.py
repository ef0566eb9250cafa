"""What the runtime costs to start, to keep and to wait for.

    python benchmarks/runtime_footprint.py --large 124M_INT8.onnx [--model SMALL.onnx] [--rounds 9]

Start: `import runtime`, `from runtime import SpamClassifier`, `spam-infer` on one line from start to exit, beside
`import onnxruntime`, each a new process, in turns. Memory: what a classifier with the 124M int8 file adds to a process
that has imported onnxruntime, after it has classified the collection's first messages, beside the size of the file,
for several session options; and the peak over 1,000 messages of 1,024 tokens for several batch budgets (with the small
model). Live: from a line written to `spam-infer -` to its verdict. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from machine import collection, machine, write_result

SPAM_INFER = [sys.executable, "-c", "from runtime.cli import main; main()"]
SETTINGS: Mapping[str, Mapping[str, object]] = {
    "as shipped": {},
    "onnxruntime's defaults": {
        "session.use_device_allocator_for_initializers": "0",
        "session.force_spinning_stop": "0",
    },
    "no prepacking": {"session.disable_prepacking": "1"},
    "no arena": {"enable_cpu_mem_arena": False},
}

MEMORY = """
import json, os, sys
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
def resident(key):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024
import numpy, onnxruntime
before = resident("VmRSS")
from runtime import SpamClassifier
model, options, budget, data = sys.argv[1:]
classifier = SpamClassifier(model or None, session_options=json.loads(options), max_batch_tokens=int(budget))
for _ in classifier.stream(json.load(open(data))):
    pass
print(json.dumps({"resident": resident("VmRSS") - before, "peak": resident("VmHWM") - before}))
"""


def main() -> None:
    """Measure all three and write ``results/runtime_footprint.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", type=Path, help="a 124M int8 file")
    parser.add_argument("--model", default="", help="by default the shipped model")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    result = machine() | {"start": start(arguments.model, arguments.rounds), "live_ms": live(arguments.model)}
    result["full_context_peak_mb"] = peaks(arguments.model)
    if arguments.large:
        result["memory_124m_int8"] = memory(arguments.large)
    print(write_result("runtime_footprint", result).read_text())


def start(model: str, rounds: int) -> dict[str, object]:
    """Seconds from start to exit, and ratios to the import of onnxruntime within a round."""
    with tempfile.TemporaryDirectory() as folder:
        line = Path(folder) / "line.txt"
        line.write_text("WIN a prize now\n")
        python = [sys.executable, "-c"]
        commands = {
            "import onnxruntime": [*python, "import onnxruntime"],
            "import runtime": [*python, "import runtime"],
            "from runtime import SpamClassifier": [*python, "from runtime import SpamClassifier"],
            "spam-infer, one line": [*SPAM_INFER, str(line), "-q", *(["--model", model] if model else [])],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                began = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                times[name].append(time.perf_counter() - began)
    base = times["import onnxruntime"]
    return {
        name: {
            "seconds": round(statistics.median(values), 3),
            "of import onnxruntime": round(statistics.median(a / b for a, b in zip(values, base, strict=True)), 2),
        }
        for name, values in times.items()
    }


def live(model: str) -> dict[str, float]:
    """Milliseconds from a line to its verdict."""
    command = [*SPAM_INFER, "-", "-q", "--format", "jsonl", *(["--model", model] if model else [])]
    waits = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(101):
            began = time.perf_counter()
            process.stdin.write(f"message {number}, call me back\n".encode())
            process.stdin.flush()
            process.stdout.readline()
            waits.append(1000 * (time.perf_counter() - began))
            time.sleep(0.01)
        process.stdin.close()
    return {"median": round(statistics.median(waits[1:]), 2), "most": round(max(waits[1:]), 2)}


def peaks(model: str) -> dict[str, float]:
    """Peak over 1,000 messages that fill the context, for several budgets."""
    return {str(budget): measured(model, {}, budget, ["word " * 1200] * 1000)["peak"] for budget in (256, 4096)}


def memory(large: Path) -> dict[str, object]:
    """Memory with the large file, and how many times the file that is."""
    texts = collection()[0][:200]
    size = large.stat().st_size / 1e6
    found: dict[str, object] = {"file_mb": round(size, 1)}
    for name, options in SETTINGS.items():
        figures = measured(str(large), options, 256, texts)
        found[name] = figures | {"of the file": round(figures["resident"] / size, 2)}
    return found


def measured(model: str, options: Mapping[str, object], budget: int, texts: list[str]) -> dict[str, float]:
    """Megabytes over a process with onnxruntime alone: resident at the end, and at most."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "texts.json"
        data.write_text(json.dumps(texts))
        command = [sys.executable, "-c", MEMORY, model, json.dumps(options), str(budget), str(data)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    return {name: round(value / 1e6, 1) for name, value in json.loads(done.stdout).items()}


if __name__ == "__main__":
    main()
