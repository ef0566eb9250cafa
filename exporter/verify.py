"""Proof that an exported file does what the checkpoint does, with PyTorch as the judge."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import torch

from runtime.batching import Row, batches, pad
from runtime.encoding import encode_message
from runtime.scores import verdicts
from runtime.spec import ClassifierSpec, Precision
from trainer.evaluation.labelled import Messages
from trainer.gpt2 import GPT2Classifier, GPT2Config

LENGTHS = (1, 2, 3, 7, 16, 64, 120, 512, 1023, 1024)
"""Lengths in tokens of the single messages that are compared; those beyond the context are left out."""

RAGGED = ((3, 16, 7, 1), (64, 2, 120), (16,) * 8, (1, 512, 5), (1024, 1, 1023))
"""Lengths of the messages in the batches that are compared; those beyond the context are cut to it."""

NEIGHBOURS = (1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 23, 31, 33, 47, 64, 65, 90, 120, 129, 257)
"""Lengths of the messages whose logits are compared alone and in batches."""

BATCH_TOKENS = 4096

HARD_TEXTS = (
    "",
    " ",
    "  two blanks\t\ttabs\n\nlines  ",
    "a <|endoftext|> b",
    "don't WE'LL they've 'S",
    "naïve café, Zürich – 日本語テキスト, здравствуйте, 👩‍👩‍👧 ١٢٣ ½",
    "word " * 1500,
    "x" * 3000,
)
"""Texts on which tokenizers differ, an empty one, and some longer than the context."""

LOGIT_LIMIT = 1e-4
"""fp32: largest difference of a logit from PyTorch's."""
INVARIANCE_LIMIT = {"fp32": 1e-5, "int8": 0.0}
"""Largest difference between a message's logits alone and in a batch."""
CHANGED_VERDICTS_LIMIT = 0.005
"""int8: largest share of verdicts that differ from PyTorch's."""
LOST_ACCURACY_LIMIT = 0.3
"""int8: accuracy, in points, that may be lost on the labelled messages."""

WORKLOADS = ((1, 16), (1, 120), (32, 16))
"""Batch and length of what is timed."""

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Batch = tuple[Ids, Ids]
"""``input_ids`` and ``attention_mask``, both int64 (batch, sequence)."""
Model = Callable[[Ids, Ids], Floats]
"""Logits (batch, labels) of a batch."""


@dataclass(frozen=True)
class Check:
    """One figure, and the limit that it must keep."""

    name: str
    value: float
    limit: float | None = None
    """Largest value that passes; None for a figure that is only reported."""

    @property
    def passed(self) -> bool:
        """Whether the limit is kept; a value that is not a number keeps none."""
        return self.limit is None or self.value <= self.limit


@dataclass(frozen=True)
class Measured:
    """What a model answered, and how fast."""

    grid: list[Floats]
    """Logits of each batch of `grid`."""
    messages: Floats
    """Logits of the labelled messages, (messages, labels)."""
    milliseconds: dict[str, float]
    """Median time of each of `WORKLOADS`."""


def torch_model(model: GPT2Classifier) -> Model:
    """A checkpoint as PyTorch computes it."""

    @torch.inference_mode()
    def call(ids: Ids, mask: Ids) -> Floats:
        logits: Floats = model(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
        return logits

    return call


def session_model(session: ort.InferenceSession) -> Model:
    """An exported file as onnxruntime computes it."""

    def call(ids: Ids, mask: Ids) -> Floats:
        logits: Floats = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]
        return logits

    return call


def measure(model: Model, config: GPT2Config, spec: ClassifierSpec, messages: Messages) -> Measured:
    """Ask a model all that is compared afterwards."""
    return Measured(
        [model(*batch) for batch in grid(config, spec.context_length)],
        logits_of(model, [encode_message(text, spec).rows[0] for text in messages.texts]),
        {f"{batch} x {length}": latency(model, config, batch, length) for batch, length in fitting(spec)},
    )


def fitting(spec: ClassifierSpec) -> list[tuple[int, int]]:
    """The workloads that the context can hold."""
    return [(batch, length) for batch, length in WORKLOADS if length <= spec.context_length]


def grid(config: GPT2Config, context: int) -> Iterable[Batch]:
    """Single messages of every length and ragged batches, of random ids."""
    draw = np.random.default_rng(0)
    singles = [(length,) for length in LENGTHS if length <= context]
    ragged = [tuple(min(length, context) for length in lengths) for lengths in RAGGED]
    for lengths in singles + ragged:
        yield pad([random_row(draw, config, length) for length in lengths])


def random_row(draw: np.random.Generator, config: GPT2Config, length: int) -> Row:
    """Random ids."""
    return draw.integers(0, config.vocab_size, length, np.uint16)


def logits_of(model: Model, rows: Sequence[Row]) -> Floats:
    """Logits of many messages, (messages, labels), computed in batches as the runtime makes them."""
    groups = batches([len(row) for row in rows], BATCH_TOKENS)
    logits = np.concatenate([model(*pad([rows[index] for index in group])) for group in groups])
    ordered = np.empty_like(logits)
    ordered[np.concatenate([np.array(group) for group in groups])] = logits
    return ordered


def latency(model: Model, config: GPT2Config, batch: int, length: int, seconds: float = 0.2) -> float:
    """Median milliseconds of a batch, over at least 5 runs and about ``seconds``."""
    ids = np.random.default_rng(0).integers(0, config.vocab_size, (batch, length))
    mask = np.ones_like(ids)
    model(ids, mask)
    times: list[float] = []
    while len(times) < 5 or sum(times) < seconds * 1000:
        start = time.perf_counter()
        model(ids, mask)
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def variance_over_batches(model: Model, config: GPT2Config, context: int, messages: Sequence[Row] = ()) -> float:
    """Largest difference of a logit between a message alone and the same message in some batch.

    Every message, of random ids and of ``messages``, is computed alone, among all others in two orders, beside one
    neighbour, and with more padding.
    """
    draw = np.random.default_rng(1)
    rows = [random_row(draw, config, length) for length in NEIGHBOURS if length <= context] + list(messages)
    alone = [model(*pad([row]))[0] for row in rows]
    together = model(*pad(rows))
    backwards = model(*pad(rows[::-1]))[::-1]
    beside = [model(*pad([row, rows[index - 1]]))[0] for index, row in enumerate(rows)]
    padded = [model(*widen(pad([row]), min(13, context - len(row))))[0] for row in rows]
    return max(difference(alone, others) for others in (together, backwards, beside, padded))


def widen(batch: Batch, columns: int) -> Batch:
    """A batch with more padding on the right."""
    ids, mask = (np.pad(array, ((0, 0), (0, columns))) for array in batch)
    return ids, mask


def difference(a: Iterable[Floats], b: Iterable[Floats]) -> float:
    """Largest absolute difference; not a number if there is one among the values."""
    return float(np.max([np.max(np.abs(np.subtract(x, y, dtype=np.float64))) for x, y in zip(a, b, strict=True)]))


def compare(
    judge: Measured, file: Measured, variance: float, spec: ClassifierSpec, messages: Messages, precision: Precision
) -> list[Check]:
    """Every figure that is reported, those with a limit first failing the export when they exceed it."""
    spam = np.array(messages.labels, bool)
    before, after = (verdicts(logits, spec)[0] == spec.spam_index for logits in (judge.messages, file.messages))
    accuracy = [100 * float(np.mean(found == spam)) for found in (before, after)]
    exact = precision == "fp32"
    return [
        Check(
            "largest difference of a logit from PyTorch, random ids",
            difference(judge.grid, file.grid),
            LOGIT_LIMIT if exact else None,
        ),
        Check(
            "largest difference of a logit from PyTorch, messages",
            difference([judge.messages], [file.messages]),
            LOGIT_LIMIT if exact else None,
        ),
        Check("largest difference of a logit alone and in a batch", variance, INVARIANCE_LIMIT[precision]),
        Check("share of verdicts changed", float(np.mean(before != after)), CHANGED_VERDICTS_LIMIT),
        Check("accuracy lost, points", max(0.0, accuracy[0] - accuracy[1]), LOST_ACCURACY_LIMIT),
    ]
