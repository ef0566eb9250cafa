"""A graph that takes strings: GPT-2's tokenizer put in front of one that takes ids, as onnxruntime-extensions runs it.

The operator is HfJsonTokenizer rather than GPT2Tokenizer, which reads ``<|endoftext|>`` spelled out in a message as the
special token, where the runtime reads plain text.
"""

from __future__ import annotations

import json

import numpy as np
import onnx
from onnx import TensorProto, helper

from exporter.builder import GraphBuilder
from exporter.errors import ExportError
from exporter.vocabulary import tokenizer_config, tokenizer_json
from runtime.spec import END_OF_TEXT, ClassifierSpec

EXTENSIONS = "ai.onnx.contrib"
"""Domain of onnxruntime-extensions' operators."""


def refuse_fold(spec: ClassifierSpec, what: str) -> None:
    """Raise ``ExportError`` where a classifier folds its texts: a tokenizer elsewhere would give it other ids."""
    if spec.fold != "none":
        raise ExportError(
            f"{what} takes a tokenizer that cannot fold a text, as this checkpoint does (fold {spec.fold}): train it "
            "with spam-train --fold none"
        )


def add_tokenizer(model: onnx.ModelProto, spec: ClassifierSpec) -> None:
    """Have a model take ``text``, string (batch,), in place of ids and mask. They become what the runtime makes:

    cut to the context, ``<|endoftext|>`` for an empty message, padded on the right; or extended to ``pad_length`` where
    padding counts as text.
    """
    opset = next(entry.version for entry in model.opset_import if entry.domain == "")
    builder = GraphBuilder(opset, prefix="text.")
    tokenize(builder, spec)
    nodes = builder.nodes + list(model.graph.node)
    del model.graph.node[:], model.graph.input[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(builder.initializers.values())
    model.graph.input.append(helper.make_tensor_value_info("text", TensorProto.STRING, ["batch"]))
    model.opset_import.append(helper.make_opsetid(EXTENSIONS, 1))


def tokenize(builder: GraphBuilder, spec: ClassifierSpec) -> None:
    """``text`` to ``input_ids`` and ``attention_mask``, int64 (batch, sequence)."""
    node, integers = builder.node, builder.integers
    builder.nodes_out(
        "HfJsonTokenizer",
        ["text"],
        ["text.ids", "text.mask"],
        domain=EXTENSIONS,
        tokenizer_vocab=json.dumps(tokenizer_json(), ensure_ascii=False, separators=(",", ":")),
        tokenizer_config=json.dumps(tokenizer_config()),
    )
    node("Cast", ["text.mask"], "text.real", to=TensorProto.BOOL)
    end_of_text = builder.constant("text.end_of_text", END_OF_TEXT, np.int64)
    node("Where", ["text.real", "text.ids", end_of_text], "text.filled")
    node("Shape", ["text"], "text.batch")
    columns = spec.pad_length or 1
    node("Concat", ["text.batch", integers(columns)], "text.shape.more", axis=0)
    for name, value in {"filler": END_OF_TEXT, "ones": 1}.items():
        tensor = helper.make_tensor(name, TensorProto.INT64, [1], [value])
        node("ConstantOfShape", ["text.shape.more"], f"text.{name}", value=tensor)
    node("Concat", ["text.filled", "text.filler"], "text.extended", axis=1)
    if spec.pad_length:
        node("Slice", ["text.extended", integers(0), integers(columns), integers(1)], "input_ids")
        node("Identity", ["text.ones"], "attention_mask")
        return
    builder.reduce("ReduceSum", "text.mask", 1, "text.lengths", keepdims=False)
    builder.reduce("ReduceMax", "text.lengths", 0, "text.longest", keepdims=True)
    node("Max", ["text.longest", integers(1)], "text.at_least_1")
    node("Min", ["text.at_least_1", integers(spec.context_length)], "text.sequence")
    node("Slice", ["text.extended", integers(0), "text.sequence", integers(1)], "input_ids")
    # every message has a first token: an empty one's is <|endoftext|>
    node("Concat", ["text.mask", "text.ones"], "text.mask.extended", axis=1)
    node("Slice", ["text.mask.extended", integers(1), "text.sequence", integers(1)], "text.mask.rest")
    node("Concat", ["text.ones", "text.mask.rest"], "attention_mask", axis=1)
