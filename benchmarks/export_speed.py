"""Exported files side by side with Optimum's and with OpenVINO: latency, size and memory.

    python benchmarks/export_speed.py --optimum-python OTHER/bin/python [--shape gpt2] [--rounds 5]

OTHER is an environment of its own with `pip install optimum-onnx[onnxruntime]`, since Optimum needs another version of
transformers. Weights are random: speed does not depend on them. Every file is timed in a process of its own with one
session alive and two threads; the files take turns, for as many rounds as asked; a figure is the median over the
rounds of each process's median, and a ratio the median of the ratios within a round.
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
from pathlib import Path

import numpy as np

WORKLOADS = ((1, 16), (32, 16), (1, 120))
THREADS = 2
SECONDS = 2.0

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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimum-python", type=Path, help="Python of an environment with optimum-onnx[onnxruntime]")
    parser.add_argument("--shape", default="gpt2", help="gpt2, gpt2-medium or nano")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, help="where the files are kept and found again; by default nowhere")
    parser.add_argument("--only", nargs="*", help="names of the files to time")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "export_speed.json")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(*arguments.child)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        files = make_files(arguments.work or Path(scratch), arguments.shape, arguments.optimum_python)
        chosen = {name: file for name, file in files.items() if not arguments.only or name in arguments.only}
        rounds = []
        for number in range(arguments.rounds):
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
            rounds.append({name: in_a_process(*file) for name, file in chosen.items()})
    result = summary(rounds, chosen, arguments.shape)
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


def in_a_process(runner: str, path: Path) -> dict[str, float]:
    """`measure` in a new process."""
    command = [sys.executable, __file__, "--child", runner, str(path)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def measure(runner: str, path: str) -> dict[str, float]:
    """Median milliseconds of each workload, and the memory that the session takes."""
    if runner == "openvino":
        import openvino

        before = resident()
        settings = {"INFERENCE_NUM_THREADS": THREADS, "PERFORMANCE_HINT": "LATENCY"}
        compiled = openvino.Core().compile_model(path, "CPU", settings)
        names = [port.get_any_name() for port in compiled.inputs]

        def run(feeds: dict[str, np.ndarray]) -> None:
            compiled({name: feeds[name] for name in names})
    else:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.log_severity_level = 3
        options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
        ort.InferenceSession  # noqa: B018 - the libraries are loaded before memory is counted
        before = resident()
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [entry.name for entry in session.get_inputs()]

        def run(feeds: dict[str, np.ndarray]) -> None:
            session.run(None, {name: feeds[name] for name in names})

    result: dict[str, float] = {}
    for batch, length in WORKLOADS:
        ids = np.random.default_rng(0).integers(0, 50257, (batch, length))
        feeds = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "position_ids": np.tile(np.arange(length), (batch, 1)),
        }
        run(feeds)
        if not result:
            result["resident_mb"] = (resident() - before) / 1e6
        times: list[float] = []
        while sum(times) < SECONDS or len(times) < 5:
            start = time.perf_counter()
            run(feeds)
            times.append(time.perf_counter() - start)
        result[f"{batch}x{length}"] = 1000 * statistics.median(times)
        result[f"{batch}x{length} least"] = 1000 * min(times)
    return result


def resident() -> int:
    """Bytes of this process that are in memory (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def summary(rounds: list[dict[str, dict[str, float]]], files: dict[str, tuple[str, Path]], shape: str) -> dict:
    """Medians over the rounds, and the ratios that matter."""
    figures = {
        name: {key: round(statistics.median(one[name][key] for one in rounds), 3) for key in rounds[0][name]}
        | {"file_mb": round(path.stat().st_size / 1e6, 2) if path.exists() else None}
        for name, (_, path) in files.items()
    }
    ratios = {}
    for ours, theirs, workload in itertools.product(
        [name for name in files if name.startswith(("portable", "onnxruntime"))],
        [name for name in files if "optimum" in name],
        [f"{batch}x{length}" for batch, length in WORKLOADS],
    ):
        for kind in ("", " least"):
            values = [one[theirs][workload + kind] / one[ours][workload + kind] for one in rounds]
            ratios.setdefault(f"{theirs} / {ours}", {})[workload + kind] = round(statistics.median(values), 3)
    versions = {"python": platform.python_version(), "machine": platform.machine()}
    import onnxruntime

    versions["onnxruntime"] = onnxruntime.__version__
    return {
        "shape": shape,
        "threads": THREADS,
        "rounds": len(rounds),
        "versions": versions,
        "figures": figures,
        "ratios": ratios,
    }


def show(result: dict) -> None:
    """Print the table."""
    for name, figures in result["figures"].items():
        print(f"{name:28}", " ".join(f"{key} {value:8.2f}" for key, value in figures.items()))
    for name, ratios in result["ratios"].items():
        print(f"{name:58}", " ".join(f"{key} {value:5.2f}" for key, value in ratios.items()))


if __name__ == "__main__":
    main()
