"""Exported files beside Optimum's and OpenVINO: latency, size, memory, and how near each is to what the CPU can do.

    python benchmarks/export_speed.py --optimum-python OTHER/bin/python [--shape gpt2] [--rounds 5] [--work FOLDER]

OTHER is an environment of its own with `pip install optimum-onnx[onnxruntime]`, since Optimum needs another version of
transformers. Weights are random: speed does not depend on them. Every turn is a new process, bound to two CPUs, that
opens one file, warms up and is timed; nobody else is alive meanwhile, and the order is another in every round. A turn's
figure is the median of its runs, a figure the median over the rounds with its spread, and ratios are taken within a
round. About 7 minutes, of which making the files takes one or two.

Two floors stand beside the figures, measured in every round as well. *Reading*: the blocks' weights, once, at the speed
at which two threads read memory. *Arithmetic*: the multiplications and additions of all products, at the speed of
onnxruntime's own product of 1,024 rows of the same precision. No run can be faster than the larger of them, and one
that reads weights before it computes with them takes their sum; what is beyond the sum is all that a better graph could
gain. `dynamic-int8` is another bound: our own graph quantized by onnxruntime, with one scale for a whole tensor. It
needs the fewest operators, and a message's logits depend on its neighbours there. Memory is what the session holds
after loading, one message computed, what was freed given back to the system.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from processes import answer, ask, bind, forget_peak, spread

WORKLOADS = ((1, 16), (32, 16), (1, 120))
"""Messages in a batch, and tokens of each."""
THREADS = 2
WARM_SECONDS = 0.1
TURN_SECONDS = 0.4
LEAST_RUNS = 3
FEWEST_ROUNDS = 5
PRODUCT_ROWS = 1024
DYNAMIC = "dynamic-int8"
"""Our float32 graph quantized by onnxruntime, one scale a tensor."""

Feeds = dict[str, np.ndarray]
Turn = Mapping[str, float]
"""A file's figures of one turn: milliseconds by workload, and ``resident_mb``."""
Rates = Mapping[str, float]
"""What the CPU does in a second: ``bytes`` read, and multiplications and additions in ``fp32`` and ``int8``."""

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
    parser.add_argument("--rounds", type=int, default=FEWEST_ROUNDS)
    parser.add_argument("--work", type=Path, help="where the files are kept and found again; by default nowhere")
    parser.add_argument("--only", nargs="*", help="names of the files to time")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "export_speed.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        files = make_files(arguments.work or Path(scratch), arguments.shape, arguments.optimum_python)
        chosen = {name: file for name, file in files.items() if not arguments.only or name in arguments.only}
        sizes = {name: path.stat().st_size / 1e6 for name, (_, path) in chosen.items()}
        bind(THREADS)
        rounds = [one_round(chosen, number) for number in range(arguments.rounds)]
    result = summary(rounds, sizes, arguments.shape)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    show(result)


def make_files(folder: Path, shape: str, optimum_python: Path | None) -> dict[str, tuple[str, Path]]:
    """Every file to time: its name, what runs it, and its path."""
    from invariance import quantize_dynamically

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
    dynamic = folder / "dynamic-int8.onnx"
    if not dynamic.is_file():
        quantize_dynamically(folder / "portable-fp32-17.onnx", dynamic)
    files[DYNAMIC] = ("onnxruntime", dynamic)
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


def one_round(files: Mapping[str, tuple[str, Path]], number: int) -> tuple[Rates, dict[str, Turn]]:
    """A turn for the CPU itself and for every file, in an order of this round's own."""
    rates = ask(__file__, {"runner": "cpu"})
    order = np.random.default_rng(number).permutation(list(files)).tolist()
    turns = {name: ask(__file__, {"runner": files[name][0], "path": str(files[name][1])}) for name in order}
    print(f"round {number + 1}:", {name: turns[name][work_name(*WORKLOADS[0])] for name in files}, file=sys.stderr)
    return rates, turns


def work_name(batch: int, length: int) -> str:
    """How a workload is called in the result."""
    return f"{batch}x{length}"


def serve(runner: str, path: str = "") -> Turn | Rates:
    """A turn, in a process of its own."""
    if runner == "cpu":
        return rates()
    run, memory = open_file(runner, path)
    found = {"resident_mb": memory}
    for batch, length in WORKLOADS:
        ids = np.random.default_rng(0).integers(0, 50257, (batch, length))
        positions = np.tile(np.arange(length), (batch, 1))
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "position_ids": positions}
        found[work_name(batch, length)] = 1000 * float(np.median(seconds(lambda feeds=feeds: run(feeds))))
    return found


def seconds(run: Callable[[], object]) -> list[float]:
    """How long each of some runs takes, once warm."""
    begin = time.perf_counter()
    while time.perf_counter() - begin < WARM_SECONDS:
        run()
    times: list[float] = []
    while len(times) < LEAST_RUNS or sum(times) < TURN_SECONDS:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def rates() -> Rates:
    """What this CPU does at best."""
    import torch
    from int8_ideas import products
    from int8_ideas import session as prepared

    torch.set_num_threads(THREADS)
    memory = torch.ones(1 << 28, dtype=torch.uint8).view(torch.float32)  # 256 MiB, more than any cache
    cases = products(PRODUCT_ROWS, 768, 3072)
    work = 2 * PRODUCT_ROWS * 768 * 3072
    return {
        "bytes": memory.nbytes / min(seconds(memory.sum)),
        "fp32": work / min(seconds(prepared(cases["product: Gemm, float32"]))),
        "int8": work / min(seconds(prepared(cases["product: MatMulIntegerToFloat"]))),
    }


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
    """Bytes of this process that are in memory, but for what it has freed (Linux)."""
    forget_peak()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def floors(shape: str, rate: Rates) -> dict[str, dict[str, dict[str, float]]]:
    """Milliseconds below which no run can be, by precision, whose graph it is, workload and ``reading`` or so."""
    from trainer.gpt2 import SHAPES

    config = SHAPES[shape]
    block = 12 * config.n_embd**2
    found: dict[str, dict[str, dict[str, float]]] = {}
    for precision, size in {"fp32": 4, "int8": 1}.items():
        reading = 1000 * config.n_layer * block * size / rate["bytes"]
        for graph in ("spam-edge", "optimum"):
            works = {}
            for batch, length in WORKLOADS:
                products = config.n_layer * block * batch * length
                if graph == "spam-edge":  # the last block has keys and values of all tokens, the rest of one
                    products -= (block - 2 * config.n_embd**2) * batch * (length - 1)
                works[work_name(batch, length)] = {
                    "reading": reading,
                    "arithmetic": 1000 * 2 * products / rate[precision],
                }
            found[f"{graph} {precision}"] = works
    return found


def floor_of(name: str) -> str | None:
    """Which of `floors` a file has; OpenVINO computes in a precision of its own."""
    if name.startswith("openvino"):
        return None
    return f"{'optimum' if 'optimum' in name else 'spam-edge'} {'int8' if 'int8' in name else 'fp32'}"


def summary(
    rounds: Sequence[tuple[Rates, Mapping[str, Turn]]], sizes: Mapping[str, float], shape: str
) -> dict[str, Any]:
    """Medians and spread over the rounds, of ratios taken within a round."""
    works = [work_name(*work) for work in WORKLOADS]
    turns = [turn for _, turn in rounds]
    limits = [floors(shape, rate) for rate, _ in rounds]
    figures = {
        name: {"file_mb": round(size, 2), "resident_mb": spread([turn[name]["resident_mb"] for turn in turns])}
        | {work: spread([turn[name][work] for turn in turns]) for work in works}
        for name, size in sizes.items()
    }
    pairs = [
        (theirs, ours)
        for theirs, ours in itertools.product(sizes, sizes)
        if ours.startswith(("portable", "onnxruntime", DYNAMIC))
        and (
            theirs.startswith("openvino")
            or (theirs == DYNAMIC != ours and "int8" in ours)
            or floor_of(theirs) == f"optimum {'int8' if 'int8' in ours else 'fp32'}"
        )
    ]

    def shares(together: Callable[[float, float], float]) -> dict[str, dict[str, dict[str, float]]]:
        return {
            name: {
                work: spread(
                    [
                        together(limit[kind][work]["reading"], limit[kind][work]["arithmetic"]) / turn[name][work]
                        for limit, turn in zip(limits, turns, strict=True)
                    ]
                )
                for work in works
            }
            for name in sizes
            if (kind := floor_of(name))
        }

    return {
        "shape": shape,
        "threads": THREADS,
        "rounds": len(rounds),
        "milliseconds_and_megabytes": figures,
        "times_faster": {
            f"{theirs} / {ours}": {
                work: spread([turn[theirs][work] / turn[ours][work] for turn in turns]) for work in works
            }
            for theirs, ours in pairs
        },
        "cpu_per_second": {key: spread([rate[key] for rate, _ in rounds]) for key in rounds[0][0]},
        "floor_milliseconds": {
            kind: {
                work: {what: spread([one[kind][work][what] for one in limits]) for what in of}
                for work, of in by.items()
            }
            for kind, by in limits[0].items()
        },
        "share_of_the_floor": shares(max),
        "share_of_reading_and_arithmetic": shares(lambda reading, arithmetic: reading + arithmetic),
    } | machine()


def show(result: Mapping[str, Any]) -> None:
    """Print medians, with least and most where they differ."""

    def text(value: float | Mapping[str, float]) -> str:
        if isinstance(value, (int, float)):
            return f"{value:g}"
        return f"{value['median']:g} ({value['least']:g}-{value['most']:g})"

    for title in (
        "milliseconds_and_megabytes",
        "times_faster",
        "share_of_the_floor",
        "share_of_reading_and_arithmetic",
    ):
        print(f"\n{title}")
        for name, values in result[title].items():
            print(f"  {name:52}", ", ".join(f"{key} {text(value)}" for key, value in values.items()))
    print("\nfloor_milliseconds")
    for name, works in result["floor_milliseconds"].items():
        limits = (f"{work} {what} {text(value)}" for work, of in works.items() for what, value in of.items())
        print(f"  {name:20}", ", ".join(limits))
    print("\ncpu_per_second:", {key: text(value) for key, value in result["cpu_per_second"].items()})


if __name__ == "__main__" and not answer(serve):
    sys.exit(main())
