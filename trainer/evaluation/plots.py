"""Plots of how a training went, and of what a classifier is worth on a set of messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn import metrics as sk

from runtime.spec import ClassifierSpec
from trainer.evaluation.metrics import Scored

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREY = "#1f5fa8", "#d9622b", "#8a8f98"


def _figure(path: Path, panels: int, draw: Any) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(5.2 * panels, 4.2), layout="constrained")
    FigureCanvasAgg(drawing)
    axes = [drawing.add_subplot(1, panels, place + 1) for place in range(panels)]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(alpha=0.25)
    draw(*axes)
    drawing.savefig(path, dpi=110, metadata={"Software": None})


def _smooth(values: Sequence[float], window: int) -> Any:
    kernel = np.ones(window)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")


def plot_training(
    path: Path, steps: Sequence[Mapping[str, float]], epochs: Sequence[Mapping[str, float]], best_epoch: int
) -> None:
    """Loss and accuracy over the examples seen, training messages as they came and validation after every epoch."""
    seen = [step["examples"] for step in steps]
    window = max(1, len(seen) // 40)

    def draw(loss: Axes, accuracy: Axes) -> None:
        for axes, name in ((loss, "loss"), (accuracy, "accuracy")):
            values = [step[name] for step in steps]
            axes.plot(seen, values, color=BLUE, alpha=0.18, linewidth=0.8)
            axes.plot(seen, _smooth(values, window), color=BLUE, label="training")
            after = [epoch["examples"] for epoch in epochs]
            axes.plot(after, [epoch[name] for epoch in epochs], "o-", color=ORANGE, label="validation")
            axes.set(xlabel="examples seen", ylabel=name, title=name.capitalize())
            axes.legend(frameon=False)
        loss.set_ylim(bottom=0)
        best = epochs[best_epoch]
        loss.annotate(
            "best epoch", (best["examples"], best["loss"]), (0, 40), textcoords="offset points", color=GREY,
            ha="center", arrowprops={"arrowstyle": "-", "color": GREY},
        )  # fmt: skip
        accuracy.set_ylim(min(0.5, *(epoch["accuracy"] for epoch in epochs)) - 0.02, 1.01)

    _figure(path, 2, draw)


def plot_confusion(path: Path, metrics: Mapping[str, Any], labels: Sequence[str], title: str) -> None:
    """Confusion matrix with counts and shares of each true class."""
    counts = np.array(metrics["confusion_matrix"])
    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))

    def draw(axes: Axes) -> None:
        axes.grid(False)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row in (0, 1):
            for column in (0, 1):
                text = f"{counts[row, column]:,}\n{shares[row, column]:.1%}"
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=13)
        axes.set(
            xticks=[0, 1], yticks=[0, 1], xticklabels=labels, yticklabels=labels, xlabel="called", ylabel="is",
            title=title,
        )  # fmt: skip

    _figure(path, 1, draw)


def plot_curves(path: Path, scored: Scored, threshold: float) -> None:
    """ROC and precision-recall curves, with the threshold in use marked."""
    wrong, caught, _ = sk.roc_curve(scored.labels, scored.scores)
    precision, recall, _ = sk.precision_recall_curve(scored.labels, scored.scores)
    called = scored.scores >= threshold

    def draw(roc: Axes, curve: Axes) -> None:
        roc.plot(wrong, caught, color=BLUE, drawstyle="steps-post")
        roc.plot([0, 1], [0, 1], color=GREY, linestyle=":")
        auc = sk.roc_auc_score(scored.labels, scored.scores)
        roc.plot(
            called[scored.labels == 0].mean(), called[scored.labels == 1].mean(), "o", color=ORANGE,
            label=f"threshold {threshold:.3g}",
        )  # fmt: skip
        roc.set(
            xlabel="false-positive rate",
            ylabel="recall",
            title=f"ROC, area {auc:.4f}",
            xlim=(-0.02, 1.02),
            ylim=(-0.02, 1.02),
        )
        average = sk.average_precision_score(scored.labels, scored.scores)
        curve.plot(recall, precision, color=BLUE, drawstyle="steps-post")
        if called.any():
            at = scored.labels[called].mean()
            curve.plot(called[scored.labels == 1].mean(), at, "o", color=ORANGE, label=f"threshold {threshold:.3g}")
            curve.legend(frameon=False, loc="lower left")
        curve.set(
            xlabel="recall",
            ylabel="precision",
            title=f"Precision-recall, average {average:.4f}",
            xlim=(-0.02, 1.02),
            ylim=(-0.02, 1.02),
        )
        roc.legend(frameon=False, loc="lower right")

    _figure(path, 2, draw)


def plot_calibration(path: Path, before: Scored, after: Scored, errors: tuple[float, float]) -> None:
    """How often messages of a score are spam, before and after the temperature, in ten groups of equal size."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="perfect")
        for scored, colour, name, error in ((before, GREY, "before", errors[0]), (after, BLUE, "after", errors[1])):
            groups = np.array_split(np.argsort(scored.scores, kind="stable"), min(10, len(scored.scores)))
            x = [scored.scores[group].mean() for group in groups]
            y = [scored.labels[group].mean() for group in groups]
            axes.plot(x, y, "o-", color=colour, label=f"{name} the temperature, error {error:.3f}")
        axes.set(xlabel="mean spam score of a tenth of the messages", ylabel="share that is spam", title="Calibration")
        axes.legend(frameon=False)

    _figure(path, 1, draw)


def plot_scores(path: Path, scored: Scored, labels: Sequence[str], threshold: float) -> None:
    """Histogram of the spam scores of each class, counts on a log scale."""

    def draw(axes: Axes) -> None:
        bins = np.linspace(0, 1, 41).tolist()
        for which, colour in ((0, BLUE), (1, ORANGE)):
            axes.hist(scored.scores[scored.labels == which], bins=bins, color=colour, alpha=0.6, label=labels[which])
        axes.axvline(threshold, color="black", linestyle=":", label=f"threshold {threshold:.3g}")
        axes.set(xlabel="spam score", ylabel="messages", title="Scores", yscale="log")
        axes.legend(frameon=False)

    _figure(path, 1, draw)


def write_plots(
    folder: Path,
    scored: Scored,
    uncalibrated: Scored,
    metrics: Mapping[str, Any],
    spec: ClassifierSpec,
    errors: tuple[float, float],
    title: str,
) -> None:
    """All plots of a set of messages; those of curves only where it has both classes."""
    folder.mkdir(exist_ok=True)
    plot_confusion(folder / "confusion_matrix.png", metrics, spec.labels, f"{title}, {len(scored.texts):,} messages")
    plot_scores(folder / "score_histogram.png", scored, spec.labels, spec.threshold)
    plot_calibration(folder / "calibration.png", uncalibrated, scored, errors)
    if len(set(scored.labels.tolist())) == 2:
        plot_curves(folder / "roc_precision_recall.png", scored, spec.threshold)
