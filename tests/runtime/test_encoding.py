"""One rule from a text to the rows that a model sees, which every floor follows."""

from pathlib import Path

import numpy as np
import pytest

from runtime import ModelError, SpamClassifier
from runtime.encoding import encode_message
from runtime.spec import PREFIX, ClassifierSpec
from runtime.tokenizer import encode
from tests.runtime.toy_model import expected_logits, toy_model, write_toy_model

DISGUISED, PLAIN = (
    "Your \u0440\u0430\u0443\u0440\u0430\u04cf is on hold, \U0001d41c\U0001d41a\U0001d425\U0001d425",
    "Your paypal is on hold, call",
)
LONG = "\U0001d41f\U0001d42b\U0001d41e\U0001d41e " * 30


def test_a_folded_message_has_the_ids_of_what_is_read() -> None:
    folded, as_typed = ClassifierSpec(fold="reader-1"), ClassifierSpec()
    assert encode_message(DISGUISED, folded).rows[0].tolist() == encode(PLAIN)[0]
    assert encode_message(DISGUISED, as_typed).rows[0].tolist() == encode(DISGUISED)[0]


def test_a_message_of_which_nothing_is_seen_is_empty() -> None:
    assert encode_message("\u200b\u200b", ClassifierSpec(fold="reader-1")) == encode_message("", ClassifierSpec())


def test_it_is_cut_and_extended_after_it_is_folded() -> None:
    cut = encode_message(LONG, ClassifierSpec(fold="reader-1", context_length=8))
    assert (cut.rows[0].tolist(), cut.truncated, cut.tokens) == (encode("free " * 30)[0][:8], True, 8)
    padded = encode_message("\u200bhi", ClassifierSpec(fold="reader-1", padding="longest", pad_length=4))
    assert padded.rows[0].tolist() == [*encode("hi")[0], 50256, 50256, 50256]
    windows = encode_message(LONG, ClassifierSpec(fold="reader-1", context_length=8), "windows")
    assert windows.tokens == len(encode("free " * 30)[0]) and len(windows.rows) > 3 and not windows.truncated


def test_a_file_that_says_so_is_served_with_folded_messages(tmp_path: Path, classifier: SpamClassifier) -> None:
    folding = SpamClassifier(write_toy_model(tmp_path / "m.onnx", ClassifierSpec(fold="reader-1")))
    np.testing.assert_allclose(folding.logits([DISGUISED])[0], expected_logits(encode(PLAIN)[0]), rtol=1e-5)
    np.testing.assert_allclose(classifier.logits([DISGUISED])[0], expected_logits(encode(DISGUISED)[0]), rtol=1e-5)
    assert folding.logits([DISGUISED]).tolist() == folding.logits([PLAIN]).tolist()
    streamed = SpamClassifier(folding.path, long="windows").stream([DISGUISED, PLAIN])
    assert len({verdict.score for verdict in streamed}) == 1


def test_a_file_from_before_there_were_folds_is_served_as_it_was(tmp_path: Path, classifier: SpamClassifier) -> None:
    model = toy_model()
    kept = [entry for entry in model.metadata_props if entry.key != f"{PREFIX}fold"]
    assert len(kept) == len(model.metadata_props) - 1
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    (tmp_path / "old.onnx").write_bytes(model.SerializeToString())
    old = SpamClassifier(tmp_path / "old.onnx")
    assert old.spec.fold == "none"
    assert old.logits([DISGUISED]).tolist() == classifier.logits([DISGUISED]).tolist()


def test_a_fold_of_later_is_refused_and_an_older_runtime_refuses_this_one() -> None:
    with pytest.raises(ModelError, match=r"'reader-2'.*install a newer spam-edge"):
        ClassifierSpec.from_props(ClassifierSpec().to_props() | {f"{PREFIX}fold": '"reader-2"'})
    assert ClassifierSpec().schema_version == 1  # still served by runtimes that know no fold
    assert ClassifierSpec(fold="reader-1").schema_version == 2
    spec = ClassifierSpec(fold="reader-1", threshold=0.7)
    assert ClassifierSpec.from_props(spec.to_props()) == spec
