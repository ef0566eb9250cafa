"""Exported files side by side with Optimum's and with OpenVINO: latency, size and memory.

    python benchmarks/export_speed.py --optimum-python OTHER/bin/python [--shape gpt2] [--rounds 15]

OTHER is an environment of its own with `pip install optimum-onnx[onnxruntime]`, since Optimum needs another version of
transformers. Weights are random: speed does not depend on them. Every file is opened in a process of its own, with two
threads. They take turns of a few runs each while the others sleep, for as many rounds as asked, so that a machine whose
speed drifts is as fast for one as for another. A figure is the median over the rounds of each turn's least time, and a
ratio the median of the ratios within a round.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

WORKLOADS = ((1, 16), (32, 16), (1, 120))
THREADS = 2
TURN_SECONDS = 0.15

Feeds = dict[str, np.ndarray]
Turns = dict[str, dict[str, float]]
"""Milliseconds by workload and name."""

OPTIMUM = """
import sys
from optimum.onnxruntime import ORTModelForSequenceClassification, ORTQuantizer
from optimum.onnxruntime.configuration import AutoQuantizationConfig
checkpoint, folder = sys.argv[1:]
ORTModelForSequenceClassification.from_pretrained(checkpoint, export=True).save_pretrained(folder)
scheme = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True)
ORTQuantizer.from_pretrained(folder).quantize(save_dir=folder, quantization_config=scheme)
"""


def main() -> None:
    """Make the files, time them, and write and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimum-python", type=Path, help="Python of an environment with optimum-onnx[onnxruntime]")
    parser.add_argument("--shape", default="gpt2", help="gpt2, gpt2-medium or nano")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--work", type=Path, help="where the files are kept and found again; by default nowhere")
    parser.add_argument("--only", nargs="*", help="names of the files to time")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "export_speed.json")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        serve(*arguments.child)
        return
    with tempfile.TemporaryDirectory() as scratch:
        files = make_files(arguments.work or Path(scratch), arguments.shape, arguments.optimum_python)
        chosen = {name: file for name, file in files.items() if not arguments.only or name in arguments.only}
        sizes = {name: path.stat().st_size / 1e6 for name, (_, path) in chosen.items()}
        rounds, memory = take_turns(chosen, arguments.rounds)
    result = summary(rounds, memory, sizes, arguments.shape)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    show(result)


def make_files(folder: Path, shape: str, optimum_python: Path | None) -> dict[str, tuple[str, Path]]:
    """Every file to time: its name, what runs it, and its path."""
    from exporter.export import Options, release, write_graph
    from runtime.spec import ClassifierSpec
    from trainer.checkpoint import Classifier, save_model
    from trainer.gpt2 import SHAPES

    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, tuple[str, Path]] = {}
    model = Classifier(SHAPES[shape], ClassifierSpec())
    model.initialize(0)
    for target, precision, opset in itertools.product(("portable", "onnxruntime"), ("fp32", "int8"), (17, 23)):
        path = folder / f"{target}-{precision}-{opset}.onnx"
        if not path.is_file():
            write_graph(model.config, release(model), model.spec, Options(opset, precision, target), path)
        files[path.stem] = ("onnxruntime", path)
    if optimum_python:
        optimum = folder / "optimum"
        if not (optimum / "model_quantized.onnx").is_file():
            checkpoint = folder / "checkpoint"
            checkpoint.mkdir(exist_ok=True)
            save_model(checkpoint, model, model.spec)
            command = [str(optimum_python), "-c", OPTIMUM, str(checkpoint), str(optimum)]
            subprocess.run(command, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
        files["optimum-fp32"] = ("onnxruntime", optimum / "model.onnx")
        files["optimum-int8"] = ("onnxruntime", optimum / "model_quantized.onnx")
        files["openvino-optimum-fp32"] = ("openvino", optimum / "model.onnx")
    files["openvino-portable-fp32-17"] = ("openvino", files["portable-fp32-17"][1])
    return files


def take_turns(files: dict[str, tuple[str, Path]], rounds: int) -> tuple[list[Turns], dict[str, float]]:
    """Time every file in every round, the others asleep; and the megabytes that each session takes."""
    children, memory = {}, {}
    for name, (runner, path) in files.items():
        command = [sys.executable, __file__, "--child", runner, str(path)]
        children[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        memory[name] = ask(children[name], "memory")
    result = []
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        result.append(
            {f"{b}x{n}": {name: ask(child, f"{b} {n}") for name, child in children.items()} for b, n in WORKLOADS}
        )
    for child in children.values():
        child.communicate()
    return result, memory


def ask(child: subprocess.Popen[str], question: str) -> float:
    """One line to a child, and the number that it answers."""
    assert child.stdin and child.stdout
    child.stdin.write(question + "\n")
    child.stdin.flush()
    return float(child.stdout.readline())


def serve(runner: str, path: str) -> None:
    """A child: answer ``memory``, or ``batch length`` with the least milliseconds of a turn."""
    run, memory = open_file(runner, path)
    for line in sys.stdin:
        if line.strip() == "memory":
            print(memory, flush=True)
            continue
        batch, length = map(int, line.split())
        ids = np.random.default_rng(0).integers(0, 50257, (batch, length))
        positions = np.tile(np.arange(length), (batch, 1))
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "position_ids": positions}
        run(feeds)
        times: list[float] = []
        while sum(times) < TURN_SECONDS or len(times) < 3:
            start = time.perf_counter()
            run(feeds)
            times.append(time.perf_counter() - start)
        print(1000 * min(times), flush=True)


def open_file(runner: str, path: str) -> tuple[Callable[[Feeds], object], float]:
    """What runs a file, and the megabytes that its session takes over the loaded library, one message computed."""
    if runner == "openvino":
        import openvino

        before = resident()
        settings = {"INFERENCE_NUM_THREADS": THREADS, "PERFORMANCE_HINT": "LATENCY"}
        compiled = openvino.Core().compile_model(path, "CPU", settings)
        names = [port.get_any_name() for port in compiled.inputs]

        def run(feeds: Feeds) -> object:
            return compiled({name: feeds[name] for name in names})
    else:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.log_severity_level = 3
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
        before = resident()
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [entry.name for entry in session.get_inputs()]

        def run(feeds: Feeds) -> object:
            return session.run(None, {name: feeds[name] for name in names})

    ids = np.ones((1, 16), np.int64)
    run({"input_ids": ids, "attention_mask": ids, "position_ids": np.arange(16)[None]})
    return run, (resident() - before) / 1e6


def resident() -> int:
    """Bytes of this process that are in memory (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def summary(rounds: list[Turns], memory: dict[str, float], sizes: dict[str, float], shape: str) -> dict[str, Any]:
    """Medians over the rounds, and ratios within a round."""
    import onnxruntime

    figures = {
        name: {"file_mb": round(sizes[name], 2), "resident_mb": round(memory[name], 1)}
        | {work: round(statistics.median(one[work][name] for one in rounds), 2) for work in rounds[0]}
        for name in sizes
    }
    ratios: dict[str, dict[str, float]] = {}
    for ours, theirs in itertools.product(sizes, [name for name in sizes if "optimum" in name]):
        if ours.startswith(("portable", "onnxruntime")):
            ratios[f"{theirs} / {ours}"] = {
                work: round(statistics.median(one[work][theirs] / one[work][ours] for one in rounds), 2)
                for work in rounds[0]
            }
    return {
        "shape": shape,
        "threads": THREADS,
        "rounds": len(rounds),
        "versions": {"python": platform.python_version(), "onnxruntime": onnxruntime.__version__},
        "milliseconds_and_megabytes": figures,
        "times_faster": ratios,
    }


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    for name, figures in result["milliseconds_and_megabytes"].items():
        print(f"{name:28}", " ".join(f"{key} {value:8.2f}" for key, value in figures.items()))
    for name, ratios in result["times_faster"].items():
        print(f"{name:58}", " ".join(f"{key} {value:5.2f}" for key, value in ratios.items()))


if __name__ == "__main__":
    main()
