"""What a message's neighbours do to its verdict: its logits alone against its logits in random batches.

    python benchmarks/invariance.py --optimum-python OTHER/bin/python [--shape nano gpt2] [--work FOLDER]

OTHER is an environment of its own with `pip install optimum-onnx[onnxruntime]`. nano is trained on a natural split of
the SMS Spam Collection (as in `quality.py`) and asked about the messages of its test set, and about its spam respelled
as in `evasions.py`; gpt2 is the 124M shape with random weights, whose verdicts mean nothing, so that only its logits
are compared. Every message is computed alone and in several batches with random neighbours. One session is alive at a
time. nano takes 4 minutes, gpt2 3.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from export_speed import OPTIMUM
from machine import machine, write_result
from processes import answer, ask, optimum_versions

from exporter.export import Options

BATCH = 32
DRAWS = {"nano": 20, "gpt2": 2}
"""Batches that each message is in."""
EVERY = {"nano": 1, "gpt2": 16}
"""One of so many messages is taken."""
SHOWN = 400
"""Changes that are kept at most, evenly spaced in their order."""
THREADS = 2
OURS = {
    "ours fp32": Options(),
    "ours fp32, as --target onnxruntime": Options(target="onnxruntime"),
    "ours int8": Options(precision="int8"),
    "ours int8, as --target onnxruntime": Options(precision="int8", target="onnxruntime"),
}

Run = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Logits of ids and mask, both int64 (batch, tokens)."""


def main() -> None:
    """Compare all and write ``results/invariance_SHAPE.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimum-python", type=Path)
    parser.add_argument("--shape", nargs="*", choices=list(DRAWS), default=list(DRAWS))
    parser.add_argument("--work", type=Path, help="where the files are kept and found again; by default nowhere")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for shape in arguments.shape:
            folder = (arguments.work or Path(scratch)) / f"invariance-{shape}"
            folder.mkdir(parents=True, exist_ok=True)
            models = {}
            for name, request in contests(folder, shape, arguments.optimum_python).items():
                models[name] = ask(__file__, request | {"shape": shape})
                print(shape, name, {key: value for key, value in models[name].items() if key != "changes"}, flush=True)
            settings = {"batch": BATCH, "batches_per_message": DRAWS[shape], "trained": shape == "nano"}
            write_result(
                f"invariance_{shape}",
                settings | {"models": models} | machine() | optimum_versions(arguments.optimum_python),
            )


def contests(folder: Path, shape: str, optimum_python: Path | None) -> dict[str, dict[str, str]]:
    """What runs, by name: how, and which file, made from one checkpoint."""
    from exporter.export import release, write_graph
    from trainer.checkpoint import load_checkpoint

    checkpoint = folder / "checkpoint"
    if not (checkpoint / "model.safetensors").is_file():
        make_checkpoint(checkpoint, shape)
    found = {}
    for name, options in OURS.items():
        path = folder / f"{options.target}-{options.precision}.onnx"
        if not path.is_file():
            model = load_checkpoint(checkpoint)
            write_graph(model.config, release(model), model.spec, options, path)
        found[name] = {"kind": "onnxruntime", "model": str(path)}
    dynamic = folder / "dynamic.onnx"
    if not dynamic.is_file():
        quantize_dynamically(folder / "portable-fp32.onnx", dynamic)
    found["onnxruntime dynamic int8 of ours"] = {"kind": "onnxruntime", "model": str(dynamic)}
    found["PyTorch, padded batches"] = {"kind": "torch", "model": str(checkpoint)}
    if optimum_python:
        optimum = folder / "optimum"
        if not (optimum / "model_quantized.onnx").is_file():
            subprocess.run([str(optimum_python), "-c", OPTIMUM, str(checkpoint), str(optimum)], check=True)
        found["Optimum fp32"] = {"kind": "onnxruntime", "model": str(optimum / "model.onnx")}
        found["Optimum int8"] = {"kind": "onnxruntime", "model": str(optimum / "model_quantized.onnx")}
    return found


def make_checkpoint(folder: Path, shape: str) -> None:
    """Train nano on split 0 of `quality.natural`; or draw random weights."""
    from runtime.spec import ClassifierSpec
    from trainer.checkpoint import Classifier, save_model
    from trainer.gpt2 import SHAPES
    from trainer.pipeline import learn, make_accelerator
    from trainer.recipe import make_recipe

    folder.mkdir(exist_ok=True)
    if shape == "nano":
        from contestants import labelled
        from quality import natural

        messages = labelled(natural("sms", 0)[0])
        spec = ClassifierSpec(labels=("ham", "spam"), spam_label="spam", base_model="nano")
        recipe = make_recipe(model="nano", balance="none", seed=0)
        model, _ = learn(recipe, spec, messages, messages.take(range(8)), accelerator=make_accelerator("cpu"))
    else:
        model = Classifier(SHAPES[shape], ClassifierSpec())
        model.initialize(0)
    save_model(folder, model, model.spec)


def quantize_dynamically(path: Path, out: Path) -> None:
    """onnxruntime's own way: int8 weights, and one scale for a whole tensor of activations."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(path, out, weight_type=QuantType.QInt8, per_channel=True)


def serve(kind: str, model: str, shape: str) -> dict[str, Any]:
    """Largest change of each message's logits over its batches, and how many verdicts changed in one of them."""
    from runtime.batching import pad
    from runtime.tokenizer import encode

    rows = [np.array(encode(text, 1024)[0], np.uint16) for text in messages()[:: EVERY[shape]]]
    run = RUNNERS[kind](model)
    alone = np.concatenate([run(*pad([row])) for row in rows])
    changes, changed = np.zeros(len(rows)), np.zeros(len(rows), bool)
    draw = np.random.default_rng(0)
    for _ in range(DRAWS[shape]):
        order = draw.permutation(len(rows))
        for at in range(0, len(order), BATCH):
            group = order[at : at + BATCH]
            logits = run(*pad([rows[index] for index in group]))
            changes[group] = np.maximum(changes[group], np.abs(logits - alone[group]).max(1))
            changed[group] |= logits.argmax(1) != alone[group].argmax(1)
    found = {
        "messages": len(rows),
        "unchanged": float(np.mean(changes == 0)),
        "median_change": float(np.median(changes)),
        "largest_change": float(changes.max()),
        "spread_of_logits": float(alone.std(0).max()),
        "changes": [float(f"{change:.3g}") for change in np.sort(changes)[:: -(-len(rows) // SHOWN)]],
    }
    return found | ({"changed_verdicts": int(changed.sum())} if shape == "nano" else {})


def messages() -> list[str]:
    """The test set of split 0, and its spam in every disguise."""
    from evasions import EVASIONS, evaded
    from quality import natural

    test = natural("sms", 0)[1]["sms"]
    spam = test.text[test.label == 1].tolist()
    return test.text.tolist() + [text for name in EVASIONS for text in evaded(spam, name, 0)]


def onnxruntime(model: str) -> Run:
    """Any exported file."""
    import onnxruntime as library

    options = library.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3
    session = library.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def run(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        feeds = {
            "input_ids": ids,
            "attention_mask": mask,
            "position_ids": np.tile(np.arange(ids.shape[1]), (len(ids), 1)),
        }
        return session.run(None, {name: feeds[name] for name in names})[0]

    return run


def torch(model: str) -> Run:
    """transformers' model of the checkpoint."""
    import torch as library
    from transformers import GPT2ForSequenceClassification

    library.set_num_threads(THREADS)
    network = GPT2ForSequenceClassification.from_pretrained(model).eval()

    def run(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        with library.no_grad():
            logits = network(input_ids=library.from_numpy(ids), attention_mask=library.from_numpy(mask)).logits
        return logits.numpy()

    return run


RUNNERS: dict[str, Callable[[str], Run]] = {"onnxruntime": onnxruntime, "torch": torch}


if __name__ == "__main__" and not answer(serve):
    sys.exit(main())
