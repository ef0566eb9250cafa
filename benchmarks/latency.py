"""One message at a time through 124M: ours beside PyTorch eager, Optimum and OpenVINO.

    python benchmarks/latency.py --optimum-python OTHER/bin/python [--threads 2] [--rounds 3] [--work FOLDER]

OTHER is an environment of its own with `pip install optimum-onnx[onnxruntime]`. Weights are random: speed does not
depend on them. Ids in, logits out, since the tokenizer is the same for all. Messages: 60 of the SMS Spam Collection
whose lengths are evenly spread over its own distribution, others in every round, and random ids of 1 to 1,024 tokens.
Every turn is a new process, bound to as many CPUs as threads are asked for; it runs every shape once before it is
timed. Contestants take turns, nobody else is alive meanwhile; ratios are taken within a round. About 4 minutes with two
threads and 6 with one, once the files are in FOLDER.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from export_speed import make_files
from machine import collection, machine, write_result
from processes import Round, answer, ask, bind, optimum_versions, ratios, spreads

OURS = ("ours fp32", "ours int8")
LENGTHS = (1, 4, 16, 64, 256, 1024)
MESSAGES = 60
PADDED = 120
"""The original recipe pads or cuts a message to so many tokens. They all take as long, so that a few will do."""
PADDED_EVERY = 10
TURN_SECONDS = 0.3

Run = Callable[..., Any]
"""Computes the logits of ids, int64 (messages, tokens), OpenVINO's with a mask after them where there is padding."""


def main() -> None:
    """Time everything in turn and write ``results/latency_THREADS.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimum-python", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shape", default="gpt2", help="gpt2, gpt2-medium or nano")
    parser.add_argument("--work", type=Path, help="where the files are kept and found again; by default nowhere")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        contestants = contests(arguments.work or Path(scratch), arguments.shape, arguments.optimum_python)
        bind(arguments.threads)
        rounds = []
        for number in range(arguments.rounds):
            requests = turn_of(number) | {"threads": arguments.threads}
            rounds.append({name: ask(__file__, request | requests) for name, request in contestants.items()})
            print(f"round {number + 1}", {name: one["messages"]["p50"] for name, one in rounds[-1].items()})
    result = {"shape": arguments.shape, "threads": arguments.threads, "rounds": arguments.rounds, "messages": MESSAGES}
    write_result(
        f"latency_{arguments.threads}",
        result | summary(rounds) | machine() | optimum_versions(arguments.optimum_python),
    )


def contests(folder: Path, shape: str, optimum_python: Path | None) -> dict[str, dict[str, str]]:
    """What runs, by name: how, and which file."""
    files = {name: str(path) for name, (_, path) in make_files(folder, shape, optimum_python).items()}
    found = {
        "ours fp32": {"kind": "ours", "model": files["onnxruntime-fp32-23"]},
        "ours int8": {"kind": "ours", "model": files["onnxruntime-int8-23"]},
        "PyTorch eager, padded to 120": {"kind": "padded", "model": shape},
        "PyTorch eager": {"kind": "eager", "model": shape},
        "OpenVINO on ours": {"kind": "openvino", "model": files["portable-fp32-17"]},
    }
    if optimum_python:
        found |= {
            "Optimum fp32": {"kind": "onnxruntime", "model": files["optimum-fp32"]},
            "Optimum int8": {"kind": "onnxruntime", "model": files["optimum-int8"]},
            "OpenVINO on Optimum's": {"kind": "openvino", "model": files["optimum-fp32"]},
        }
    return found


def turn_of(number: int) -> dict[str, Any]:
    """What every contestant is given in a round: messages at evenly spaced places of the order by length."""
    from runtime.tokenizer import encode

    rows = sorted((encode(text, 1024)[0] for text in collection()[0]), key=len)
    step = len(rows) / MESSAGES
    first = (0.5 + number * 0.382) % 1
    chosen = [rows[int((place + first) * step)] for place in range(MESSAGES)]
    order = np.random.default_rng(number).permutation(MESSAGES).tolist()
    return {"messages": [chosen[place] for place in order]}


def serve(kind: str, model: str, threads: int, messages: list[list[int]]) -> dict[str, Any]:
    """A turn: milliseconds of messages and of lengths."""
    run = RUNNERS[kind](model, threads)
    if kind == "padded":
        messages = [(ids + [50256] * PADDED)[:PADDED] for ids in messages[::PADDED_EVERY]]
    shapes = {len(ids): ids for ids in messages}
    for ids in shapes.values():
        run(np.array([ids]))
    times = [milliseconds(run, np.array([ids])) for ids in messages]
    found = {"messages": {"p50": float(np.quantile(times, 0.5)), "p99": float(np.quantile(times, 0.99))}}
    found["messages"]["mean"] = statistics.mean(times)
    if kind != "padded":
        found["lengths"] = {str(length): of_length(run, length) for length in LENGTHS}
    return found


def milliseconds(run: Run, ids: np.ndarray) -> float:
    """How long one computation takes."""
    start = time.perf_counter()
    run(ids)
    return 1000 * (time.perf_counter() - start)


def of_length(run: Run, length: int) -> float:
    """Median of at least two computations of random ids, after one."""
    ids = np.random.default_rng(0).integers(0, 50257, (1, length))
    run(ids)
    times: list[float] = []
    while len(times) < 2 or sum(times) < 1000 * TURN_SECONDS:
        times.append(milliseconds(run, ids))
    return statistics.median(times)


def ours(model: str, threads: int) -> Run:
    """As the runtime opens it."""
    from runtime.model_file import open_model

    session, _ = open_model(Path(model), threads=threads)
    return lambda ids: session.run(["logits"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})


def plain(model: str, threads: int) -> Run:
    """onnxruntime as Optimum opens it, without Optimum's own copies between PyTorch and NumPy."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    return lambda ids: session.run(None, {name: feeds(ids)[name] for name in names})


def openvino(model: str, threads: int) -> Run:
    """OpenVINO in its own precision for this CPU."""
    from openvino import Core

    compiled = Core().compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"})
    names = [port.get_any_name() for port in compiled.inputs]
    return lambda ids, mask=None: compiled({name: feeds(ids, mask)[name] for name in names})


def eager(model: str, threads: int) -> Run:
    """transformers' GPT-2 in PyTorch, the logits of the last token."""
    import torch
    from transformers import GPT2Config, GPT2ForSequenceClassification

    from trainer.gpt2 import SHAPES

    torch.set_num_threads(threads)
    shape = SHAPES[model]
    config = GPT2Config(n_layer=shape.n_layer, n_embd=shape.n_embd, n_head=shape.n_head, num_labels=2, pad_token_id=-1)
    network = GPT2ForSequenceClassification(config).eval()

    def run(ids: np.ndarray) -> object:
        with torch.no_grad():
            return network.score(network.transformer(torch.from_numpy(ids)).last_hidden_state[:, -1])

    return run


def feeds(ids: np.ndarray, mask: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """All inputs that an exported file may have."""
    positions = np.tile(np.arange(ids.shape[1]), (len(ids), 1))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids) if mask is None else mask, "position_ids": positions}


RUNNERS: dict[str, Callable[[str, int], Run]] = {
    "ours": ours,
    "onnxruntime": plain,
    "openvino": openvino,
    "eager": eager,
    "padded": eager,
}


def summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Milliseconds and ratios, medians over the rounds with their spread."""
    work: dict[str, list[Round]] = {
        figure: [{name: one["messages"][figure] for name, one in turns.items()} for turns in rounds]
        for figure in ("p50", "p99", "mean")
    }
    for length in map(str, LENGTHS):
        work[f"{length} tokens"] = [
            {name: one["lengths"][length] for name, one in turns.items() if "lengths" in one} for turns in rounds
        ]
    return {
        "milliseconds": {name: spreads(figures) for name, figures in work.items()},
        "times_ours": {name: ratios(figures, OURS) for name, figures in work.items()},
    }


if __name__ == "__main__" and not answer(serve):
    sys.exit(main())
