"""A wide path fitted to the sample messages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from runtime.spec import ClassifierSpec
from trainer.data import Tokens, tokenize
from trainer.evaluation.labelled import Messages, read_messages
from trainer.fit_wide import fit_wide
from trainer.recipe import FEWEST_ROWS
from trainer.wide import Wide

SAMPLE = Path(__file__).parents[2] / "examples" / "messages.tsv"


@dataclass(frozen=True)
class Fitted:
    """A wide path and what it was fitted to."""

    messages: Messages
    tokens: Tokens
    wide: Wide
    """Not calibrated."""


def themed_sample(*, step: int = 1) -> Messages:
    """The sample messages, as many ham as spam, with two themes that both labels have."""
    messages = read_messages(SAMPLE)[0]
    by_label = [[place for place, label in enumerate(messages.labels) if label == which] for which in (0, 1)]
    few = min(map(len, by_label))
    messages = messages.take(sorted(by_label[0][:few:step] + by_label[1][:few:step]))
    themes = tuple("figures" if any(map(str.isdigit, text)) else "words" for text in messages.texts)
    return Messages(messages.texts, messages.labels, themes)


def fit_sample() -> Fitted:
    """Fit it as `spam-train` does, with the smallest table."""
    torch.set_num_threads(1)
    messages = themed_sample()
    tokens = tokenize(messages.texts, ClassifierSpec())
    wide, _ = fit_wide(tokens, messages.labels, messages.themes, rows=FEWEST_ROWS, ridge=0.1)
    return Fitted(messages, tokens, wide)
