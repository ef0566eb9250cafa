"""From logits to a verdict: the one place where the temperature and the threshold are applied."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from runtime.spec import ClassifierSpec

Floats = npt.NDArray[np.float64]


def probabilities(logits: npt.ArrayLike, temperature: float = 1.0) -> Floats:
    """Calibrated probabilities, float64 (messages, labels), of logits of that shape; each row sums to 1.

    The logits are divided by the temperature before the softmax (Guo et al. 2017, "On Calibration of Modern Neural
    Networks").
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def spam_scores(logits: npt.ArrayLike, temperature: float = 1.0, spam_index: int = 1) -> Floats:
    """Calibrated probabilities of the spam label, float64 (messages,), of logits (messages, labels)."""
    return probabilities(logits, temperature)[:, spam_index]


def verdicts(logits: npt.ArrayLike, spec: ClassifierSpec) -> tuple[npt.NDArray[np.int64], Floats]:
    """What a classifier says of messages with these logits, (messages, labels).

    Returns:
        Each message's label as its index, int64 (messages,): spam where the spam score reaches the threshold, else the
        most probable of the others; and the spam scores, float64 (messages,), rounded to float32 as
        `SpamClassifier.predict_proba` gives them, so that a threshold taken from there is reached.
    """
    of_labels = probabilities(logits, spec.temperature).astype(np.float32).astype(np.float64)
    scores = of_labels[:, spec.spam_index].copy()
    of_labels[:, spec.spam_index] = -1.0
    return np.where(scores >= spec.threshold, spec.spam_index, of_labels.argmax(axis=1)).astype(np.int64), scores
