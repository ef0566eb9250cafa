"""The graph with int8 weights, and with one scale for every row of activations.

A scale for a whole tensor, as dynamic quantization usually takes it, makes a message's logits depend on the rest of its
batch. Here each token's row is scaled by its own largest value, and every sum is either over integers, which is exact
in any order, or within one row: a message's logits have the same bits alone and in any batch.

A row x becomes uint8, round(127 x / max|x|) + 128, since onnxruntime's fast products take uint8 by int8. Weights have
one scale an output column; embeddings one a row, and are turned back into float32 after they are looked up.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exporter.graph import Array, Gpt2Graph

SMALLEST = 1e-12
"""Stands in for the largest value of a row of zeros."""

GELU_MINIMUM = 0.1700410
"""GELU in its tanh form is nowhere below minus this."""
GELU_ZERO = 32
"""What stands for 0 where GELU's output is quantized: it needs little room below and much above."""


def quantized(weight: Array, axis: int) -> tuple[npt.NDArray[np.int8], Array]:
    """A matrix as int8 in -127..127, and the scales that multiply it back, one for each index of ``1 - axis``.

    Args:
        weight: float32 matrix.
        axis: The axis whose values share a scale.
    """
    scale = np.maximum(np.abs(weight).max(axis, keepdims=True), SMALLEST).astype(np.float32) / np.float32(127)
    return np.rint(weight / scale).astype(np.int8), scale


def levels(x: str) -> tuple[int, int]:
    """The integers that stand for 0 in a tensor's rows and, above that, for a row's largest value."""
    zero = GELU_ZERO if x.endswith(".gelu") else 128
    return zero, 255 - zero


class Int8Graph(Gpt2Graph):
    """The graph with products of uint8 activations and int8 weights."""

    def embed(self, ids: str) -> str:
        """(batch * sequence, width): each token's embedding and its position's."""
        tokens = self.embedding_rows("wte", ids)
        length = [self.integers(0), self.length, self.integers(0)]
        values, scale = self.table("wpe")
        self.node("Slice", [values, *length], "wpe")
        self.node("Slice", [scale, *length], "wpe.scale.rows")
        positions = self.scaled("wpe", "wpe.scale.rows")
        self.node("Add", [tokens, positions], "embedding")
        return self.rows("embedding")

    def embedding_rows(self, name: str, ids: str) -> str:
        """Rows of an embedding table, as float32."""
        values, scale = self.table(name)
        self.node("Gather", [values, ids], name)
        self.node("Gather", [scale, ids], f"{name}.scale.rows")
        return self.scaled(name, f"{name}.scale.rows")

    def table(self, name: str) -> tuple[str, str]:
        """An embedding table as int8, and its rows' scales."""
        values, scale = quantized(self.weights.pop(f"{name}.weight"), axis=1)
        return self.constant(f"{name}.weight", values, np.int8), self.constant(f"{name}.scale", scale)

    def scaled(self, values: str, scale: str) -> str:
        """Integers turned into float32 and multiplied."""
        return self.node("Mul", [self.node("Cast", [values], f"{values}.float", to=1), scale], f"{values}.scaled")

    def peak(self, x: str, *, keepdims: bool) -> str:
        """Each row's largest value, never 0: (rows, 1), or (rows,)."""
        zero, top = levels(x)
        if zero == GELU_ZERO:
            least, largest = GELU_MINIMUM * top / zero, x
        else:
            least, largest = SMALLEST, self.node("Abs", [x], f"{x}.abs")
        peak = self.reduce("ReduceMax", largest, 1, f"{x}.max", keepdims=keepdims)
        return self.node("Max", [peak, self.number(least)], f"{x}.peak")

    def zero_point(self, zero: int) -> str:
        """The uint8 that stands for 0."""
        return self.constant(f"uint8_{zero}", zero, np.uint8)

    def linear(self, x: str, weight: Array, bias: Array, name: str) -> str:
        """``x @ weight + bias``: (rows, in) to (rows, out)."""
        product = self.product(x, weight, name)
        return self.node("Add", [product, self.constant(f"{name}.bias", bias)], name)

    def product(self, x: str, weight: Array, name: str) -> str:
        """``x @ weight``: (rows, in) to (rows, out)."""
        zero, top = levels(x)
        peak = self.peak(x, keepdims=True)
        self.node("Div", [self.number(top), peak], f"{x}.factor")
        self.node("Mul", [x, f"{x}.factor"], f"{x}.stretched")
        self.node("QuantizeLinear", [f"{x}.stretched", self.number(1), self.zero_point(zero)], f"{x}.uint8")
        values, scale = quantized(weight, axis=0)
        matrix = self.constant(f"{name}.weight", values, np.int8)
        scales = self.constant(f"{name}.scale", scale[0] / np.float32(top))
        self.node("MatMulInteger", [f"{x}.uint8", matrix, self.zero_point(zero)], f"{name}.int32")
        return self.node("Mul", [self.scaled(f"{name}.int32", scales), peak], f"{name}.rescaled")

    def score(self, x: str, name: str) -> str:
        """(batch, width) to the logits (batch, labels), each a sum over one row in an order of its own."""
        self.node("Unsqueeze", [x, self.integers(1)], "score.rows")
        self.node("Mul", ["score.rows", self.weight("score.weight")], "score.products")
        return self.reduce("ReduceSum", "score.products", 2, name, keepdims=False)
