"""The graphs with onnxruntime's own operators where they were found faster than standard ones.

Its SkipLayerNormalization and MultiHeadAttention are not: ``benchmarks/int8_ideas.md`` has the figures.
"""

from __future__ import annotations

from exporter.builder import MICROSOFT
from exporter.graph import Gpt2Graph
from exporter.quantize import Int8Graph


class FusedGraph(Gpt2Graph):
    """float32, for onnxruntime alone."""

    def gelu(self, x: str, name: str) -> str:
        """GELU in its tanh form."""
        return self.node("FastGelu", [x], name, domain=MICROSOFT)


class FusedInt8Graph(FusedGraph, Int8Graph):
    """int8, for onnxruntime alone."""

    def gelu_linear(self, x: str, name: str) -> str:
        """GELU of the first of the two layers, which adds its bias: (rows, width) to (rows, 4 * width)."""
        weight, bias = self.parameters(f"{name}.c_fc")
        inputs = [self.product(x, weight, f"{name}.c_fc"), self.constant(f"{name}.c_fc.bias", bias)]
        return self.node("FastGelu", inputs, f"{name}.gelu", domain=MICROSOFT)

    def products(self, x: str, weight: str, zero_point: str, scales: str, name: str) -> str:
        """``(x - zero_point) @ weight * scales``: uint8 (rows, in) to float32 (rows, out)."""
        inputs = [x, weight, self.number(1), scales, zero_point]
        return self.node("MatMulIntegerToFloat", inputs, f"{name}.scaled", domain=MICROSOFT)
