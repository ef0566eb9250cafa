"""What a run leaves for people: plots, the misjudged messages, and the model card."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn import metrics as sk

from runtime.spec import ClassifierSpec
from trainer.data import escape
from trainer.evaluate import Judged
from trainer.recipe import Recipe, flag, make_recipe
from trainer.state import History

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


def plot_training(path: Path, history: History) -> None:
    """Loss and accuracy over the examples seen, training messages as they came and validation after every epoch."""
    seen = [step["examples"] for step in history.steps]
    window = max(1, len(seen) // 40)

    def draw(loss: Axes, accuracy: Axes) -> None:
        for axes, name in ((loss, "loss"), (accuracy, "accuracy")):
            values = [step[name] for step in history.steps]
            axes.plot(seen, values, color=BLUE, alpha=0.18, linewidth=0.8)
            axes.plot(seen, _smooth(values, window), color=BLUE, label="training")
            after = [epoch["examples"] for epoch in history.epochs]
            axes.plot(after, [epoch[name] for epoch in history.epochs], "o-", color=ORANGE, label="validation")
            axes.set(xlabel="examples seen", ylabel=name, title=name.capitalize())
            axes.legend(frameon=False)
        loss.set_ylim(bottom=0)
        best = history.epochs[history.best_epoch]
        loss.annotate(
            "best epoch", (best["examples"], best["loss"]), (0, 40), textcoords="offset points", color=GREY,
            ha="center", arrowprops={"arrowstyle": "-", "color": GREY},
        )  # fmt: skip
        accuracy.set_ylim(min(0.5, *(epoch["accuracy"] for epoch in history.epochs)) - 0.02, 1.01)

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


def plot_curves(path: Path, judged: Judged, threshold: float) -> None:
    """ROC and precision-recall curves, with the threshold in use marked."""
    wrong, caught, _ = sk.roc_curve(judged.labels, judged.scores)
    precision, recall, _ = sk.precision_recall_curve(judged.labels, judged.scores)
    called = judged.scores >= threshold

    def draw(roc: Axes, curve: Axes) -> None:
        roc.plot(wrong, caught, color=BLUE, drawstyle="steps-post")
        roc.plot([0, 1], [0, 1], color=GREY, linestyle=":")
        auc = sk.roc_auc_score(judged.labels, judged.scores)
        roc.plot(
            called[judged.labels == 0].mean(), called[judged.labels == 1].mean(), "o", color=ORANGE,
            label=f"threshold {threshold:.3g}",
        )  # fmt: skip
        roc.set(
            xlabel="false-positive rate",
            ylabel="recall",
            title=f"ROC, area {auc:.4f}",
            xlim=(-0.02, 1.02),
            ylim=(-0.02, 1.02),
        )
        average = sk.average_precision_score(judged.labels, judged.scores)
        curve.plot(recall, precision, color=BLUE, drawstyle="steps-post")
        if called.any():
            at = judged.labels[called].mean()
            curve.plot(called[judged.labels == 1].mean(), at, "o", color=ORANGE, label=f"threshold {threshold:.3g}")
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


def plot_calibration(path: Path, before: Judged, after: Judged, errors: tuple[float, float]) -> None:
    """How often messages of a score are spam, before and after the temperature, in ten groups of equal size."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="perfect")
        for judged, colour, name, error in ((before, GREY, "before", errors[0]), (after, BLUE, "after", errors[1])):
            groups = np.array_split(np.argsort(judged.scores, kind="stable"), min(10, len(judged.scores)))
            x = [judged.scores[group].mean() for group in groups]
            y = [judged.labels[group].mean() for group in groups]
            axes.plot(x, y, "o-", color=colour, label=f"{name} the temperature, error {error:.3f}")
        axes.set(xlabel="mean spam score of a tenth of the messages", ylabel="share that is spam", title="Calibration")
        axes.legend(frameon=False)

    _figure(path, 1, draw)


def plot_scores(path: Path, judged: Judged, labels: Sequence[str], threshold: float) -> None:
    """Histogram of the spam scores of each class, counts on a log scale."""

    def draw(axes: Axes) -> None:
        bins = np.linspace(0, 1, 41).tolist()
        for which, colour in ((0, BLUE), (1, ORANGE)):
            axes.hist(judged.scores[judged.labels == which], bins=bins, color=colour, alpha=0.6, label=labels[which])
        axes.axvline(threshold, color="black", linestyle=":", label=f"threshold {threshold:.3g}")
        axes.set(xlabel="spam score", ylabel="messages", title="Scores", yscale="log")
        axes.legend(frameon=False)

    _figure(path, 1, draw)


def write_plots(
    folder: Path,
    judged: Judged,
    uncalibrated: Judged,
    metrics: Mapping[str, Any],
    spec: ClassifierSpec,
    errors: tuple[float, float],
    title: str,
) -> None:
    """All plots of a set of messages; those of curves only where it has both classes."""
    folder.mkdir(exist_ok=True)
    plot_confusion(folder / "confusion_matrix.png", metrics, spec.labels, f"{title}, {len(judged.texts):,} messages")
    plot_scores(folder / "score_histogram.png", judged, spec.labels, spec.threshold)
    plot_calibration(folder / "calibration.png", uncalibrated, judged, errors)
    if len(set(judged.labels.tolist())) == 2:
        plot_curves(folder / "roc_precision_recall.png", judged, spec.threshold)


def write_errors(path: Path, sets: Mapping[str, Judged], spec: ClassifierSpec) -> int:
    """Every misjudged message, the most certain mistakes first, as TSV with a header; gives how many there are."""
    rows = []
    for name, judged in sets.items():
        for text, label, score in zip(judged.texts, judged.labels.tolist(), judged.scores.tolist(), strict=True):
            if (score >= spec.threshold) != label:
                rows.append((name, spec.labels[label], spec.labels[1 - label], score, escape(text)))
    rows.sort(key=lambda row: (row[0], -abs(row[3] - spec.threshold)))
    lines = ["set\tlabel\tcalled\tscore\ttext\n"]
    lines += [f"{name}\t{label}\t{called}\t{score:.6f}\t{text}\n" for name, label, called, score, text in rows]
    path.write_bytes("".join(lines).encode("utf-8", "surrogatepass"))
    return len(rows)


def write_json(path: Path, value: Any) -> None:
    """JSON that people can read."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def figure(metrics: Mapping[str, Any], name: str) -> str:
    """A figure with its 95% interval; shares of messages in percent."""
    form = ".4f" if name in ("roc_auc", "average_precision", "matthews") else ".2%"
    value = metrics.get(name)
    if value is None:
        return "–"
    low, high = metrics.get("intervals", {}).get(name, (None, None))
    return f"{value:{form}}" + (f" ({low:{form}} to {high:{form}})" if low is not None else "")


FIGURES = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "matthews": "Matthews correlation",
    "false_positive_rate": "false-positive rate",
}


def metrics_table(sets: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Rows of text, the first a header: each figure with its interval, a column a set."""
    rows = [["", *(f"{name} ({metrics['count']:,})" for name, metrics in sets.items())]]
    rows += [[title, *(figure(metrics, name) for metrics in sets.values())] for name, title in FIGURES.items()]
    return rows


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, the first row its header."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


SMS_TITLE = (
    "SMS Spam Collection (T. A. Almeida, J. M. Gómez Hidalgo, A. Yamakami, 2011,\ndoi:10.24432/C5CC84, CC BY 4.0)"
)


def _as_flag(name: str, value: object) -> str:
    """A field of a recipe as it is given to the command."""
    if isinstance(value, bool):
        return flag(name) if value else flag(f"no_{name}")
    return f"{flag(name)} {shlex.quote(str(value))}"


def model_card(recipe: Recipe, spec: ClassifierSpec, metrics: Mapping[str, Any], sizes: Mapping[str, int]) -> str:
    """The checkpoint's README.md: data, recipe, figures with intervals, use, limits, how to make it again."""
    defaults = make_recipe(model=recipe.model)
    given = {name: value for name, value in asdict(recipe).items() if value != getattr(defaults, name)}
    shown = {"model": recipe.model, **given}
    command = " ".join(["spam-train", *(_as_flag(name, value) for name, value in shown.items())])
    sets = {
        "test": metrics["test"],
        "test without exact repeats": metrics["test_without_exact_repeats"],
        "test without near repeats": metrics["test_without_near_repeats"],
    }
    data = SMS_TITLE if recipe.data == "sms" else recipe.data
    also = f"\nThe training messages include those of {recipe.also}." if recipe.also else ""
    unused = metrics["unused_ham"]
    false_positives = (
        f"Of {unused['count']:,} {spec.labels[0]} messages that balancing left out, "
        f"{figure(unused, 'false_positive_rate')} are called spam at the threshold in use.\n\n"
        if unused["count"]
        else ""
    )
    thresholds = [["wanted", "threshold", "false-positive rate", "recall"]]
    thresholds += [
        [
            f"{row['target_false_positive_rate']:.1%}",
            f"{row['threshold']:.4g}",
            f"{row['false_positive_rate']:.2%} ({row['false_positive_rate_interval'][0]:.2%} to "
            f"{row['false_positive_rate_interval'][1]:.2%})",
            f"{row['recall']:.2%} ({row['recall_interval'][0]:.2%} to {row['recall_interval'][1]:.2%})",
        ]
        for row in metrics["thresholds"]
    ]
    chosen, reported = metrics["thresholds"][0]["ham_chosen_on"], metrics["thresholds"][0]["ham"]
    padding = f"{spec.padding}" + (f", {spec.pad_length} tokens" if spec.pad_length else "")
    return f"""---
library_name: transformers
pipeline_tag: text-classification
base_model: {recipe.model}
---
# Spam classifier, {recipe.model}

GPT-2 ({recipe.model}, starting weights: {recipe.weights}) with a head of {len(spec.labels)} labels
({", ".join(spec.labels)}), read at the {spec.readout} token; padding: {padding}; fold: {spec.fold}.
transformers loads the checkpoint's folder as a `GPT2ForSequenceClassification`; `spam-export` makes an ONNX file of it.

## Data

{data}: {sizes["train"]:,} training, {sizes["validation"]:,} validation and {sizes["test"]:,} test messages
(balance: {recipe.balance}, seed {recipe.seed}; SHA-256 over all messages read: `{spec.data_fingerprint}`).{also}
{sizes["exact"]} test messages repeat a training message letter by letter, {sizes["near"]} but for case, digits and
spacing.

## Figures

Each with its 95% interval. Threshold {spec.threshold:.4g}, temperature {spec.temperature:.4g}.

{markdown(metrics_table(sets))}

{false_positives}Expected calibration error on the test set: {metrics["calibration"]["before"]:.4f} before the
temperature, {metrics["calibration"]["after"]:.4f} after it.

Thresholds for wanted false-positive rates, chosen on {chosen:,} {spec.labels[0]} messages and
measured on {reported:,} others:

{markdown(thresholds)}

In the checkpoint's folder `errors.tsv` lists every misjudged validation and test message, and `plots/` shows the
training and the test set.

## Use

For short messages like those it was trained on: in their language, of their kind, of their time. It says how much a
message resembles the spam it has seen; it does not know who sent it. Let a person or a second signal decide where a
lost message is costly, measure it on your own messages with `spam-eval`, and train it anew as spam changes.

## Make it again

```
{command}
```
`recipe.toml` holds the whole recipe: `spam-train --config recipe.toml`.
"""
