"""GPT-2 as an ONNX graph: ids and mask in, the logits of one token a message out.

Built node by node from a checkpoint's shape and weights rather than traced, so that nothing is in it which the
computation does not need. The work runs on ``(batch * sequence, width)``: only attention sees messages side by side.
The last block computes keys and values for every token, and all else for the one token that is read.
"""

from __future__ import annotations

import math
from collections.abc import MutableMapping
from functools import cached_property

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from exporter.builder import GraphBuilder
from exporter.wide import WideGraph
from runtime.spec import ClassifierSpec
from trainer.gpt2 import GPT2Config
from trainer.wide import Wide

Array = npt.NDArray[np.float32]

Weights = MutableMapping[str, Array]
"""A checkpoint's tensors by name, without the ``transformer.`` in front; each is taken out when it is used."""

ATTENTION_OPSET = 23
"""The first opset with the Attention operator."""
MASKED = -1e9
"""Added to the attention score of a key that a query must not see: its share becomes 0 in float32."""


class Gpt2Graph(GraphBuilder):
    """The graph in float32, from standard operators."""

    before_rows: tuple[int, ...] = ()
    """Sizes of the axes that stand before the rows of tokens, which are written as (rows, width) throughout."""

    def __init__(self, config: GPT2Config, weights: Weights, opset: int) -> None:
        super().__init__(opset)
        self.config = config
        self.weights = weights

    def build(self, spec: ClassifierSpec, wide: Wide | None = None) -> onnx.ModelProto:
        """The whole model, described by ``spec``, with the logits of a wide path added where there is one."""
        blocks = [f"h.{number}" for number in range(self.config.n_layer)]
        ids, mask = "input_ids", "attention_mask"
        if spec.readout == "first":  # a first token sees nothing but itself
            ids, mask = (self.node("Gather", [x, self.integers(0)], f"first.{x}", axis=1) for x in (ids, mask))
        self.ids, self.mask = ids, mask
        x = self.embed(ids)
        normed = self.norm(x, f"{blocks[0]}.ln_1")
        for block, following in zip(blocks, [f"{block}.ln_1" for block in blocks[1:]] + ["ln_f"], strict=True):
            if block != blocks[-1]:
                y = self.attention(normed, f"{block}.attn")
            else:
                y = self.attention_at(normed, f"{block}.attn")
                x = self.take(x, f"{block}.read")
            x, normed = self.add_and_norm(x, y, f"{block}.ln_2")
            y = self.mlp(normed, f"{block}.mlp")
            x, normed = self.add_and_norm(x, y, following)
        logits = self.score(normed, "logits" if wide is None else "logits.last_token")
        if wide is not None:
            beside = WideGraph(self, wide).build("input_ids", "attention_mask")
            self.node("Add", [logits, beside], "logits")
        axes = ["batch", "sequence"]
        return self.model(
            [helper.make_tensor_value_info(name, TensorProto.INT64, axes) for name in ("input_ids", "attention_mask")],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", self.config.n_labels])],
            spec.to_props(),
        )

    @cached_property
    def length(self) -> str:
        """int64 (1,): the longest message of the batch."""
        return self.node("Shape", [self.ids], "length", start=1, end=2)

    @cached_property
    def rows_read(self) -> str:
        """int64 (batch,): where in (batch * sequence) each message's last token is."""
        self.node("Squeeze", [self.length], "stride")
        self.node("Size", [self.ids], "tokens")
        self.node("Range", [self.integer(0), "tokens", "stride"], "rows.first")
        self.reduce("ReduceSum", self.mask, 1, "lengths", keepdims=False)
        self.node("Add", ["lengths", self.integers(-1)], "lengths.less_1")
        return self.node("Add", ["rows.first", "lengths.less_1"], "rows.read")

    @cached_property
    def shape_heads(self) -> str:
        """(batch, sequence, heads, width / heads)."""
        heads = self.config.n_head, self.config.n_embd // self.config.n_head
        return self.node("Concat", [self.integers(-1), self.length, self.integers(*heads)], "shape.heads", axis=0)

    @cached_property
    def shape_messages(self) -> str:
        """(batch, sequence, 3 * width)."""
        parts = [self.integers(-1), self.length, self.integers(3 * self.config.n_embd)]
        return self.node("Concat", parts, "shape.messages", axis=0)

    @property
    def longest_at_once(self) -> str:
        """int64 (1,): tokens of the longest message whose attention is computed at once."""
        return self.length

    @cached_property
    def mask_of_all(self) -> str:
        """`causal_mask` of a whole message."""
        side = self.longest_at_once
        self.node("Concat", [side, side], "shape.square", axis=0)
        return self.causal_mask("shape.square", self.integer(1), "mask.causal")

    def causal_mask(self, shape: str, first: str, name: str) -> str:
        """float32 (queries, keys): what is added to the scores. The first query must not see keys from ``first`` on."""
        masked = helper.make_tensor("masked", TensorProto.FLOAT, [1], [MASKED])
        self.node("ConstantOfShape", [shape], f"{name}.masked", value=masked)
        return self.node("Trilu", [f"{name}.masked", first], name, upper=1)

    @cached_property
    def padding_mask(self) -> str:
        """float32 (batch, 1, 1, sequence): what is added to the scores of a message's keys."""
        self.node("Unsqueeze", [self.mask, self.integers(1, 2)], "mask.rows")
        self.node("Cast", ["mask.rows"], "mask.real", to=TensorProto.BOOL)
        return self.node("Where", ["mask.real", self.number(0), self.number(MASKED)], "mask.padding")

    def weight(self, name: str) -> str:
        """A tensor of the checkpoint as a constant."""
        return self.constant(name, self.weights.pop(name))

    def embed(self, ids: str) -> str:
        """(batch * sequence, width): each token's embedding and its position's."""
        tokens = self.node("Gather", [self.weight("wte.weight"), ids], "wte")
        positions = self.node(
            "Slice", [self.weight("wpe.weight"), self.integers(0), self.length, self.integers(0)], "wpe"
        )
        self.node("Add", [tokens, positions], "embedding")
        return self.rows("embedding")

    def rows(self, x: str) -> str:
        """(rows, width) of what has as many values in this order."""
        shape = self.integers(*self.before_rows, -1, self.config.n_embd)
        return self.node("Reshape", [x, shape], f"{x}.rows")

    def norm(self, x: str, name: str) -> str:
        """Layer normalization."""
        return self.node(
            "LayerNormalization",
            [x, self.weight(f"{name}.weight"), self.weight(f"{name}.bias")],
            name,
            epsilon=self.config.layer_norm_epsilon,
        )

    def add_and_norm(self, x: str, y: str, norm: str) -> tuple[str, str]:
        """The sum of the residual stream and a branch, and that sum normalized."""
        total = self.node("Add", [x, y], f"{y}.residual")
        return total, self.norm(total, norm)

    def take(self, x: str, name: str) -> str:
        """(batch * sequence, width) to (batch, width): the rows that are read."""
        return self.node("Gather", [x, self.rows_read], name, axis=-2)

    def linear(self, x: str, weight: Array, bias: Array, name: str) -> str:
        """``x @ weight + bias``: (rows, in) to (rows, out)."""
        inputs = [x, self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", bias)]
        return self.node("Gemm", inputs, name)

    def parameters(self, name: str) -> tuple[Array, Array]:
        """Weight (in, out) and bias (out,) of one of the checkpoint's linear layers."""
        return self.weights.pop(f"{name}.weight"), self.weights.pop(f"{name}.bias")

    def attention_parameters(self, name: str) -> tuple[Array, Array]:
        """The same for queries, keys and values, with the scores' 1 / sqrt(head width) put into the queries."""
        width = self.config.n_embd
        scale = np.ones(3 * width, np.float32)
        scale[:width] = 1 / math.sqrt(width // self.config.n_head)
        weight, bias = self.parameters(f"{name}.c_attn")
        return weight * scale, bias * scale

    def attention(self, x: str, name: str) -> str:
        """Causal self-attention: (batch * sequence, width) to the same."""
        qkv = self.linear(x, *self.attention_parameters(name), f"{name}.c_attn")
        q, k, v = self.split(self.messages(qkv), [f"{name}.{part}" for part in "qkv"])
        return self.project(self.mix(q, k, v, name), name)

    def messages(self, qkv: str) -> str:
        """(rows, 3 * width) as (batch, sequence, 3 * width) where the Attention operator follows, which wants that."""
        if self.opset < ATTENTION_OPSET:
            return qkv
        return self.node("Reshape", [qkv, self.shape_messages], f"{qkv}.messages")

    def attention_at(self, x: str, name: str) -> str:
        """The same for the tokens that are read alone: (batch * sequence, width) to (batch, width)."""
        width = self.config.n_embd
        weight, bias = self.attention_parameters(name)
        q = self.linear(self.take(x, f"{name}.read"), weight[:, :width], bias[:width], f"{name}.q")
        kv = self.linear(x, weight[:, width:], bias[width:], f"{name}.kv")
        k, v = self.split(kv, [f"{name}.{part}" for part in "kv"])
        return self.project(self.mix_at(q, k, v, name), name)

    def split(self, x: str, parts: list[str]) -> list[str]:
        """(..., parts * width) to as many (..., width)."""
        self.nodes_out("Split", [x, self.integers(*[self.config.n_embd] * len(parts))], parts, axis=-1)
        return parts

    def project(self, x: str, name: str) -> str:
        """Attention's output projection, of what has (rows, width) in this order but in some other shape."""
        return self.linear(self.rows(x), *self.parameters(f"{name}.c_proj"), f"{name}.c_proj")

    def mix(self, q: str, k: str, v: str, name: str) -> str:
        """Causal attention over heads, (batch, sequence, width) or the same with the width in heads."""
        if self.opset >= ATTENTION_OPSET:
            return self.attend_causally(q, k, v, "", f"{name}.mix")
        order = [0, 2, 1, 3]
        heads = self.heads(q, order), self.heads(k, [0, 2, 3, 1]), self.heads(v, order)
        mixed = self.attend_causally(*heads, self.mask_of_all, f"{name}.mix")
        return self.node("Transpose", [mixed], f"{name}.tokens", perm=order)

    def attend_causally(self, q: str, k: str, v: str, mask: str, name: str) -> str:
        """`attend` of all queries; ``mask`` is that of a whole message."""
        return self.attend(q, k, v, mask, name)

    def attend(self, q: str, k: str, v: str, mask: str, name: str) -> str:
        """What queries take of values. By the Attention operator where there is one, (batch, queries, width), which has
        the mask of a whole message itself; else (batch, heads, queries, width / heads), keys with the last two swapped.
        """
        if self.opset >= ATTENTION_OPSET:
            heads = self.config.n_head
            inputs, causal = ([q, k, v, mask], 0) if mask else ([q, k, v], 1)
            return self.node(
                "Attention", inputs, name, q_num_heads=heads, kv_num_heads=heads, scale=1.0, is_causal=causal
            )
        return self.node("MatMul", [self.shares(q, k, mask, name), v], name)

    def mix_at(self, q: str, k: str, v: str, name: str) -> str:
        """Attention of one query a message to all of it, (batch, heads, 1, width / heads)."""
        heads = self.config.n_head
        q = self.node("Reshape", [q, self.integers(-1, heads, 1, self.config.n_embd // heads)], f"{q}.heads")
        shares = self.shares(q, self.heads(k, [0, 2, 3, 1]), self.padding_mask, name)
        # Two equal rows: a product with one row is summed in an order that depends on how many keys there are, padding
        # included, in onnxruntime (as in its Attention operator), and the logits' last bits would depend on the batch.
        self.node("Concat", [shares, shares], f"{name}.shares.twice", axis=2)
        self.node("MatMul", [f"{name}.shares.twice", self.heads(v, [0, 2, 1, 3])], f"{name}.mix.twice")
        bounds = [self.integers(bound) for bound in (0, 1, 2)]
        return self.node("Slice", [f"{name}.mix.twice", *bounds], f"{name}.mix")

    def shares(self, q: str, k: str, mask: str, name: str) -> str:
        """What each query takes of each key, (batch, heads, queries, keys)."""
        self.node("MatMul", [q, k], f"{name}.scores")
        self.node("Add", [f"{name}.scores", mask], f"{name}.masked")
        return self.node("Softmax", [f"{name}.masked"], f"{name}.shares", axis=-1)

    def heads(self, x: str, order: list[int]) -> str:
        """(batch * sequence, width) to (batch, sequence, heads, width / heads), its axes then in this order."""
        return self.node(
            "Transpose", [self.node("Reshape", [x, self.shape_heads], f"{x}.parts")], f"{x}.heads", perm=order
        )

    def mlp(self, x: str, name: str) -> str:
        """The feed-forward half: (rows, width) to the same."""
        x = self.gelu_linear(x, name)
        return self.linear(x, *self.parameters(f"{name}.c_proj"), f"{name}.c_proj")

    def gelu_linear(self, x: str, name: str) -> str:
        """GELU of the first of the two layers: (rows, width) to (rows, 4 * width)."""
        return self.gelu(self.linear(x, *self.parameters(f"{name}.c_fc"), f"{name}.c_fc"), f"{name}.gelu")

    def gelu(self, x: str, name: str) -> str:
        """GELU in its tanh form (Hendrycks and Gimpel 2016)."""
        if self.opset >= 20:
            return self.node("Gelu", [x], name, approximate="tanh")
        # in these very steps, which onnxruntime recognizes and runs as one
        self.node("Pow", [x, self.number(3)], f"{name}.cube")
        self.node("Mul", [f"{name}.cube", self.number(0.044715)], f"{name}.small")
        self.node("Add", [x, f"{name}.small"], f"{name}.sum")
        self.node("Mul", [f"{name}.sum", self.number(math.sqrt(2 / math.pi))], f"{name}.scaled")
        self.node("Tanh", [f"{name}.scaled"], f"{name}.tanh")
        self.node("Add", [f"{name}.tanh", self.number(1)], f"{name}.gate")
        self.node("Mul", [x, self.number(0.5)], f"{name}.half")
        return self.node("Mul", [f"{name}.half", f"{name}.gate"], name)

    def score(self, x: str, name: str) -> str:
        """(batch, width) to the logits (batch, labels)."""
        return self.node("Gemm", [x, self.weight("score.weight")], name, transB=1)
