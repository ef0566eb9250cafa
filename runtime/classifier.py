"""A classifier in one object: made from one file, called with strings."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from runtime.batching import batches, pad
from runtime.cpus import usable_cpus
from runtime.encoding import Encoded, Long, encode_message
from runtime.errors import ModelError
from runtime.model_file import OrtError, Provider, is_small, open_model, shipped_model
from runtime.scores import probabilities, verdicts

Item = TypeVar("Item")
Floats = npt.NDArray[np.float32]

MAX_BATCH_TOKENS, MAX_BATCH_TOKENS_SMALL = 256, 1024
"""Default cap of a batch, ``rows × longest row``: memory is bounded by it, whatever the messages are. A large model
fills the CPU with few tokens; a small one is faster with more, and they take little. Longer messages go alone."""

PART = 256
"""Messages that a worker tokenizes at a time."""

WINDOW_MESSAGES = 1024
WINDOW_CHARACTERS = 1 << 20
"""`SpamClassifier.stream` reads ahead at most so many messages, or messages of so many characters together."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the classifier says of one message."""

    label: str
    """One of the classifier's labels."""
    score: float
    """Calibrated probability of the spam label, 0 to 1."""
    truncated: bool
    """Whether the message was longer than the context, so that its end was not read."""
    tokens: int
    """How many tokens of it were read."""


class SpamClassifier:
    """Classifies messages with a model that ``spam-export`` wrote.

    The verdict of a message does not depend on what else is in its batch, nor on the order. One object may be used
    from many threads at once, is picklable (by its file's path), reopens its file in a forked child, and is a context
    manager.

    >>> classifier = SpamClassifier()
    >>> classifier.predict(["WIN a prize now"])
    ['spam']
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        threads: int | None = None,
        max_batch_tokens: int | None = None,
        long: Long = "cut",
        threshold: float | None = None,
        session_options: Mapping[str, str | int | bool] | None = None,
        providers: Sequence[Provider] | None = None,
    ) -> None:
        """Open a model.

        Args:
            model: Path of the .onnx file; None for the model shipped in the package.
            threads: CPUs to use; by default those that this process may really use (affinity and control group quota).
                They share each computation, but where the model's files are smaller than 32 MiB, which has little to
                share: there each computes batches of its own, so that a message alone takes one.
            max_batch_tokens: Largest ``rows × longest row`` of a batch; more takes more memory. By default 256, or
                1,024 for such a small model.
            long: What to do with messages beyond the context: ``cut`` them and say so in `Verdict.truncated`, or score
                ``windows`` that overlap by half and report the one with the highest spam score.
            threshold: Spam probability from which a message is spam; by default the one in the file.
            session_options: onnxruntime's settings, laid over those of this package: names with a dot are
                configuration entries, others attributes of ``onnxruntime.SessionOptions``.
            providers: onnxruntime execution providers, in order of preference; the CPU by default. Others want a
                portable file: the shipped model and those of ``spam-export --target onnxruntime`` are for the CPU's.

        Raises:
            ModelError: The file cannot be served, or a provider is not there.
            ValueError: An argument out of its range.
        """
        if max_batch_tokens is not None and max_batch_tokens < 1:
            raise ValueError(f"max_batch_tokens must be at least 1, not {max_batch_tokens}")
        if long not in ("cut", "windows"):
            raise ValueError(f"long must be 'cut' or 'windows', not {long!r}")
        self.path = shipped_model() if model is None else Path(model).absolute()
        small = is_small(self.path)
        if max_batch_tokens is None:
            max_batch_tokens = MAX_BATCH_TOKENS_SMALL if small else MAX_BATCH_TOKENS
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        self._threads = threads
        self._workers = (threads or usable_cpus()) if small else 1
        self._max_batch_tokens = max_batch_tokens
        self._long = long
        self._settings: dict[str, Any] = {
            "threads": None if small else threads,
            "session_options": None if session_options is None else dict(session_options),
            "providers": None if providers is None else list(providers),
        }
        self._threshold = threshold
        self._lock = threading.Lock()
        self._session: ort.InferenceSession | None
        self._session, spec = open_model(self.path, **self._settings)
        self._forked = False
        _alive.add(self)
        self.spec = spec if threshold is None else replace(spec, threshold=threshold)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the columns of `logits` and `predict_proba`."""
        return self.spec.labels

    @property
    def spam_label(self) -> str:
        """Which of `labels` is the positive one."""
        return self.spec.spam_label

    @property
    def classes_(self) -> npt.NDArray[np.str_]:
        """`labels` as an array, as scikit-learn's classifiers have them."""
        return np.array(self.labels)

    def predict(self, messages: Iterable[str]) -> list[str]:
        """The label of each message. Raises ``TypeError`` with its index for what is not a string."""
        return [verdict.label for verdict in self.verdicts(messages)]

    def predict_proba(self, messages: Iterable[str]) -> Floats:
        """Calibrated probabilities, float32 ``[messages, labels]``, columns as `labels`; each row sums to 1."""
        calibrated: Floats = probabilities(self.logits(messages), self.spec.temperature).astype(np.float32)
        return calibrated

    def logits(self, messages: Iterable[str]) -> Floats:
        """What the graph returns, float32 ``[messages, labels]``: neither temperature nor threshold applied.

        With ``long="windows"`` those of a message's window with the highest spam score.
        """
        return self._all_at_once(messages)[1]()

    def verdict(self, message: str) -> Verdict:
        """The verdict on one message. Raises ``TypeError`` for what is not a string."""
        if not isinstance(message, str):
            raise TypeError(f"the message is {_kind(message)}, not a string")
        return self.verdicts([message])[0]

    def verdicts(self, messages: Iterable[str]) -> list[Verdict]:
        """The verdict on each message. Raises ``TypeError`` with its index for what is not a string."""
        return self._verdicts(*self._all_at_once(messages))

    def stream(self, messages: Iterable[str]) -> Generator[Verdict, None, None]:
        """Verdicts for any iterable of strings, in its order and in constant memory.

        Reads ahead by a window of messages, which is computed while the next one is read and tokenized.
        Raises ``TypeError`` with its index for what is not a string, after the verdicts on what came before it.
        """
        windows = self.stream_windows(read_ahead(_texts(messages), len))
        return (verdict for window in windows for verdict in window)

    def stream_windows(self, messages: Iterable[Sequence[str]]) -> Generator[list[Verdict], None, None]:
        """Verdicts window by window; one window is computed while the next is read and tokenized.

        An empty window says that nothing more is there for now: the verdicts of those before it come at once.
        """
        count = 0
        failure: Exception | None = None
        waiting: deque[tuple[list[Encoded], Callable[[], Floats], list[Future[None]]]] = deque()
        source = iter(messages)
        with self._pool() as pool:
            while failure is None:
                encoded = []
                try:
                    window = next(source, None)
                    if window is None:
                        break
                    for text in window:
                        encoded.append(self._encode(text, count))
                        count += 1
                except Exception as error:  # noqa: BLE001 - raised below, after the verdicts on what came before
                    failure = error
                if encoded:
                    groups, run, finish = self._plan(encoded)
                    waiting.append((encoded, finish, [pool.submit(run, group) for group in groups]))
                while len(waiting) > (1 if encoded else 0):
                    yield self._verdicts(*waiting.popleft())
            while waiting:
                yield self._verdicts(*waiting.popleft())
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Let go of the model; further calls raise ``ValueError``."""
        self._session = None

    def __enter__(self) -> SpamClassifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = {
            "max_batch_tokens": self._max_batch_tokens,
            "long": self._long,
            "threshold": self._threshold,
            **self._settings,
            "threads": self._threads,
        }
        return partial(SpamClassifier, self.path, **arguments), ()

    def __repr__(self) -> str:
        return f"SpamClassifier({str(self.path)!r})"

    def _encode(self, text: object, index: int) -> Encoded:
        if not isinstance(text, str):
            raise TypeError(f"message {index} is {_kind(text)}, not a string")
        return encode_message(text, self.spec, self._long)

    def _all_at_once(self, messages: Iterable[str]) -> tuple[list[Encoded], Callable[[], Floats]]:
        """Encode and compute messages, by all workers where there are many; gives what `_verdicts` takes."""
        texts = list(_texts(messages))

        def encode_part(start: int) -> list[Encoded]:
            return [self._encode(text, index) for index, text in enumerate(texts[start : start + PART], start)]

        with self._pool() as pool:
            each = pool.map if self._workers > 1 and len(texts) > PART else map
            encoded = [message for part in each(encode_part, range(0, len(texts), PART)) for message in part]
            groups, run, finish = self._plan(encoded)
            each = pool.map if self._workers > 1 and len(groups) > 1 else map
            for _ in each(run, reversed(groups)):  # the longest first, so that no worker is left with one at the end
                pass
        return encoded, finish

    @contextmanager
    def _pool(self) -> Iterator[ThreadPoolExecutor]:
        """The workers of one call, whose threads start when they are first needed and end with it; when it is left
        early, batches that have not begun are not computed."""
        pool = ThreadPoolExecutor(self._workers, "spam-edge")
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)

    def _plan(
        self, encoded: Sequence[Encoded]
    ) -> tuple[list[list[int]], Callable[[list[int]], None], Callable[[], Floats]]:
        """Cut messages into batches.

        Returns:
            The batches; what computes one of them, from any thread; and, when all are computed, the logits of each
            message, float32 ``[messages, labels]``.
        """
        distinct: dict[bytes, int] = {}  # what is sent to many comes many times, and is computed once
        places = [distinct.setdefault(row.tobytes(), len(distinct)) for message in encoded for row in message.rows]
        rows = [np.frombuffer(row, dtype=np.uint16) for row in distinct]
        logits = np.zeros((len(rows), len(self.labels)), dtype=np.float32)
        session = self._open_session()

        def run(group: list[int]) -> None:
            ids, mask = pad([rows[index] for index in group])
            try:
                (logits[group],) = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})
            except OrtError as error:
                raise ModelError(f"{self.path}: onnxruntime failed while running it: {error}") from error

        groups = batches([len(row) for row in rows], self._max_batch_tokens)
        return groups, run, lambda: self._of_messages(logits[places], encoded)

    def _of_messages(self, logits: Floats, encoded: Sequence[Encoded]) -> Floats:
        """The logits of each message from those of its rows: of its window with the highest spam score."""
        if len(logits) == len(encoded):
            return logits
        # Odds and not probabilities, which are all 1.0 where the model is sure.
        others = np.delete(logits, self.spec.spam_index, axis=1) / self.spec.temperature
        odds = logits[:, self.spec.spam_index] / self.spec.temperature - np.logaddexp.reduce(others, axis=1)
        highest, start = [], 0
        for message in encoded:
            end = start + len(message.rows)
            highest.append(start + int(odds[start:end].argmax()))
            start = end
        return logits[highest]

    def _verdicts(
        self, encoded: Sequence[Encoded], finish: Callable[[], Floats], running: Iterable[Future[None]] = ()
    ) -> list[Verdict]:
        """The verdicts of messages, when their batches are computed."""
        for batch in running:
            batch.result()
        columns, scores = verdicts(finish(), self.spec)
        return [
            Verdict(self.labels[column], score, message.truncated, message.tokens)
            for column, score, message in zip(columns.tolist(), scores.tolist(), encoded, strict=True)
        ]

    def _open_session(self) -> ort.InferenceSession:
        """The session of this process: onnxruntime's threads do not live on in a forked child."""
        if self._session is not None and self._forked:
            with self._lock:
                if self._forked:
                    self._session, _ = open_model(self.path, **self._settings)
                    self._forked = False
        if self._session is None:
            raise ValueError("the classifier is closed")
        return self._session

    def _after_fork(self) -> None:
        # A session's destructor waits for its threads, which this child does not have: one reference too many keeps
        # it from ever running here.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._session))
        self._lock = threading.Lock()
        self._forked = True


_alive: weakref.WeakSet[SpamClassifier] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for classifier in list(_alive):
        classifier._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def read_ahead(
    items: Iterable[Item], characters: Callable[[Item], int], ready: Callable[[], bool] = lambda: True
) -> Iterator[list[Item]]:
    """Cut an iterable into windows, each of a bounded number of items and of characters as ``characters`` counts them.

    Where ``ready`` says that the next item is not there yet, the window ends and an empty one follows it. What was
    read before the iterable failed comes out before its exception does.
    """
    window: list[Item] = []
    size = 0
    try:
        for item in items:
            window.append(item)
            size += characters(item)
            waits = not ready()
            if waits or len(window) == WINDOW_MESSAGES or size >= WINDOW_CHARACTERS:
                yield window
                window, size = [], 0
            if waits:
                yield []
    except Exception:
        yield window
        raise
    if window:
        yield window


def _texts(messages: Iterable[str]) -> Iterable[str]:
    if isinstance(messages, (str, bytes)):
        raise TypeError(f"messages is {_kind(messages)}: give a list of strings")
    return messages


def _kind(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
