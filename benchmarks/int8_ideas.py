"""What each idea for a faster int8 graph gives: the operators that it adds and takes away, timed alone.

    python benchmarks/int8_ideas.py

Two threads; the alternatives take turns, and a figure is the least time of all turns in microseconds: what an operator
costs when nothing disturbs it. Prints the rows of ``int8_ideas.md`` and writes ``results/int8_ideas.json``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnx import NodeProto, TensorProto, helper, numpy_helper

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
    runs = {name: session(case) for name, case in cases.items()}
    least = dict.fromkeys(runs, float("inf"))
    for _ in range(ROUNDS):
        for name, run in runs.items():
            end = time.perf_counter() + TURN_SECONDS
            while (start := time.perf_counter()) < end:
                run()
                least[name] = min(least[name], time.perf_counter() - start)
    return {name: round(1e6 * seconds) for name, seconds in least.items()}


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


def main() -> None:
    """Time everything, print the tables, write the figures."""
    result: dict[str, dict[str, dict[str, int]]] = {}
    result["elementwise, tokens x width"] = {f"{r} x {w}": compare(ideas(r, w)) for r, w in SHAPES}
    layers = ((768, 2304), (768, 768), (768, 3072), (3072, 768))
    result["products, tokens x in x out"] = {
        f"{rows} x {width} x {out}": compare(products(rows, width, out)) for rows in (16, 512) for width, out in layers
    }
    result["attention, messages x tokens"] = {
        f"{batch} x {length}": compare(attention(batch, length)) for batch, length in ((1, 16), (32, 16), (1, 120))
    }
    for title, columns in result.items():
        print(f"\n| {title}, µs | {' | '.join(columns)} |\n| --- |{' --- |' * len(columns)}")
        for name in next(iter(columns.values())):
            print(f"| {name} | {' | '.join(str(column[name]) for column in columns.values())} |")
    path = Path(__file__).parent / "results" / "int8_ideas.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
