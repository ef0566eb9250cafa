import asyncio
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import ModelError, SpamClassifier, Verdict
from runtime.model_file import is_small
from runtime.spec import ClassifierSpec
from runtime.tokenizer import encode
from tests.runtime.toy_model import CONTEXT, expected_logits, write_toy_model

LONG = "many words " * 2000
TEXTS = ["WIN a prize now", "see you at six", "", "ok", "Ünïcödé ☃ \U0001f600", LONG, "\x00", "<|endoftext|>"]


def test_logits_are_what_the_graph_computes_from_the_ids(classifier: SpamClassifier) -> None:
    logits = classifier.logits(TEXTS)
    assert logits.dtype == np.float32
    expected = np.array([expected_logits(encode(text, CONTEXT)[0]) for text in TEXTS])
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-4)


def test_probabilities_are_a_softmax_at_the_temperature_of_the_file(tmp_path: Path) -> None:
    classifier = SpamClassifier(write_toy_model(tmp_path / "m.onnx", ClassifierSpec(temperature=2.5)))
    powers = np.exp(classifier.logits(TEXTS).astype(np.float64) / 2.5)
    proba = classifier.predict_proba(TEXTS)
    assert proba.dtype == np.float32
    np.testing.assert_allclose(proba, powers / powers.sum(axis=1, keepdims=True), rtol=1e-6)


def test_a_message_is_spam_from_the_threshold_on(model: Path, classifier: SpamClassifier, tmp_path: Path) -> None:
    scores = classifier.predict_proba(TEXTS)[:, 1].astype(np.float64)
    for threshold in (0.0, float(scores[1]), float(np.nextafter(scores[1], 2)), 1.1):
        expected = ["spam" if score >= threshold else "ham" for score in scores]
        assert SpamClassifier(model, threshold=threshold).predict(TEXTS) == expected
        stored = write_toy_model(tmp_path / "m.onnx", ClassifierSpec(threshold=threshold))
        assert SpamClassifier(stored).predict(TEXTS) == expected


def test_labels_come_from_the_file(tmp_path: Path) -> None:
    spec = ClassifierSpec(labels=("junk", "fine"), spam_label="junk")
    classifier = SpamClassifier(write_toy_model(tmp_path / "m.onnx", spec))
    assert classifier.labels == ("junk", "fine")
    assert classifier.classes_.tolist() == ["junk", "fine"]
    scores = classifier.predict_proba(TEXTS)[:, 0]
    assert classifier.predict(TEXTS) == ["junk" if score >= 0.5 else "fine" for score in scores]


def test_a_verdict_says_label_score_truncation_and_tokens(classifier: SpamClassifier) -> None:
    proba = classifier.predict_proba([LONG])[0, 1]
    label = classifier.predict([LONG])[0]
    assert classifier.verdict(LONG) == Verdict(label, float(proba), truncated=True, tokens=1024)
    assert not classifier.verdict("hello world").truncated
    assert classifier.verdict("hello world").tokens == 2


def test_every_way_of_asking_gives_the_same_answer(classifier: SpamClassifier) -> None:
    verdicts = [classifier.verdict(text) for text in TEXTS]
    assert classifier.verdicts(TEXTS) == verdicts
    assert list(classifier.stream(iter(TEXTS))) == verdicts
    assert classifier.predict(TEXTS) == [verdict.label for verdict in verdicts]
    assert [float(p) for p in classifier.predict_proba(TEXTS)[:, 1]] == [verdict.score for verdict in verdicts]


@settings(deadline=None, max_examples=60)
@given(texts=st.lists(st.text(max_size=60), max_size=40), data=st.data())
def test_neither_neighbours_nor_order_nor_budget_change_a_message(
    classifier: SpamClassifier, model: Path, texts: list[str], data: st.DataObject
) -> None:
    alone = np.concatenate([classifier.logits([text]) for text in texts] or [np.empty((0, 2))])
    np.testing.assert_allclose(classifier.logits(texts), alone, atol=1e-5)
    order = data.draw(st.permutations(range(len(texts))))
    np.testing.assert_allclose(classifier.logits([texts[i] for i in order]), alone[order], atol=1e-5)
    small = SpamClassifier(model, max_batch_tokens=data.draw(st.integers(1, 100)))
    np.testing.assert_allclose(small.logits(texts), alone, atol=1e-5)


def test_nothing_in_nothing_out(classifier: SpamClassifier) -> None:
    assert classifier.predict([]) == []
    assert classifier.logits([]).shape == classifier.predict_proba([]).shape == (0, 2)
    assert list(classifier.stream([])) == []


@pytest.mark.parametrize("padding", ["longest", "context"])
def test_fixed_padding_extends_or_cuts_every_message_to_its_length(tmp_path: Path, padding: str) -> None:
    spec = ClassifierSpec(padding=padding, pad_length=9)  # type: ignore[arg-type]
    classifier = SpamClassifier(write_toy_model(tmp_path / "m.onnx", spec))
    rows = [(encode(text)[0] + [50256] * 9)[:9] for text in TEXTS]
    np.testing.assert_allclose(classifier.logits(TEXTS), [expected_logits(row) for row in rows], rtol=1e-5, atol=1e-5)
    assert [verdict.truncated for verdict in classifier.verdicts(TEXTS)] == [len(encode(t)[0]) > 9 for t in TEXTS]


def test_windows_report_the_highest_score_of_overlapping_parts(model: Path, classifier: SpamClassifier) -> None:
    ids = encode(LONG)[0]
    starts = [*range(0, len(ids) - CONTEXT, CONTEXT // 2), len(ids) - CONTEXT]
    logits = np.array([expected_logits(ids[start : start + CONTEXT]) for start in starts])
    highest = logits[np.argmax(logits[:, 1] - logits[:, 0])]
    by_windows = SpamClassifier(model, long="windows")
    np.testing.assert_allclose(by_windows.logits(["short", LONG, "ok"])[1], highest, rtol=1e-4)
    assert not by_windows.verdict(LONG).truncated
    assert by_windows.verdict(LONG).tokens == len(ids)
    assert by_windows.verdict(LONG).score >= classifier.verdict(LONG).score
    np.testing.assert_array_equal(by_windows.logits(["short"]), classifier.logits(["short"]))


@pytest.mark.parametrize("bad", [None, b"bytes", 3, 2.5, ["nested"], ("a",), {"text": "a"}], ids=repr)
def test_what_is_no_string_is_named_with_its_index(classifier: SpamClassifier, bad: object) -> None:
    batch = ["fine", bad, "fine"]
    for ask in (classifier.predict, classifier.predict_proba, classifier.logits, classifier.verdicts):
        with pytest.raises(TypeError, match=r"message 1 is .*, not a string"):
            ask(batch)  # type: ignore[arg-type]
    stream = classifier.stream(batch)  # type: ignore[arg-type]
    assert next(stream) == classifier.verdict("fine")
    with pytest.raises(TypeError, match="message 1 is"):
        next(stream)


@pytest.mark.parametrize("bad", ["one string", b"bytes"])
def test_a_bare_string_is_not_a_batch(classifier: SpamClassifier, bad: str) -> None:
    with pytest.raises(TypeError, match="give a list of strings"):
        classifier.predict(bad)
    with pytest.raises(TypeError, match="give a list of strings"):
        classifier.stream(bad)


def test_a_verdict_wants_a_string(classifier: SpamClassifier) -> None:
    with pytest.raises(TypeError, match="the message is None, not a string"):
        classifier.verdict(None)  # type: ignore[arg-type]


@settings(deadline=None)
@given(text=st.text(st.characters(), max_size=200))
def test_every_string_gets_a_verdict(classifier: SpamClassifier, text: str) -> None:
    verdict = classifier.verdict(text)
    assert verdict.label in classifier.labels
    assert 0 <= verdict.score <= 1
    assert verdict.tokens >= 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\t\n",
        "\x00",
        "\ud800",
        "\udfff\ud800",
        "مرحبا بالعالم",
        "‮abc",
        "<|endoftext|>",
        "a" * 10_000_000,
        "\u0301" * 100_000,
    ],
    ids=lambda text: f"{text[:12]!a}×{len(text)}",
)
def test_strange_strings_get_a_verdict_too(classifier: SpamClassifier, text: str) -> None:
    assert classifier.verdict(text).label in classifier.labels


def test_a_stream_reads_ahead_by_a_window_and_no_more(classifier: SpamClassifier) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield f"message {taken}"

    stream = classifier.stream(endless())
    for _ in range(5000):
        next(stream)
    assert taken <= 5000 + 3 * 1024
    stream.close()


def test_a_stream_gives_what_came_before_a_failure(classifier: SpamClassifier) -> None:
    def broken() -> Iterator[str]:
        yield "one"
        yield "two"
        raise OSError("the disk is gone")

    stream = classifier.stream(broken())
    assert [next(stream), next(stream)] == classifier.verdicts(["one", "two"])
    with pytest.raises(OSError, match="the disk is gone"):
        next(stream)


def test_a_stream_that_is_left_leaves_no_thread(classifier: SpamClassifier) -> None:
    before = threading.active_count()
    stream = classifier.stream(str(n) for n in range(100_000))
    next(stream)
    del stream
    assert threading.active_count() == before


class Counting:
    """A session that counts the messages it is asked about and the runs at one time, and takes its time."""

    def __init__(self, classifier: SpamClassifier) -> None:
        assert classifier._session is not None
        self.session, self.messages, self.running, self.most = classifier._session, 0, 0, 0
        self.lock = threading.Lock()
        classifier._session = self  # type: ignore[assignment]

    def run(self, names: list[str], inputs: dict[str, np.ndarray[Any, Any]]) -> object:
        with self.lock:
            self.messages += len(inputs["input_ids"])
            self.running += 1
            self.most = max(self.most, self.running)
        time.sleep(0.02)
        with self.lock:
            self.running -= 1
        return self.session.run(names, inputs)


def with_large_data(model: Path, folder: Path) -> Path:
    """A copy of a model that has more weights beside it than a small one has."""
    large = folder / "large.onnx"
    shutil.copy(model, large)
    with (folder / "large.onnx.data").open("wb") as data:
        data.truncate(40 << 20)
    return large


def in_bulk(classifier: SpamClassifier, how: str, texts: list[str]) -> list[Verdict]:
    return list(classifier.stream(texts)) if how == "stream" else classifier.verdicts(texts)


@pytest.mark.parametrize("how", ["verdicts", "stream"])
def test_threads_run_the_batches_of_a_small_model_side_by_side(model: Path, tmp_path: Path, how: str) -> None:
    texts = [f"message {n}" for n in range(40)]
    for path, threads, most in ((model, 3, 3), (model, 1, 1), (with_large_data(model, tmp_path), 3, 1)):
        classifier = SpamClassifier(path, threads=threads, max_batch_tokens=12)
        counting = Counting(classifier)
        in_bulk(classifier, how, texts)
        assert counting.most == most
    alone = SpamClassifier(model, threads=3)
    before, counting = threading.active_count(), Counting(alone)
    alone.verdict("hello")
    assert (counting.most, threading.active_count()) == (1, before)


@pytest.mark.parametrize("how", ["verdicts", "stream"])
def test_verdicts_keep_their_order_whichever_batch_is_done_first(model: Path, how: str) -> None:
    texts = ["word " * (n * 7919 % 90) + str(n) for n in range(2500)]
    expected = SpamClassifier(model, threads=1, max_batch_tokens=4096).predict_proba(texts)[:, 1]
    found = in_bulk(SpamClassifier(model, threads=4, max_batch_tokens=256), how, texts)
    np.testing.assert_allclose([verdict.score for verdict in found], expected, atol=1e-6)
    assert [verdict.tokens for verdict in found] == [len(encode(text)[0]) for text in texts]


def test_what_is_no_string_far_into_a_batch_is_named_with_its_index(model: Path) -> None:
    texts: list[Any] = ["fine"] * 3000
    texts[1500] = texts[2900] = None
    classifier = SpamClassifier(model, threads=4)
    with pytest.raises(TypeError, match="message 1500 is None"):
        classifier.predict(texts)
    stream, count = classifier.stream(texts), 0
    with pytest.raises(TypeError):
        while next(stream):
            count += 1
    assert count == 1500


@pytest.mark.parametrize("how", ["verdicts", "stream"])
def test_a_run_that_fails_is_raised_and_ends_the_others(model: Path, how: str) -> None:
    classifier = SpamClassifier(model, threads=2, max_batch_tokens=4)
    counting = Counting(classifier)
    run = counting.run

    def fail_later(names: list[str], inputs: dict[str, np.ndarray[Any, Any]]) -> object:
        if counting.messages > 10:
            raise RuntimeError("out of memory")
        return run(names, inputs)

    counting.run = fail_later  # type: ignore[method-assign]
    before = threading.active_count()
    with pytest.raises(ModelError, match="onnxruntime failed while running it: out of memory"):
        in_bulk(classifier, how, [f"message {n}" for n in range(1000)])
    assert counting.messages < 20
    assert threading.active_count() == before


def test_a_stream_that_is_left_stops_computing(model: Path) -> None:
    classifier = SpamClassifier(model, max_batch_tokens=1)
    counting = Counting(classifier)
    stream = classifier.stream_windows([["a"], [f"b {n}" for n in range(1000)], ["c"], ["d"]])
    next(stream)
    stream.close()
    assert counting.messages < 100


def test_what_is_sent_to_many_is_computed_once(model: Path) -> None:
    classifier = SpamClassifier(model)
    texts = [*TEXTS, *reversed(TEXTS), TEXTS[0]]
    expected = [classifier.verdict(text) for text in texts]
    counting = Counting(classifier)
    assert classifier.verdicts(texts) == expected
    assert counting.messages == len(set(TEXTS))


def test_many_threads_get_the_answers_of_one(classifier: SpamClassifier) -> None:
    texts = [f"{text[:40]} {n}" for n in range(10) for text in TEXTS]
    expected = [classifier.verdict(text) for text in texts]

    def ask(seed: int) -> bool:
        order = np.random.default_rng(seed).permutation(len(texts))
        return all(classifier.verdict(texts[i]) == expected[i] for i in order)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(16)))


def test_an_event_loop_stays_free_while_a_thread_classifies(classifier: SpamClassifier) -> None:
    texts = [f"{text[:40]} {n}" for n in range(200) for text in TEXTS]

    async def app() -> tuple[list[str], int]:
        ticks = 0
        work = asyncio.create_task(asyncio.to_thread(classifier.predict, texts))
        while not work.done():
            await asyncio.sleep(0)
            ticks += 1
        return work.result(), ticks

    labels, ticks = asyncio.run(app())
    assert labels == classifier.predict(texts)
    assert ticks > 1


def test_pickling_goes_by_the_path_and_keeps_the_settings(model: Path) -> None:
    original = SpamClassifier(model, threads=1, max_batch_tokens=77, threshold=0.9, long="windows")
    data = pickle.dumps(original)
    assert len(data) < 1000
    copy = pickle.loads(data)
    assert copy.predict(TEXTS) == original.predict(TEXTS)
    assert pickle.dumps(copy) == data


def test_a_relative_path_is_pickled_as_an_absolute_one(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model.parent)
    data = pickle.dumps(SpamClassifier(model.name))
    monkeypatch.chdir("/")
    assert pickle.loads(data).path == model


def test_other_processes_can_be_handed_a_classifier(model: Path) -> None:
    classifier = SpamClassifier(model, threads=1)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(classifier.verdict, TEXTS[:4]) == classifier.verdicts(TEXTS[:4])


FORK = """
import os, sys
from runtime import SpamClassifier
classifier = SpamClassifier(sys.argv[1], threads=2, max_batch_tokens=2)
expected = classifier.predict(["before", "the fork"])
for how in (os._exit, sys.exit):
    child = os.fork()
    if child == 0:
        same = classifier.predict(["before", "the fork"]) == expected
        grandchild = os.fork()
        if grandchild == 0:
            os._exit(not classifier.predict(["before", "the fork"]) == expected)
        how(not (same and os.waitpid(grandchild, 0)[1] == 0))
    assert os.waitpid(child, 0)[1] == 0, how
assert classifier.predict(["before", "the fork"]) == expected
print("served")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_serves_and_ends(model: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FORK, model], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "served\n", "")


def test_a_context_manager_closes(model: Path) -> None:
    with SpamClassifier(model) as classifier:
        assert classifier.predict(["hello"])
    with pytest.raises(ValueError, match="closed"):
        classifier.predict(["hello"])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"threads": 0}, "threads must be at least 1"),
        ({"max_batch_tokens": 0}, "max_batch_tokens must be at least 1"),
        ({"long": "both"}, "long must be 'cut' or 'windows'"),
        ({"session_options": {"no_such_option": 1}}, "SessionOptions has no 'no_such_option'"),
    ],
)
def test_arguments_out_of_range_are_refused(model: Path, arguments: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        SpamClassifier(model, **arguments)  # type: ignore[arg-type]


def test_session_options_reach_onnxruntime(model: Path, tmp_path: Path) -> None:
    profile = tmp_path / "profile"
    options = {"enable_profiling": True, "profile_file_prefix": str(profile), "session.intra_op.allow_spinning": "0"}
    with SpamClassifier(model, session_options=options) as classifier:
        classifier.predict(["hello"])
        assert classifier._session is not None
        assert Path(classifier._session.end_profiling()).is_file()


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import runtime, sys; print([m for m in ('numpy', 'onnxruntime', 'tiktoken', 'typer') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_public_names_are_there_and_others_are_not() -> None:
    import runtime

    for name in runtime.__all__:
        assert getattr(runtime, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        runtime.nothing  # noqa: B018


def test_a_small_model_has_one_thread_and_larger_batches(model: Path, tmp_path: Path) -> None:
    assert is_small(model)
    large = with_large_data(model, tmp_path)  # weights may lie beside
    assert not is_small(large)
    assert SpamClassifier(model)._max_batch_tokens == 4 * SpamClassifier(large)._max_batch_tokens == 1024
    session = SpamClassifier(model)._session
    assert session is not None and session.get_session_options().intra_op_num_threads == 1
