"""Logits become probabilities and a verdict in one place."""

import numpy as np
import pytest
import torch

from runtime.scores import probabilities, spam_scores, verdicts
from runtime.spec import ClassifierSpec


def test_probabilities_are_pytorchs_softmax_of_the_scaled_logits() -> None:
    logits = np.random.default_rng(0).normal(0, 40, (200, 3)).astype(np.float32)
    expected = torch.softmax(torch.from_numpy(logits).double() / 1.7, 1).numpy()
    np.testing.assert_allclose(probabilities(logits, 1.7), expected, rtol=1e-12)
    np.testing.assert_allclose(spam_scores(logits, 1.7, 2), expected[:, 2], rtol=1e-12)
    assert probabilities(np.array([[1000.0, -1000.0]])).tolist() == [[1.0, 0.0]]
    assert probabilities(np.zeros((0, 2))).shape == (0, 2)


def test_spam_is_called_from_the_threshold_on_and_else_the_likeliest_other_label() -> None:
    spec = ClassifierSpec(labels=("ham", "spam", "ads"), threshold=0.5)
    columns, scores = verdicts(np.log([[0.2, 0.5, 0.3], [0.2, 0.49, 0.31], [0.3, 0.45, 0.25], [0.1, 0.1, 0.8]]), spec)
    assert columns.tolist() == [1, 2, 0, 2]
    assert scores == pytest.approx([0.5, 0.49, 0.45, 0.1])


def test_the_temperature_is_part_of_the_verdict() -> None:
    logits = np.array([[0.0, 2.0]])
    assert verdicts(logits, ClassifierSpec(threshold=0.8))[0].tolist() == [1]
    assert verdicts(logits, ClassifierSpec(threshold=0.8, temperature=2.0))[0].tolist() == [0]
