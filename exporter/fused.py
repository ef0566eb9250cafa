"""The graphs as onnxruntime runs them fastest, with its own operators where those are faster than standard ones.

Its SkipLayerNormalization and MultiHeadAttention are not: ``benchmarks/int8_ideas.md`` has the figures.
"""

from __future__ import annotations

import itertools
from functools import cached_property

import numpy as np
from onnx import TensorProto, helper

from exporter.builder import MICROSOFT
from exporter.graph import ATTENTION_OPSET, Array, Gpt2Graph
from exporter.quantize import GELU_ZERO, Int8Graph, levels, quantized

LONG = 192
"""From so many tokens on, attention is computed in pieces."""
PIECES = 8
"""A piece has so many-th of the queries."""


class AttentionInPieces(Gpt2Graph):
    """Attention over long messages, for onnxruntime alone: OpenVINO has a faster way, which this keeps it from.

    The queries are taken in pieces, each of which sees no more keys than up to its own last: with eight that is 9/16 of
    the work, on tables of scores that stay in a cache. Each query's result has the same bits as at once.
    """

    @cached_property
    def longest_at_once(self) -> str:
        """int64 (1,): as many tokens as the longest message has, or as `LONG` is if that is longer."""
        return self.node("Min", [self.length, self.integers(LONG)], "length.at_once")

    @cached_property
    def long(self) -> str:
        """bool (1,): whether attention is computed in pieces."""
        return self.node("GreaterOrEqual", [self.length, self.integers(LONG)], "long")

    def attend_causally(self, q: str, k: str, v: str, mask: str, name: str) -> str:
        """`attend` of all queries, at once or in pieces; ``mask`` is that of a whole message."""
        return self.choice(
            self.long,
            lambda: self.attend_in_pieces(q, k, v, f"{name}.pieces"),
            lambda: self.attend(q, k, v, mask, f"{name}.at_once"),
            name,
        )

    def attend_in_pieces(self, q: str, k: str, v: str, name: str) -> str:
        """`attend` of all queries, `PIECES` of them one after the other."""
        axis, axis_of_keys = (1, 1) if self.opset >= ATTENTION_OPSET else (2, 3)
        self.node("Mul", [self.length, self.integers(*range(PIECES + 1))], f"{name}.parts")
        self.node("Div", [f"{name}.parts", self.integers(PIECES)], f"{name}.bounds")
        bounds = [f"{name}.bound.{number}" for number in range(PIECES + 1)]
        self.nodes_out("Split", [f"{name}.bounds", self.integers(*[1] * (PIECES + 1))], bounds)
        self.node("Add", [f"{name}.bounds", self.integers(1)], f"{name}.unseen")
        pieces = []
        for number, (start, end) in enumerate(itertools.pairwise(bounds)):
            piece = f"{name}.{number}"
            self.node("Sub", [end, start], f"{piece}.queries")
            self.node("Concat", [f"{piece}.queries", end], f"{piece}.shape", axis=0)
            self.node("Gather", [f"{name}.unseen", self.integer(number)], f"{piece}.unseen")
            mask = self.causal_mask(f"{piece}.shape", f"{piece}.unseen", f"{piece}.mask")
            self.node("Slice", [q, start, end, self.integers(axis)], f"{piece}.q")
            self.node("Slice", [k, self.integers(0), end, self.integers(axis_of_keys)], f"{piece}.k")
            self.node("Slice", [v, self.integers(0), end, self.integers(axis)], f"{piece}.v")
            pieces.append(self.attend(f"{piece}.q", f"{piece}.k", f"{piece}.v", mask, piece))
        return self.node("Concat", pieces, f"{name}.all", axis=axis)


class FusedGraph(AttentionInPieces):
    """float32, for onnxruntime alone.

    Linear layers are convolutions of width 1 over the tokens. On x86 onnxruntime reads a convolution's weights once for
    several tokens and computes meanwhile, where its matrix products of few rows do one after the other.
    """

    before_rows = (1, 1)  # a picture one pixel high: (1, 1, rows, width), with its channels last

    def linear(self, x: str, weight: Array, bias: Array, name: str) -> str:
        """``x @ weight + bias``: (rows, in) to (rows, out)."""
        kernel = self.constant(f"{name}.weight", weight.T[:, :, None, None])
        # onnxruntime takes these transpositions into the change of layout that its convolutions need anyway
        self.node("Transpose", [x], f"{name}.in", perm=[0, 3, 1, 2])
        self.node("Conv", [f"{name}.in", kernel, self.constant(f"{name}.bias", bias)], f"{name}.out")
        return self.node("Transpose", [f"{name}.out"], name, perm=[0, 2, 3, 1])

    def gelu(self, x: str, name: str) -> str:
        """GELU in its tanh form."""
        return self.node("FastGelu", [x], name, domain=MICROSOFT)

    def score(self, x: str, name: str) -> str:
        """(batch, width) to the logits (batch, labels)."""
        return super().score(self.node("Reshape", [x, self.integers(-1, self.config.n_embd)], "score.rows"), name)


class FusedInt8Graph(AttentionInPieces, Int8Graph):
    """int8, for onnxruntime alone."""

    def operands(self, x: str, weight: Array, name: str) -> tuple[list[str], str, Array]:
        """What an integer product of x's rows and a weight takes, with QuantizeLinear taking a scale a row.

        Returns:
            The uint8 rows, the int8 matrix and the uint8 that stands for the rows' 0; what one step of each row is
            worth (rows,); and what one step of each of the matrix's columns is worth (columns,).
        """
        zero, top = levels(x)
        self.node("Mul", [self.peak(x, keepdims=False), self.number(1 / top)], f"{x}.step")
        self.node("QuantizeLinear", [x, f"{x}.step", self.zero_points(x, zero)], f"{x}.uint8", axis=0)
        values, scale = quantized(weight, axis=0)
        matrix = self.constant(f"{name}.weight", values, np.int8)
        return [f"{x}.uint8", matrix, self.zero_point(zero)], f"{x}.step", scale[0]

    def peak(self, x: str, *, keepdims: bool) -> str:
        """Each row's largest value; where it is 0, all integers that may stand for the row are multiplied by 0."""
        if levels(x)[0] == GELU_ZERO:
            return super().peak(x, keepdims=keepdims)
        return self.reduce("ReduceMax", self.node("Abs", [x], f"{x}.abs"), 1, f"{x}.peak", keepdims=keepdims)

    def zero_points(self, x: str, zero: int) -> str:
        """uint8 (rows,), all ``zero``; the same tensor for all blocks but the last, which has rows of two kinds."""
        name = f"{x}.zeros" if x.startswith(f"h.{self.config.n_layer - 1}.") else f"zeros.{zero}"
        if not any(node.name == name for node in self.nodes):
            value = helper.make_tensor("zero", TensorProto.UINT8, [1], [zero])
            self.node("ConstantOfShape", [self.node("Shape", [x], f"{name}.shape", start=0, end=1)], name, value=value)
        return name

    def attention(self, x: str, name: str) -> str:
        """Causal self-attention: (batch * sequence, width) to the same.

        Queries take up the columns' scales of the keys, and the output projection those of the values. The keys' bias
        adds the same to all scores of a query, which softmax cancels.
        """
        width = self.config.n_embd
        weight, bias = self.attention_parameters(name)
        inputs, step, scale = self.operands(x, weight, f"{name}.c_attn")
        self.node("MatMulInteger", inputs, f"{name}.c_attn.int32")
        qkv = self.node("DequantizeLinear", [f"{name}.c_attn.int32", step], f"{name}.c_attn", axis=0)
        q, k, v = self.split(self.messages(qkv), [f"{name}.q.unscaled", f"{name}.k", f"{name}.v"])
        of_q, of_k, of_v = np.split(scale, 3)
        self.node("Mul", [q, self.constant(f"{name}.q.scale", of_q * of_k)], f"{name}.q.scaled")
        q = self.node("Add", [f"{name}.q.scaled", self.constant(f"{name}.q.bias", bias[:width] * of_k)], f"{name}.q")
        self.move_bias(bias[2 * width :], name)
        self.weights[f"{name}.c_proj.weight"] = self.weights[f"{name}.c_proj.weight"] * of_v[:, None]
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

    def product(self, x: str, weight: Array, name: str) -> str:
        """``x @ weight``: (rows, in) to (rows, out)."""
        (rows, matrix, zero), step, scale = self.operands(x, weight, name)
        inputs = [rows, matrix, self.number(1), self.constant(f"{name}.scale", scale), zero]
        self.node("MatMulIntegerToFloat", inputs, f"{name}.scaled", domain=MICROSOFT)
        steps = self.node("Unsqueeze", [step, self.integers(1)], f"{name}.steps")
        return self.node("Mul", [f"{name}.scaled", steps], f"{name}.rescaled")
