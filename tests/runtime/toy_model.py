"""A model whose answer numpy gives in one line: each id adds its own weight times its position's weight."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from runtime.spec import ClassifierSpec

VOCABULARY, CONTEXT = 50257, 1024
_random = np.random.default_rng(7)
BY_ID = _random.normal(size=(VOCABULARY, 2)).astype(np.float32)
BY_POSITION = _random.uniform(0.2, 1.0, size=(CONTEXT, 2)).astype(np.float32)


def expected_logits(ids: Sequence[int]) -> npt.NDArray[np.float64]:
    """What the toy model must answer for one message: float64 ``[labels]``."""
    return (BY_ID[np.asarray(ids)].astype(np.float64) * BY_POSITION[: len(ids)]).sum(axis=0)


def toy_model(spec: ClassifierSpec | None = None, *, opset: int = 17, props: bool = True) -> onnx.ModelProto:
    """The model as a protobuf, to be served or to be broken first."""
    constants = {
        "by_id": BY_ID,
        "by_position": BY_POSITION,
        "zero": np.array([0]),
        "one": np.array([1]),
        "two": np.array([2]),
    }
    nodes = [
        helper.make_node("Gather", ["by_id", "input_ids"], ["weights"]),
        helper.make_node("Shape", ["input_ids"], ["shape"], start=1),
        helper.make_node("Slice", ["by_position", "zero", "shape"], ["positions"]),
        helper.make_node("Mul", ["weights", "positions"], ["weighted"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "two"], ["mask_column"]),
        helper.make_node("Mul", ["weighted", "mask_column"], ["own"]),
        helper.make_node("ReduceSum", ["own", "one"], ["logits"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "toy",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    if props:
        helper.set_model_props(model, (spec or ClassifierSpec()).to_props())
    return model


def write_toy_model(path: Path, spec: ClassifierSpec | None = None) -> Path:
    """The model as a file."""
    onnx.save(toy_model(spec), str(path))
    return path
