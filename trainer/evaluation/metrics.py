"""What a classifier is worth: metrics with their uncertainty, calibration, and thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import binomtest
from sklearn import metrics as sk

RESAMPLES = 1000
"""Bootstrap resamples (Efron 1979) for the figures that are no plain proportion."""

TARGETS = (0.001, 0.005, 0.01, 0.02)
"""False-positive rates that thresholds and recalls are reported for."""

BINS = 15
"""Bins of the calibration error."""

Scores = NDArray[np.float64]


def proportion_interval(hits: int, count: int) -> list[float]:
    """95% interval of a proportion (Wilson 1927)."""
    interval = binomtest(hits, count).proportion_ci(method="wilson")
    return [float(interval.low), float(interval.high)]


def measure(labels: ArrayLike, scores: Scores, threshold: float = 0.5, *, intervals: bool = True) -> dict[str, Any]:
    """Metrics of spam scores (messages,) against labels (messages,), 1 being spam.

    ``confusion_matrix`` is ``[[ham kept, ham called spam], [spam missed, spam caught]]``. What is not defined, such as
    the ROC AUC and the Matthews correlation of messages of one class, is None. ``intervals`` holds a 95% interval for
    each: Wilson's for proportions, percentiles of a bootstrap over the messages for the rest. ``recall_at(target)`` is
    the recall at the best threshold that loses no more than this share of the ham, chosen on these very messages.
    """
    truth = np.asarray(labels, dtype=np.int64)
    if not len(truth):
        return {"count": 0}
    called = (scores >= threshold).astype(np.int64)
    (kept, wrong), (missed, caught) = sk.confusion_matrix(truth, called, labels=[0, 1]).tolist()
    both = len(set(truth.tolist())) == 2
    result: dict[str, Any] = {
        "count": len(truth),
        "spam": int(truth.sum()),
        "accuracy": float(sk.accuracy_score(truth, called)),
        "precision": float(sk.precision_score(truth, called, zero_division=0)),
        "recall": float(sk.recall_score(truth, called, zero_division=0)),
        "f1": float(sk.f1_score(truth, called, zero_division=0)),
        "roc_auc": float(sk.roc_auc_score(truth, scores)) if both else None,
        **(Curve(truth, scores).recalls(np.ones(len(truth))) if both else dict.fromkeys(map(recall_at, TARGETS))),
        "average_precision": float(sk.average_precision_score(truth, scores)) if both else None,
        "matthews": float(sk.matthews_corrcoef(truth, called)) if both else None,
        "false_positive_rate": wrong / (kept + wrong) if kept + wrong else None,
        "expected_calibration_error": calibration_error(truth, scores),
        "confusion_matrix": [[kept, wrong], [missed, caught]],
    }
    if intervals:
        proportions = {
            "accuracy": (kept + caught, len(truth)),
            "precision": (caught, caught + wrong),
            "recall": (caught, caught + missed),
            "false_positive_rate": (wrong, kept + wrong),
        }
        result["intervals"] = {name: proportion_interval(*pair) for name, pair in proportions.items() if pair[1]}
        result["intervals"] |= _bootstrap(truth, scores, np.array([kept, wrong, missed, caught]), both)
    return result


def _bootstrap(
    truth: NDArray[np.int64], scores: Scores, confusion: NDArray[np.int64], both: bool
) -> dict[str, list[float]]:
    generator = np.random.default_rng(0)
    # resampling messages and counting them draws the four counts from a multinomial distribution
    draws = generator.multinomial(len(truth), confusion / len(truth), size=RESAMPLES * 10).T.astype(np.float64)
    kept, wrong, missed, caught = draws
    with np.errstate(invalid="ignore", divide="ignore"):
        samples = {"f1": np.nan_to_num(2 * caught / (2 * caught + wrong + missed))}
        if both:
            spread = np.sqrt((caught + wrong) * (caught + missed) * (kept + wrong) * (kept + missed))
            samples["matthews"] = np.nan_to_num((caught * kept - wrong * missed) / spread)
    curve = Curve(truth, scores)
    drawn: list[dict[str, float]] = []
    while len(drawn) < RESAMPLES // 4:
        times = np.bincount(generator.integers(0, len(truth), len(truth)), minlength=len(truth)).astype(np.float64)
        if not both or 0 < times[truth == 1].sum() < len(truth):
            drawn.append(curve.figures(times) if both else {})
            drawn[-1]["expected_calibration_error"] = _calibration_error(truth, scores, times)
    samples |= {name: np.array([figures[name] for figures in drawn]) for name in drawn[0]}
    # drawing messages again adds noise, and noise is an error of calibration: the samples are brought back by that much
    errors = samples["expected_calibration_error"]
    excess = errors.mean() - calibration_error(truth, scores)
    samples["expected_calibration_error"] = np.maximum(errors - excess, 0)
    return {name: [float(edge) for edge in np.percentile(values, [2.5, 97.5])] for name, values in samples.items()}


def recall_at(target: float) -> str:
    """Name of the recall where a share ``target`` of the ham is lost."""
    return f"recall_at_fpr_{target:g}"


class Curve:
    """The figures that depend on the order of the scores, of the same messages drawn more or less often.

    Args:
        truth: int64 (messages,), 1 for spam; both classes must be there.
        scores: float64 (messages,).
    """

    def __init__(self, truth: NDArray[np.int64], scores: Scores) -> None:
        self.order = np.argsort(-scores, kind="stable")
        self.spam = truth[self.order] == 1
        falling = scores[self.order]
        self.ends = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)  # the last of each distinct score

    def _counts(self, times: Scores) -> tuple[Scores, Scores]:
        """Spam and ham called spam at each distinct threshold, from the highest on."""
        drawn = times[self.order]
        caught: Scores = np.cumsum(drawn * self.spam)[self.ends]
        wrong: Scores = np.cumsum(drawn * ~self.spam)[self.ends]
        return caught, wrong

    def figures(self, times: Scores) -> dict[str, float]:
        """ROC AUC, average precision and recalls, of each message as often as ``times`` (messages,) says."""
        caught, wrong = self._counts(times)
        spam, ham = caught[-1], wrong[-1]
        before = np.concatenate([[0.0], caught[:-1]])
        area = (np.diff(wrong, prepend=0.0) * (before + caught)).sum() / (2 * spam * ham)
        with np.errstate(invalid="ignore"):
            precision = np.nan_to_num(caught / (caught + wrong))
        average = ((caught - before) * precision).sum() / spam
        return {"roc_auc": float(area), "average_precision": float(average)} | self.recalls(times)

    def recalls(self, times: Scores) -> dict[str, float]:
        """Recall where no more than each share of `TARGETS` of the ham is lost."""
        caught, wrong = self._counts(times)
        found = {}
        for target in TARGETS:
            at = int(np.searchsorted(wrong, int(target * wrong[-1]), side="right"))
            found[recall_at(target)] = float(caught[at - 1] / caught[-1]) if at else 0.0
        return found


def calibration_error(labels: ArrayLike, scores: Scores) -> float:
    """Expected calibration error of the called class's probability, in 15 equal bins (Guo et al. 2017)."""
    return _calibration_error(np.asarray(labels), scores, np.ones(len(scores)))


def _calibration_error(truth: NDArray[np.int64], scores: Scores, times: Scores) -> float:
    """The same of each message as often as ``times`` (messages,) says."""
    confidence = np.maximum(scores, 1 - scores)
    right = (scores >= 0.5) == truth
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return float(np.abs(np.bincount(place, times * (right - confidence), BINS)).sum() / times.sum())


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """The number that logits (messages, labels) must be divided by to be best calibrated (Guo et al. 2017).

    The targets are smoothed by how many messages of a class there are (Platt 1999, "Probabilistic Outputs for Support
    Vector Machines"): a hundred messages that are all classified well do not vouch for boundless confidence.
    """
    array, truth = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    counts = np.bincount(truth, minlength=array.shape[1])
    right = ((counts + 1) / (counts + 2))[truth]
    targets = np.repeat(((1 - right) / (array.shape[1] - 1))[:, None], array.shape[1], axis=1)
    targets[np.arange(len(truth)), truth] = right

    def loss(log_temperature: float) -> float:
        return float(-(targets * log_softmax(array / np.exp(log_temperature), axis=1)).sum(axis=1).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.1), np.log(100)), method="bounded").x))


def threshold_for(ham_scores: Scores, target: float) -> float:
    """The lowest threshold that at most a share ``target`` of these ham messages reaches.

    It lies half way between two messages' scores, so that rounding does not move one across.
    """
    falling = np.sort(ham_scores)[::-1]
    allowed = int(target * len(falling))
    above = falling[allowed - 1] if allowed else 1.0
    return float((above + falling[allowed]) / 2)


@dataclass(frozen=True)
class Scored:
    """Messages of one set with a model's spam scores."""

    texts: Sequence[str]
    labels: NDArray[np.int64]
    scores: Scores

    def ham(self) -> Scores:
        """Scores of the ham."""
        return self.scores[self.labels == 0]

    def where(self, keep: NDArray[np.bool_]) -> Scored:
        """The messages to keep."""
        return Scored(
            [text for text, kept in zip(self.texts, keep, strict=True) if kept], self.labels[keep], self.scores[keep]
        )


def threshold_table(choose: Scores, report: Scored) -> list[dict[str, Any]]:
    """For each of `TARGETS`: a threshold chosen on ham scores, and what it does to messages that had no part in it."""
    table = []
    spam = report.scores[report.labels == 1]
    for target in TARGETS:
        threshold = threshold_for(choose, target)
        wrong, caught = int((report.ham() >= threshold).sum()), int((spam >= threshold).sum())
        table.append(
            {
                "target_false_positive_rate": target,
                "threshold": threshold,
                "ham_chosen_on": len(choose),
                "ham": len(report.ham()),
                "false_positive_rate": wrong / len(report.ham()),
                "false_positive_rate_interval": proportion_interval(wrong, len(report.ham())),
                "spam": len(spam),
                "recall": caught / len(spam),
                "recall_interval": proportion_interval(caught, len(spam)),
            }
        )
    return table


def headline(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a test set that travel with a model."""
    return {name: metrics[name] for name in ("count", "accuracy", "precision", "recall", "f1", "roc_auc")}
