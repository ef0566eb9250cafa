"""Metrics, intervals, calibration and thresholds, against counting by hand and against known values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import average_precision_score, roc_auc_score

from runtime.scores import spam_scores
from trainer.evaluation import metrics
from trainer.evaluation.metrics import (
    TARGETS,
    calibration_error,
    fit_temperature,
    measure,
    proportion_interval,
    recall_at,
    threshold_for,
)


def test_metrics_equal_counting_by_hand() -> None:
    labels = [0, 0, 0, 1, 1, 1, 1, 0]
    scores = np.array([0.1, 0.6, 0.2, 0.9, 0.4, 0.8, 0.7, 0.3])
    result = measure(labels, scores)
    assert result["confusion_matrix"] == [[3, 1], [1, 3]]
    assert (result["accuracy"], result["precision"], result["recall"], result["f1"]) == (0.75, 0.75, 0.75, 0.75)
    assert result["false_positive_rate"] == 0.25
    pairs = [(s > h) + 0.5 * (s == h) for s in scores[[3, 4, 5, 6]] for h in scores[[0, 1, 2, 7]]]
    assert result["roc_auc"] == pytest.approx(np.mean(pairs))
    for name, (low, high) in result["intervals"].items():
        assert low <= result[name] <= high


def test_the_threshold_itself_is_spam() -> None:
    assert measure([0, 1], np.array([0.2, 0.5]))["confusion_matrix"] == [[1, 0], [0, 1]]


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_alone_has_no_curves_but_all_else(label: int) -> None:
    result = measure([label] * 5, np.array([0.1, 0.2, 0.3, 0.4, 0.9]))
    assert result["roc_auc"] is result["matthews"] is None
    assert result["accuracy"] in (0.8, 0.2)


@pytest.mark.filterwarnings("error")
def test_one_class_without_a_mistake_is_measured_in_silence() -> None:
    assert measure([0, 0, 0], np.array([0.1, 0.2, 0.3]))["accuracy"] == 1


def test_nothing_to_measure_is_said() -> None:
    assert measure([], np.array([])) == {"count": 0}


def test_proportion_interval_is_wilsons() -> None:
    # Newcombe 1998, Statistics in Medicine 17, table I: 81 of 263
    assert proportion_interval(81, 263) == pytest.approx([0.2553, 0.3662], abs=1e-4)


def test_bootstrap_intervals_cover_the_truth_about_as_often_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "RESAMPLES", 160)
    generator = np.random.default_rng(1)
    population = 200_000
    labels = generator.integers(0, 2, population)
    scores = 1 / (1 + np.exp(-(2 * labels - 1 + generator.normal(0, 1, population))))
    whole = measure(labels, scores, intervals=False)
    hits = {"f1": 0, "roc_auc": 0, "accuracy": 0}
    for _ in range(30):
        chosen = generator.integers(0, population, 200)
        intervals = measure(labels[chosen], scores[chosen])["intervals"]
        for name in hits:
            hits[name] += intervals[name][0] <= whole[name] <= intervals[name][1]
    assert all(count >= 24 for count in hits.values()), hits


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 12), st.integers(0, 3)), min_size=2, max_size=60),
)
def test_figures_of_messages_drawn_again_are_those_of_the_messages_repeated(drawn: list[tuple[int, int, int]]) -> None:
    labels, twelfths, times = np.array([(1, 12, 1), (0, 0, 1), *drawn]).T
    scores = twelfths / 12
    again, of_them = np.repeat(labels, times), np.repeat(scores, times)
    figures = metrics.Curve(labels, scores).figures(times.astype(np.float64))
    assert figures["roc_auc"] == pytest.approx(roc_auc_score(again, of_them))
    assert figures["average_precision"] == pytest.approx(average_precision_score(again, of_them))
    ham, spam = of_them[again == 0], of_them[again == 1]
    for target in TARGETS:
        best = max((spam >= t).mean() for t in [*of_them, 2.0] if (ham >= t).sum() <= target * len(ham))
        assert figures[recall_at(target)] == pytest.approx(best)


def test_recall_where_a_share_of_the_ham_is_lost() -> None:
    labels = [0] * 1000 + [1] * 100
    scores = np.concatenate([np.linspace(0, 0.9, 1000), np.linspace(0.87, 1, 100)])
    figures = measure(labels, scores)
    expected = [np.mean(scores[1000:] > scores[:1000][-1 - lost]) for lost in (1, 5, 10, 20)]
    assert [figures[recall_at(target)] for target in TARGETS] == pytest.approx(expected)
    assert expected == sorted(expected) and expected[0] < expected[-1]
    for name in (*map(recall_at, TARGETS), "expected_calibration_error"):
        low, high = figures["intervals"][name]
        assert low <= figures[name] <= high and high - low < 0.5


def test_temperature_undoes_a_scale() -> None:
    generator = np.random.default_rng(2)
    logits = generator.normal(0, 2, (20_000, 2))
    labels = (generator.random(20_000) < softmax(logits, axis=1)[:, 1]).astype(int)
    assert fit_temperature(logits, labels) == pytest.approx(1, abs=0.05)
    assert fit_temperature(3 * logits, labels) == pytest.approx(3, abs=0.15)
    assert calibration_error(labels, spam_scores(3 * logits)) > 5 * calibration_error(
        labels, spam_scores(3 * logits, 3)
    )


def test_a_few_perfect_messages_do_not_ask_for_boundless_confidence() -> None:
    logits = np.array([[3.0, -3.0]] * 50 + [[-3.0, 3.0]] * 50)
    temperature = fit_temperature(logits, [0] * 50 + [1] * 50)
    assert spam_scores(logits, temperature).max() == pytest.approx(51 / 52, abs=1e-3)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=300), st.sampled_from([0.0, 0.001, 0.01, 0.1, 0.5]))
def test_no_more_ham_than_allowed_reaches_the_threshold(scores: list[float], target: float) -> None:
    ham = np.unique(scores) * 0.99
    assert (ham >= threshold_for(ham, target)).mean() <= target


def test_threshold_is_the_lowest_that_keeps_the_target() -> None:
    ham = np.linspace(0, 0.99, 1000)
    assert (ham >= threshold_for(ham, 0.01)).sum() == 10
