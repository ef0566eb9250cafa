"""The graphs with onnxruntime's own operators where they were found faster than standard ones.

Its SkipLayerNormalization and MultiHeadAttention are not: ``benchmarks/int8_ideas.md`` has the figures.
"""

from __future__ import annotations

from onnx import TensorProto, helper

from exporter.builder import MICROSOFT
from exporter.graph import Array, Gpt2Graph
from exporter.quantize import Int8Graph, levels


class FusedGraph(Gpt2Graph):
    """float32, for onnxruntime alone."""

    def gelu(self, x: str, name: str) -> str:
        """GELU in its tanh form."""
        return self.node("FastGelu", [x], name, domain=MICROSOFT)


class FusedInt8Graph(FusedGraph, Int8Graph):
    """int8, for onnxruntime alone."""

    def quantize(self, x: str) -> tuple[str, str, int, int]:
        """A tensor's rows as uint8, with QuantizeLinear taking a scale a row: one pass less than with a constant."""
        zero, top = levels(x)
        peak = self.peak(x, keepdims=False)
        self.node("Mul", [peak, self.number(1 / top)], f"{x}.step")
        self.node("QuantizeLinear", [x, f"{x}.step", self.zero_points(x, zero)], f"{x}.uint8", axis=0)
        return f"{x}.uint8", self.node("Unsqueeze", [peak, self.integers(1)], f"{x}.peaks"), top, zero

    def zero_points(self, x: str, zero: int) -> str:
        """uint8 (rows,), all ``zero``; the same tensor for all blocks but the last, which has rows of two kinds."""
        name = f"{x}.zeros" if x.startswith(f"h.{self.config.n_layer - 1}.") else f"zeros.{zero}"
        if not any(node.name == name for node in self.nodes):
            value = helper.make_tensor("zero", TensorProto.UINT8, [1], [zero])
            self.node("ConstantOfShape", [self.node("Shape", [x], f"{name}.shape", start=0, end=1)], name, value=value)
        return name

    def attention(self, x: str, name: str) -> str:
        """Causal self-attention: (batch * sequence, width) to the same."""
        width = self.config.n_embd
        weight, bias = self.attention_parameters(name)
        product = self.product(x, weight, f"{name}.c_attn")
        q, k, v = self.split(product, [f"{name}.q.unbiased", f"{name}.k", f"{name}.v"])
        q = self.node("Add", [q, self.constant(f"{name}.q.bias", bias[:width])], f"{name}.q")
        # The bias of keys adds the same to all scores of a query, which softmax cancels.
        self.move_bias(bias[2 * width :], name)
        return self.project(self.mix(q, k, v, name), name)

    def move_bias(self, bias: Array, name: str) -> None:
        """Have the output projection's bias take up that of values: what a query takes of them sums to 1."""
        weight = self.weights[f"{name}.c_proj.weight"]
        self.weights[f"{name}.c_proj.bias"] = self.weights[f"{name}.c_proj.bias"] + bias @ weight

    def gelu_linear(self, x: str, name: str) -> str:
        """GELU of the first of the two layers, which adds its bias: (rows, width) to (rows, 4 * width)."""
        weight, bias = self.parameters(f"{name}.c_fc")
        inputs = [self.product(x, weight, f"{name}.c_fc"), self.constant(f"{name}.c_fc.bias", bias)]
        return self.node("FastGelu", inputs, f"{name}.gelu", domain=MICROSOFT)

    def products(self, x: str, weight: str, zero_point: str, scales: str, name: str) -> str:
        """``(x - zero_point) @ weight * scales``: uint8 (rows, in) to float32 (rows, out)."""
        inputs = [x, weight, self.number(1), scales, zero_point]
        return self.node("MatMulIntegerToFloat", inputs, f"{name}.scaled", domain=MICROSOFT)
