"""Writes ONNX graphs: nodes that are named for what they do, and constants that are stored once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"
"""Domain of onnxruntime's own operators."""


class GraphBuilder:
    """Collects nodes and initializers; every method that makes a tensor returns its name."""

    def __init__(self, opset: int, prefix: str = "") -> None:
        """``prefix`` keeps the names of shared constants apart from those of another builder in the same graph."""
        self.opset = opset
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        """Store a constant under a name that stands for its value: asked for again, it is the same tensor."""
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(value, dtype), name)
        return name

    def integers(self, *values: int) -> str:
        """An int64 vector with these values."""
        return self.constant(f"{self.prefix}int64_" + "_".join(map(str, values)), values, np.int64)

    def integer(self, value: int) -> str:
        """An int64 scalar."""
        return self.constant(f"{self.prefix}int64_scalar_{value}", value, np.int64)

    def number(self, value: float) -> str:
        """A float32 scalar."""
        return self.constant(f"{self.prefix}float_{value:.9g}", value)

    def node(self, operator: str, inputs: Sequence[str], name: str, *, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output, which has the node's name."""
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, domain=domain, **attributes))
        return name

    def nodes_out(
        self, operator: str, inputs: Sequence[str], outputs: Sequence[str], *, domain: str = "", **attributes: Any
    ) -> None:
        """Add a node with several outputs, named for the first of them that is used."""
        name = next(output for output in outputs if output)
        self.nodes.append(helper.make_node(operator, inputs, outputs, name=name, domain=domain, **attributes))

    def choice(self, condition: str, then: Callable[[], str], otherwise: Callable[[], str], name: str) -> str:
        """One of two float32 tensors, of which only that one is computed: the nodes that either function adds are in a
        graph of their own. What they take may come from outside, constants stay there, and what they make stays inside.
        """

        def branch(make: Callable[[], str], branch_name: str) -> onnx.GraphProto:
            outside, self.nodes = self.nodes, []
            result = helper.make_tensor_value_info(make(), TensorProto.FLOAT, None)
            inside, self.nodes = self.nodes, outside
            return helper.make_graph(inside, branch_name, [], [result])

        branches = {"then_branch": branch(then, f"{name}.then"), "else_branch": branch(otherwise, f"{name}.else")}
        return self.node("If", [condition], name, **branches)

    def reduce(self, operator: str, x: str, axis: int, name: str, *, keepdims: bool) -> str:
        """A reduction along one axis, whose axis is an attribute or an input as the opset has it."""
        if self.opset >= 18 or operator == "ReduceSum":
            return self.node(operator, [x, self.integers(axis)], name, keepdims=int(keepdims))
        return self.node(operator, [x], name, axes=[axis], keepdims=int(keepdims))

    def model(
        self,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        properties: dict[str, str],
    ) -> onnx.ModelProto:
        """The finished model, stamped with exactly this opset and the oldest file format that can hold it."""
        domains = sorted({node.domain for node in self.nodes} - {""})
        opsets = [helper.make_opsetid("", self.opset)] + [helper.make_opsetid(domain, 1) for domain in domains]
        graph = helper.make_graph(self.nodes, "spam_edge", inputs, outputs)
        version = helper.find_min_ir_version_for(opsets, ignore_unknown=True)
        model = helper.make_model(graph, opset_imports=opsets, ir_version=version, producer_name="spam-edge")
        helper.set_model_props(model, properties)
        # moved one by one: a constant must not stand in memory twice
        for name in list(self.initializers):
            model.graph.initializer.append(self.initializers.pop(name))
        return model


def write_model(model: onnx.ModelProto, path: Path) -> None:
    """Write a model tensor by tensor: protobuf's own way makes two more copies of all weights.

    The result is what serializing at once gives, but for the order of the graph's fields, which is free.
    """
    graph = onnx.GraphProto(name=model.graph.name)
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    rest = onnx.ModelProto(ir_version=model.ir_version, producer_name=model.producer_name)
    rest.opset_import.extend(model.opset_import)
    rest.metadata_props.extend(model.metadata_props)
    head = graph.SerializeToString()
    constants = model.graph.initializer
    marks = [field(onnx.GraphProto, "initializer") + varint(constant.ByteSize()) for constant in constants]
    size = len(head) + sum(len(mark) + constant.ByteSize() for mark, constant in zip(marks, constants, strict=True))
    with path.open("wb") as file:
        file.write(rest.SerializeToString() + field(onnx.ModelProto, "graph") + varint(size) + head)
        for mark, constant in zip(marks, constants, strict=True):
            file.write(mark)
            file.write(constant.SerializeToString())


def field(message: type[Any], name: str) -> bytes:
    """What stands before a field of protobuf's length-delimited kind."""
    return varint(message.DESCRIPTOR.fields_by_name[name].number << 3 | 2)


def varint(value: int) -> bytes:
    """A number as protobuf writes it: seven bits a byte, the lowest first, the eighth set where more follow."""
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
