"""From a text to the rows of ids that a model sees: fold, encode, cut, and extend where padding counts as text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from runtime.batching import Row, windows
from runtime.fold import fold
from runtime.spec import END_OF_TEXT, ClassifierSpec, Fold
from runtime.tokenizer import encode

Long = Literal["cut", "windows"]

FOLDS: dict[Fold, Callable[[str], str]] = {"none": str, "reader-1": fold}


class Encoded(NamedTuple):
    """A message as the model sees it: one row of ids, or several overlapping ones."""

    rows: list[Row]
    truncated: bool
    """Whether the message had more ids than the rows hold."""
    tokens: int
    """Ids of the message in the rows, each counted once."""


def encode_message(text: str, spec: ClassifierSpec, long: Long = "cut") -> Encoded:
    """The rows of a message, of at most ``pad_length`` ids where the padding counts as text, else ``context_length``.

    Args:
        text: The message.
        spec: The classifier's description.
        long: What becomes of a longer message: it is ``cut``, or becomes ``windows`` that overlap by half.
    """
    size = spec.pad_length or spec.context_length
    ids, truncated = encode(FOLDS[spec.fold](text), size if long == "cut" else None)
    rows = windows(np.array(ids, dtype=np.uint16), size)
    if spec.pad_length:
        # padding="longest" and "context": <|endoftext|> as ordinary tokens, up to the length trained with
        rows = [np.pad(row, (0, size - len(row)), constant_values=END_OF_TEXT) for row in rows]
    return Encoded(rows, truncated, len(ids))
