"""What each idea for a faster int8 graph gives: operators timed alone, whole graphs timed, and how far logits move.

    python benchmarks/int8_ideas.py [operators] [long] [profile] [graphs] [logits] [untrained]

Without a word all of them. Two threads. Prints the tables of ``int8_ideas.md`` and puts them into
``results/int8_ideas.json``.

- operators: the alternatives take turns, and a figure is the least time of all turns: what an operator costs when
  nothing disturbs it.
- long: attention at once and in pieces, in whole graphs with random weights; they take turns as operators do.
- profile: where a message of 16 tokens spends its time by onnxruntime's own account, which adds to every node.
- graphs: 124M with random weights, each file in processes of its own, one alive at a time; medians over the rounds.
- logits: how far they move for a checkpoint (`--checkpoint`) on all messages of the SMS Spam Collection.
- untrained: the same for 124M with random weights on 32 of them.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from machine import RESULTS, collection, read_result
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from processes import ask

from exporter import verify
from exporter.builder import write_model
from exporter.export import release
from exporter.fused import FusedGraph, FusedInt8Graph
from exporter.graph import Array, Gpt2Graph, Weights
from exporter.quantize import SMALLEST, Int8Graph
from runtime.batching import Row
from runtime.encoding import encode_message
from runtime.scores import verdicts
from runtime.spec import ClassifierSpec
from trainer.checkpoint import Classifier, load_checkpoint
from trainer.gpt2 import SHAPES as MODELS

MICROSOFT = "com.microsoft"
SHAPES = ((16, 768), (16, 3072), (512, 768), (512, 3072))
ROUNDS = 20
TURN_SECONDS = 0.02

Arrays = dict[str, np.ndarray]
Case = tuple[list[NodeProto], Arrays, Arrays]
"""Nodes whose last output is ``y``, inputs and constants."""

node = helper.make_node


def session(case: Case, opset: int = 17) -> Callable[[], object]:
    """A case ready to run."""
    nodes, inputs, constants = case
    graph = helper.make_graph(
        nodes,
        "idea",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in inputs.items()
        ],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    model = helper.make_model(graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets[:1]))
    opened = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    binding = opened.io_binding()
    for name, value in inputs.items():
        binding.bind_cpu_input(name, value)
    binding.bind_output("y")
    return lambda: opened.run_with_iobinding(binding)


def compare(cases: dict[str, Case]) -> dict[str, int]:
    """Least microseconds of each case, taking turns."""
    return {name: round(1e6 * seconds) for name, seconds in least_of({n: session(c) for n, c in cases.items()}).items()}


def least_of(runs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Least seconds of each, taking turns."""
    least = dict.fromkeys(runs, float("inf"))
    for _ in range(ROUNDS):
        for name, run in runs.items():
            end = time.perf_counter() + TURN_SECONDS
            while (start := time.perf_counter()) < end:
                run()
                least[name] = min(least[name], time.perf_counter() - start)
    return least


def ideas(rows: int, width: int) -> dict[str, Case]:
    """Alternatives on ``rows`` tokens of ``width``."""
    draw = np.random.default_rng(0)
    x = draw.standard_normal((rows, width)).astype(np.float32)
    scale = np.full(rows, 0.03, np.float32)
    ones = {"one": np.float32(1), "zero": np.uint8(128)}
    vectors = {"gain": x[0], "bias": x[1]}
    top = node("ReduceMax", ["a"], ["m"], axes=[1], keepdims=1)
    quantize = node("QuantizeLinear", ["s", "one", "zero"], ["y"])
    return {
        "row maximum: Abs, ReduceMax": (
            [node("Abs", ["x"], ["a"]), node("ReduceMax", ["a"], ["y"], axes=[1])],
            {"x": x},
            {},
        ),
        "row maximum: ReduceMax (GELU's output, whose least value is known)": (
            [node("ReduceMax", ["x"], ["y"], axes=[1])],
            {"x": x},
            {},
        ),
        "quantize: QuantizeLinear, one scale a row (axis 0)": (
            [node("QuantizeLinear", ["x", "r", "z"], ["y"], axis=0)],
            {"x": x, "r": scale, "z": np.full(rows, 128, np.uint8)},
            {},
        ),
        "quantize: Div by the row's maximum, QuantizeLinear with a constant": (
            [node("Div", ["x", "r"], ["s"]), quantize],
            {"x": x, "r": scale[:, None]},
            ones,
        ),
        "quantize: Mul by its reciprocal, QuantizeLinear with a constant": (
            [node("Mul", ["x", "r"], ["s"]), quantize],
            {"x": x, "r": scale[:, None]},
            ones,
        ),
        "quantize: onnxruntime's, one scale a tensor (DynamicQuantizeLinear)": (
            [node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"])],
            {"x": x},
            {},
        ),
        "the whole of ours: Abs, ReduceMax, Div, Mul, QuantizeLinear": (
            [
                node("Abs", ["x"], ["a"]),
                top,
                node("Div", ["one", "m"], ["f"]),
                node("Mul", ["x", "f"], ["s"]),
                quantize,
            ],
            {"x": x},
            ones,
        ),
        "int32 to float32 by row and column: Cast, Mul, Mul": (
            [
                node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
                node("Mul", ["f", "gain"], ["g"]),
                node("Mul", ["g", "r"], ["y"]),
            ],
            {"i": (x * 1000).astype(np.int32), "r": scale[:, None]},
            vectors,
        ),
        "int32 to float32: DequantizeLinear by row (axis 0)": (
            [node("DequantizeLinear", ["i", "r"], ["y"], axis=0)],
            {"i": (x * 1000).astype(np.int32), "r": scale},
            {},
        ),
        "int32 to float32: DequantizeLinear by column (axis 1)": (
            [node("DequantizeLinear", ["i", "c"], ["y"], axis=1)],
            {"i": (x * 1000).astype(np.int32)},
            {"c": np.abs(x[0])},
        ),
        "residual and norm: Add, LayerNormalization": (
            [node("Add", ["x", "x2"], ["s"]), node("LayerNormalization", ["s", "gain", "bias"], ["y"])],
            {"x": x, "x2": x},
            vectors,
        ),
        "residual and norm: SkipLayerNormalization": (
            [node("SkipLayerNormalization", ["x", "x2", "gain", "bias"], ["y"], domain=MICROSOFT)],
            {"x": x, "x2": x},
            vectors,
        ),
        "bias and GELU: Add, FastGelu": (
            [node("Add", ["x", "bias"], ["s"]), node("FastGelu", ["s"], ["y"], domain=MICROSOFT)],
            {"x": x},
            vectors,
        ),
        "bias and GELU: FastGelu with the bias": (
            [node("FastGelu", ["x", "bias"], ["y"], domain=MICROSOFT)],
            {"x": x},
            vectors,
        ),
    }


def products(rows: int, width: int, out: int) -> dict[str, Case]:
    """Forms of one product."""
    draw = np.random.default_rng(0)
    x = draw.integers(0, 256, (rows, width)).astype(np.uint8)
    weight = draw.integers(-127, 128, (width, out)).astype(np.int8)
    scale = draw.random(out).astype(np.float32)
    constants = {"w": weight, "zero": np.uint8(128), "one": np.float32(1), "scale": scale}
    return {
        "product: Gemm, float32": (
            [node("Gemm", ["x", "w", "scale"], ["y"])],
            {"x": x.astype(np.float32)},
            {"w": weight.astype(np.float32), "scale": scale},
        ),
        "product: Conv over the tokens, float32": (
            [
                node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
                node("Conv", ["t", "k", "scale"], ["c"]),
                node("Transpose", ["c"], ["y"], perm=[0, 2, 3, 1]),
            ],
            {"x": x.astype(np.float32)[None, None]},
            {"k": weight.T.astype(np.float32)[:, :, None, None], "scale": scale},
        ),
        "product: MatMulInteger, Cast, Mul by column": (
            [
                node("MatMulInteger", ["x", "w", "zero"], ["i"]),
                node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
                node("Mul", ["f", "scale"], ["y"]),
            ],
            {"x": x},
            constants,
        ),
        "product: MatMulIntegerToFloat": (
            [node("MatMulIntegerToFloat", ["x", "w", "one", "scale", "zero"], ["y"], domain=MICROSOFT)],
            {"x": x},
            constants,
        ),
        "product: onnxruntime's, one scale a tensor (DynamicQuantizeMatMul)": (
            [node("DynamicQuantizeMatMul", ["x", "w", "scale"], ["y"], domain=MICROSOFT)],
            {"x": x.astype(np.float32)},
            constants,
        ),
    }


def attention(batch: int, length: int, heads: int = 12, size: int = 64) -> dict[str, Case]:
    """Forms of causal attention, from (rows, width) queries, keys and values to (rows, width)."""
    width = heads * size
    draw = np.random.default_rng(0)
    inputs = {name: draw.standard_normal((batch * length, width)).astype(np.float32) for name in "qkv"}
    mask = np.triu(np.full((length, length), -1e9, np.float32), 1)
    by_heads = {"shape": np.array([-1, length, heads, size]), "flat": np.array([-1, width]), "mask": mask}
    messages = {"shape": np.array([-1, length, width]), "flat": by_heads["flat"]}
    steps = [node("Reshape", [name, "shape"], [f"{name}3"]) for name in "qkv"]
    orders = {"q": [0, 2, 1, 3], "k": [0, 2, 3, 1], "v": [0, 2, 1, 3]}
    flatten = node("Reshape", ["o", "flat"], ["y"])
    return {
        "attention: MatMul, Softmax, MatMul": (
            [
                *steps,
                *[node("Transpose", [f"{name}3"], [f"{name}h"], perm=order) for name, order in orders.items()],
                node("MatMul", ["qh", "kh"], ["scores"]),
                node("Add", ["scores", "mask"], ["masked"]),
                node("Softmax", ["masked"], ["shares"], axis=-1),
                node("MatMul", ["shares", "vh"], ["mix"]),
                node("Transpose", ["mix"], ["o"], perm=[0, 2, 1, 3]),
                flatten,
            ],
            inputs,
            by_heads,
        ),
        "attention: MultiHeadAttention": (
            [
                *steps,
                node(
                    "MultiHeadAttention", ["q3", "k3", "v3"], ["o"], domain=MICROSOFT, num_heads=heads, unidirectional=1
                ),
                flatten,
            ],
            inputs,
            messages,
        ),
    }


class GemmGraph(Gpt2Graph):
    """float32 with matrix products instead of convolutions."""

    gelu = FusedGraph.gelu


class NBitsGraph(Int8Graph):
    """Weights of few bits with one scale a block of them, in onnxruntime's MatMulNBits; tables as int8."""

    gelu = FusedGraph.gelu

    bits = 4
    block = 32
    level = 4
    """What activations become in the product: 4 is int8 with one scale a block of a row, 1 stays float32."""

    def linear(self, x: str, weight: Array, bias: Array, name: str) -> str:
        """``x @ weight + bias``."""
        half = 1 << self.bits - 1
        block = min(self.block, weight.shape[0])
        blocks = weight.T.reshape(weight.shape[1], -1, block)
        extreme = np.take_along_axis(blocks, np.abs(blocks).argmax(2)[..., None], 2)
        # of 4 bits the lowest value, -8, is used as well
        scale = extreme / -half if self.bits == 4 else np.abs(extreme) / (half - 1)
        scale = np.where(scale == 0, SMALLEST, scale).astype(np.float32)
        values = (np.clip(np.rint(blocks / scale), -half, half - 1) + half).astype(np.uint8)
        if self.bits == 4:
            values = values[..., ::2] | values[..., 1::2] << 4
        constants = [
            self.constant(f"{name}.weight", values, np.uint8),
            self.constant(f"{name}.scale", scale[..., 0]),
            "",
            "",
            self.constant(f"{name}.bias", bias),
        ]
        sizes = {"K": weight.shape[0], "N": weight.shape[1], "bits": self.bits, "block_size": block}
        return self.node("MatMulNBits", [x, *constants], name, domain=MICROSOFT, accuracy_level=self.level, **sizes)


def n_bits(bits: int, block: int, level: int = 4) -> type[NBitsGraph]:
    """A form of `NBitsGraph`."""
    return type("NBits", (NBitsGraph,), {"bits": bits, "block": block, "level": level})


class HalfGraph(GemmGraph):
    """Weights of 16 bits, which onnxruntime turns into float32 when it loads them: it has no such product on x86."""

    def linear(self, x: str, weight: Array, bias: Array, name: str) -> str:
        """``x @ weight + bias``."""
        half = self.constant(f"{name}.half", weight, np.float16)
        matrix = self.node("Cast", [half], f"{name}.weight", to=TensorProto.FLOAT)
        return self.node("Gemm", [x, matrix, self.constant(f"{name}.bias", bias)], name)


class UnmovedGraph(FusedInt8Graph):
    """int8 that applies the scales and biases of keys and values where they are, though others can take them up."""

    attention = Gpt2Graph.attention


class AtOnceGraph(FusedInt8Graph):
    """int8 that computes the attention of long messages at once too."""

    attend_causally = Gpt2Graph.attend_causally
    longest_at_once = Gpt2Graph.longest_at_once


FORMS: dict[str, type[Gpt2Graph]] = {
    "float32, as --target onnxruntime": FusedGraph,
    "float32, matrix products": GemmGraph,
    "float16 weights": HalfGraph,
    "int8, as --target onnxruntime": FusedInt8Graph,
    "int8, as --target portable": Int8Graph,
    "int8, scales and biases of keys and values not moved": UnmovedGraph,
    "8 bits in blocks of 32": n_bits(8, 32),
    "8 bits in blocks of 128": n_bits(8, 128),
    "4 bits in blocks of 32": n_bits(4, 32),
    "4 bits in blocks of 128": n_bits(4, 128),
    "4 bits in blocks of 32, float32 activations": n_bits(4, 32, level=1),
}
SAME_LOGITS = (FusedGraph, GemmGraph)
"""Forms whose logits tell nothing new: what others are compared with."""
SMOOTHED_BY = (0.3, 0.5, 0.7)
OPSET = 23
GRAPH_ROUNDS = 3
PROFILE_RUNS = 60
LONG_LENGTHS = (192, 512, 1024)

Table = dict[str, dict[str, Any]]
"""Figures by column and row."""


def graph_of(form: type[Gpt2Graph], model: Classifier, weights: Weights | None = None) -> ModelProto:
    """A checkpoint in one form."""
    return form(model.config, weights or release(model), OPSET).build(model.spec)


def random_model(shape: str = "gpt2") -> Classifier:
    """A model as it is before training."""
    model = Classifier(MODELS[shape], ClassifierSpec())
    model.initialize(0)
    return model.eval()


def graphs() -> dict[str, Table]:
    """Size, memory and time of every form."""
    program = str(Path(__file__).with_name("export_speed.py"))
    with tempfile.TemporaryDirectory() as scratch:
        files = {name: Path(scratch, f"{index}.onnx") for index, name in enumerate(FORMS)}
        model = random_model()
        for name, path in files.items():
            write_model(graph_of(FORMS[name], model), path)
        request = {name: {"runner": "onnxruntime", "path": str(path)} for name, path in files.items()}
        turns = [{name: ask(program, request[name]) for name in files} for _ in range(GRAPH_ROUNDS)]
        table: Table = {"file, MB": {name: round(path.stat().st_size / 1e6) for name, path in files.items()}}
    for key in turns[0][next(iter(files))]:
        unit = "session, MB" if key == "resident_mb" else f"{key}, ms"
        table[unit] = {name: round(statistics.median(turn[name][key] for turn in turns), 1) for name in files}
    return {"whole graphs, 124M": table}


def long() -> dict[str, Table]:
    """Milliseconds of long messages, with attention at once and in pieces."""
    forms = {"int8, attention at once": AtOnceGraph, "int8, attention in pieces": FusedInt8Graph}
    table: Table = {}
    for shape in ("nano", "gpt2"):
        model = random_model(shape)
        opened = {name: session_of(graph_of(form, model)) for name, form in forms.items()}
        for length in LONG_LENGTHS:
            ids = np.random.default_rng(0).integers(0, 50257, (1, length))
            runs = {name: functools.partial(run, ids, np.ones_like(ids)) for name, run in opened.items()}
            seconds = least_of(runs)
            table[f"{shape}, {length:,} tokens"] = {n: float(f"{1000 * value:.3g}") for n, value in seconds.items()}
    return {"long messages, ms": table}


def profile() -> dict[str, Table]:
    """Time by kind of operator, for one message of 16 tokens."""
    ids = np.random.default_rng(0).integers(0, 50257, (1, 16))
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    model = random_model()
    table: Table = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, form in {"float32": FusedGraph, "int8": FusedInt8Graph}.items():
            options = ort.SessionOptions()
            options.intra_op_num_threads = 2
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(scratch, name))
            data = graph_of(form, model).SerializeToString()
            opened = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            for _ in range(PROFILE_RUNS):
                opened.run(None, feeds)
            events = json.loads(Path(opened.end_profiling()).read_text())
            nodes = [event for event in events if event["name"].endswith("_kernel_time")]
            times: dict[str, dict[str, list[int]]] = {}
            for event in nodes:
                times.setdefault(event["args"]["op_name"], {}).setdefault(event["name"], []).append(event["dur"])
            medians = {kind: sum(map(statistics.median, by.values())) for kind, by in times.items()}
            table[f"{name}, µs"] = dict(sorted(medians.items(), key=lambda pair: -pair[1]))
            table[f"{name}, nodes"] = {kind: len(by) for kind, by in times.items()}
    kinds = dict.fromkeys(kind for column in table.values() for kind in column)
    filled = {title: {kind: column.get(kind, 0) for kind in kinds} for title, column in table.items()}
    return {"where the time goes, 124M, 1 x 16": filled}


def logits(checkpoint: Path) -> dict[str, Table]:
    """How far every form's logits are from those in float32."""
    texts, _ = collection()
    model = load_checkpoint(checkpoint)
    return {f"logits, {model.spec.base_model}, trained, {len(texts):,} messages": moved(model, texts, SMOOTHED_BY)}


def untrained() -> dict[str, Table]:
    """The same for 124M of random weights, on few messages."""
    return {"logits, 124M of random weights, 32 messages": moved(random_model(), collection()[0][:32])}


def moved(model: Classifier, texts: Sequence[str], shares: Iterable[float] = ()) -> Table:
    """The same for one model, with int8 after smoothing by some shares added."""
    rows = [encode_message(text, model.spec).rows[0] for text in texts]
    table: Table = {
        key: {} for key in ("largest change", "mean change", "verdicts unchanged, %", "alone and in a batch")
    }
    expected = verify.logits_of(session_of(graph_of(FusedGraph, model)), rows)
    smooth = {f"int8, smoothed by {share}": smoothed(model, rows[:500], share) for share in shares}
    for name, graph in [
        *((name, graph_of(form, model)) for name, form in FORMS.items() if form not in SAME_LOGITS),
        *((name, graph_of(FusedInt8Graph, model, weights)) for name, weights in smooth.items()),
    ]:
        run = session_of(graph)
        found = verify.logits_of(run, rows)
        same = np.mean(verdicts(found, model.spec)[0] == verdicts(expected, model.spec)[0])
        variance = verify.variance_over_batches(run, model.config, model.spec.context_length, rows[:8])
        values = (np.abs(found - expected).max(), np.abs(found - expected).mean(), 100 * same, variance)
        for column, value in zip(table.values(), values, strict=True):
            column[name] = float(f"{value:.4g}")
    return table


def session_of(graph: ModelProto) -> verify.Model:
    """A graph ready to run."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    opened = ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return verify.session_model(opened)


def smoothed(model: Classifier, rows: Iterable[Row], share: float) -> Weights:
    """Weights with the activations' outlier channels divided in the norms and multiplied in the layers that follow.

    As Xiao et al. 2023, "SmoothQuant": by ``max|x| ** share / max|w| ** (1 - share)`` of each channel.
    """
    peaks: dict[str, torch.Tensor] = {}

    def watch(name: str) -> Any:
        def hook(_: torch.nn.Module, __: object, x: torch.Tensor) -> None:
            top = x.abs().flatten(0, -2).amax(0)
            peaks[name] = torch.maximum(top, peaks.get(name, top))

        return model.get_submodule(f"transformer.{name}").register_forward_hook(hook)

    weights = dict(release(model))
    pairs = {
        f"h.{layer}.{norm}": f"h.{layer}.{linear}.weight"
        for layer in range(model.config.n_layer)
        for norm, linear in (("ln_1", "attn.c_attn"), ("ln_2", "mlp.c_fc"))
    }
    hooks = [watch(norm) for norm in pairs]
    verify.logits_of(verify.torch_model(model), list(rows))
    for hook in hooks:
        hook.remove()
    for norm, linear in pairs.items():
        weight = weights[linear]
        factor = peaks[norm].numpy() ** share / np.abs(weight).max(1) ** (1 - share)
        factor = np.maximum(factor, 1e-5).astype(np.float32)
        weights[linear] = weight * factor[:, None]
        for part in ("weight", "bias"):
            weights[f"{norm}.{part}"] = weights[f"{norm}.{part}"] / factor
    return weights


def operators() -> dict[str, Table]:
    """Operators timed alone, in microseconds."""
    layers = ((768, 2304), (768, 768), (768, 3072), (3072, 768))
    works = ((1, 16), (32, 16), (1, 120))
    return {
        "elementwise, tokens x width, µs": {f"{r} x {w}": compare(ideas(r, w)) for r, w in SHAPES},
        "products, tokens x in x out, µs": {
            f"{rows} x {width} x {out}": compare(products(rows, width, out))
            for rows in (16, 512)
            for width, out in layers
        },
        "attention, messages x tokens, µs": {f"{b} x {n}": compare(attention(b, n)) for b, n in works},
    }


def main() -> None:
    """Measure what is asked for, print the tables, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="operators, long, profile, graphs, logits, untrained; all by default")
    parser.add_argument("--checkpoint", type=Path, default=Path("artifacts/checkpoint"))
    arguments = parser.parse_args()
    measures = {
        "operators": operators,
        "long": long,
        "profile": profile,
        "graphs": graphs,
        "logits": lambda: logits(arguments.checkpoint),
        "untrained": untrained,
    }
    path = RESULTS / "int8_ideas.json"
    result: dict[str, Table] = read_result("int8_ideas")
    for part in arguments.parts or measures:
        tables = measures[part]()
        result |= tables
        path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        for title, columns in tables.items():
            print(f"\n| {title} | {' | '.join(columns)} |\n| --- |{' --- |' * len(columns)}")
            for name in next(iter(columns.values())):
                print(f"| {name} | {' | '.join(f'{column[name]:g}' for column in columns.values())} |")


if __name__ == "__main__":
    main()
