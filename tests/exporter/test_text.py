"""The tokenizer in the graph gives the runtime's ids."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from exporter.builder import GraphBuilder
from exporter.text import EXTENSIONS, tokenize
from exporter.vocabulary import merges, vocabulary
from runtime.spec import ClassifierSpec
from runtime.tokenizer import encode

CONTEXT = 64
# onnxruntime's Python binding ends a string at its first U+0000; U+001C-U+001F, U+0085 and U+180E are blanks to one
# tokenizer and not to the other
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0\x1c\x1d\x1e\x1f\x85\u180e"), max_size=60)


@pytest.fixture(scope="module")
def ids_of() -> Callable[[list[str]], list[list[int]]]:
    extensions = pytest.importorskip("onnxruntime_extensions", reason="onnxruntime-extensions is not installed")
    builder = GraphBuilder(17)
    tokenize(builder, ClassifierSpec(context_length=CONTEXT))
    names = ("input_ids", "attention_mask")
    graph = helper.make_graph(
        builder.nodes,
        "tokenizer",
        [helper.make_tensor_value_info("text", TensorProto.STRING, ["batch"])],
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"]) for name in names],
        list(builder.initializers.values()),
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(EXTENSIONS, 1)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    options = ort.SessionOptions()
    options.register_custom_ops_library(extensions.get_library_path())
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def call(texts: list[str]) -> list[list[int]]:
        ids, mask = session.run(names, {"text": np.array(texts, object)})
        assert ids.shape[1] == mask.sum(1).max()
        return [row[: real.sum()].tolist() for row, real in zip(ids, mask, strict=True)]

    return call


def test_every_message_of_the_collection(ids_of: Callable[[list[str]], list[list[int]]], sms_collection: Path) -> None:
    lines = sms_collection.read_text("utf-8").split("\n")
    texts = [line.split("\t", 1)[1] for line in lines if line]
    for start in range(0, len(texts), 500):
        some = texts[start : start + 500]
        assert ids_of(some) == [encode(text, CONTEXT)[0] for text in some]


@settings(max_examples=150, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_any_text(ids_of: Callable[[list[str]], list[list[int]]], texts: list[str]) -> None:
    assert ids_of(texts) == [encode(text, CONTEXT)[0] for text in texts]


def test_the_vocabulary_in_other_forms_is_complete() -> None:
    assert sorted(vocabulary().values()) == list(range(50257))
    assert len(merges()) == 50000
    assert merges()[:3] == [("Ġ", "t"), ("Ġ", "a"), ("h", "e")]
