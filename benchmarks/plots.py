"""Plots of ``results/*.json``, one a result, each drawn by a function of its own. Called by ``report.py``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator
from report import Json, mean

FOLDER = Path(__file__).parent / "plots"

COLOURS = {
    "ours int8": "#0b5fa5",
    "ours fp32": "#4fa3e0",
    "ours fp32, as --target onnxruntime": "#4fa3e0",
    "ours int8, as --target onnxruntime": "#0b5fa5",
    "ours": "#0b5fa5",
    "nano": "#4fa3e0",
    "shipped": "#0b5fa5",
    "Optimum int8": "#c2410c",
    "Optimum fp32": "#f0a070",
    "onnxruntime dynamic int8 of ours": "#8a6d1a",
    "OpenVINO on Optimum's": "#7a3fa0",
    "OpenVINO on ours": "#b48cd0",
    "PyTorch eager": "#666666",
    "PyTorch, padded batches": "#666666",
    "PyTorch eager, padded to 120": "#999999",
    "TF-IDF and linear SVM": "#c2410c",
    "TF-IDF and linear SVM, at once": "#c2410c",
    "TF-IDF and linear SVM, 1,024 at a time": "#f0a070",
    "TF-IDF and logistic regression": "#7a3fa0",
    "naive Bayes": "#8a6d1a",
    "fastText": "#3f8f5f",
}
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e5e5",
    "axes.axisbelow": True,
    "figure.constrained_layout.use": True,
}


def draw(results: Mapping[str, Json]) -> None:
    """Draw all that there are results for; those of an earlier form are left out with a warning."""
    FOLDER.mkdir(exist_ok=True)
    for name, make in PLOTS.items():
        if name in results:
            with plt.rc_context(STYLE):
                try:
                    figure = make(results[name])
                except (KeyError, TypeError) as error:
                    warnings.warn(f"{name}.json is of an earlier form: {error!r}", stacklevel=1)
                    continue
                # without the version of matplotlib in it, so that the same figures give the same file
                figure.savefig(FOLDER / f"{name}.png", dpi=140, metadata={"Software": None})
                plt.close(figure)


def colour(name: str) -> str:
    """A contestant's colour, the same in every plot."""
    return COLOURS.get(name, "#333333")


def plain(axis: Any, ticks: Sequence[float], form: str = "{:,.10g}") -> None:
    """Whole numbers at chosen places of a logarithmic axis."""
    axis.set_ticks(ticks)
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: form.format(value)))
    axis.set_minor_formatter(NullFormatter())


def label_ends(axes: Axes, ends: Mapping[str, tuple[float, float]], room: float) -> None:
    """Names at the right ends of lines, in their colours, moved apart where they would lie on each other.

    ``room`` is the least distance of two names as a share of the height of the axes.
    """
    places = {name: axes.transAxes.inverted().transform(axes.transData.transform(end))[1] for name, end in ends.items()}
    order = sorted(places, key=places.__getitem__)
    heights: list[float] = []
    for name in order:
        heights.append(max(places[name], heights[-1] + room) if heights else places[name])
    shift = np.mean([height - places[name] for name, height in zip(order, heights, strict=True)])
    for name, height in zip(order, heights, strict=True):
        axes.annotate(
            name, (1.02, height - shift), xycoords="axes fraction", color=colour(name), va="center", fontsize=9
        )


def latency(result: Json) -> Figure:
    """Milliseconds over length."""
    lengths = [work for work in result["milliseconds"] if work.endswith(" tokens")]
    figure, axes = plt.subplots(figsize=(8, 4.6))
    axes.set(xscale="log", yscale="log")
    ends = {}
    for name in result["milliseconds"][lengths[0]]:
        x = [int(length.split()[0]) for length in lengths]
        y = [result["milliseconds"][length][name]["median"] for length in lengths]
        axes.plot(x, y, "o-", color=colour(name), markersize=4, linewidth=2.4 if name.startswith("ours") else 1.4)
        ends[name] = (x[-1], y[-1])
    plain(axes.xaxis, x)
    plain(axes.yaxis, [5, 10, 20, 50, 100, 200, 500, 1000, 2000])
    axes.set(xlabel="tokens in the message", ylabel=f"milliseconds, {result['threads']} threads")
    figure.canvas.draw()
    label_ends(axes, ends, 0.044)
    return figure


def scaling(result: Json) -> Figure:
    """Speed and memory over the number of messages, and speed over their length."""
    figure, (speed, memory, length) = plt.subplots(1, 3, figsize=(13, 4))
    for axes, by, key, xlabel, ylabel in (
        (speed, "messages", "messages_per_second", "messages", "messages a second"),
        (memory, "messages", "peak_mb", "messages", "peak memory, MB"),
        (length, "characters", "messages_per_second", "characters in a message", "messages a second"),
    ):
        axes.set(xscale="log", xlabel=xlabel, ylabel=ylabel)
        sizes = list(map(int, result[by]))
        for name in (name for name in next(iter(result[by].values())) if name != "speed_of_ours"):
            figures = [result[by][str(size)][name][key] for size in sizes]
            middle = np.array([one["median"] for one in figures])
            error = [middle - [one["least"] for one in figures], [one["most"] for one in figures] - middle]
            axes.errorbar(sizes, middle, error, fmt="o-", color=colour(name), label=name, capsize=3, markersize=4)
        plain(axes.xaxis, sizes)
    speed.set_ylim(0, None)
    speed.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    memory.set_yscale("log")
    length.set_yscale("log")
    plain(memory.yaxis, [100, 200, 500, 1000, 2000, 5000, 10_000])
    plain(length.yaxis, [10, 100, 1000, 10_000])
    memory.legend(frameon=False, fontsize=9, loc="upper left")
    memory.set_ylim(80, 4 * memory.get_ylim()[1])
    return figure


def train_speed(result: Json) -> Figure:
    """Smoothed losses laid over each other."""
    figure, axes = plt.subplots(figsize=(8, 4.2))
    styles = {
        "book": ("the textbook's loop", "#c2410c", 4, "-"),
        "longest": ("ours, padded as the textbook", "#111111", 1.2, "--"),
        "fp32": ("ours, fp32", "#4fa3e0", 2, "-"),
        "bf16": ("ours, bf16", "#0b5fa5", 1.2, "-"),
    }
    for name, (label, line_colour, width, dashes) in styles.items():
        if name in result["runs"]:
            losses = np.convolve(result["runs"][name]["losses"], np.ones(20) / 20, "valid")
            seconds = result["runs"][name]["seconds"]
            steps = np.arange(len(losses)) + 20
            axes.plot(steps, losses, dashes, color=line_colour, linewidth=width, label=f"{label}: {seconds:.0f} s")
    axes.set(xlabel="step", ylabel="loss, mean of 20 steps", ylim=(0, None))
    axes.legend(frameon=False, title="seconds for all epochs", alignment="left")
    return figure


def quality(result: Json) -> Figure:
    """F1 of every contestant on every set."""
    found = by_contestant(result, "f1")
    sets = list(dict.fromkeys(name for of in found.values() for name in of))
    figure, axes = plt.subplots(figsize=(8, 0.42 * len(sets) + 1.4))
    for place, (contestant, of) in enumerate(found.items()):
        y = [len(sets) - sets.index(name) + (len(found) / 2 - 0.5 - place) * 0.12 for name in of]
        middle, half = np.array([mean(values) for values in of.values()]).T
        axes.errorbar(
            middle, y, xerr=half, fmt="o", color=colour(contestant), capsize=2, markersize=5, label=contestant
        )
    axes.set_yticks(range(len(sets), 0, -1), sets)
    axes.set(xlabel="F1, %")
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure


def curve(result: Json) -> Figure:
    """Area under the ROC curve over the number of training messages."""
    found = by_contestant(result, "roc_auc")
    figure, axes = plt.subplots(figsize=(8, 4.6))
    sizes = list(dict.fromkeys(name for of in found.values() for name in of))
    for contestant, of in found.items():
        middle, half = np.array([mean(values) for values in of.values()]).T
        x = [sizes.index(name) for name in of]
        axes.fill_between(x, middle - half, middle + half, color=colour(contestant), alpha=0.12, linewidth=0)
        axes.plot(x, middle, "o-", color=colour(contestant), markersize=4, label=contestant)
    axes.set_xticks(range(len(sizes)), [f"{int(name):,}" if name.isdigit() else name for name in sizes])
    axes.set(xlabel="training messages", ylabel="ROC AUC on held-out messages, %")
    axes.legend(frameon=False, loc="lower right")
    return figure


def by_contestant(result: Json, figure: str) -> dict[str, dict[str, list[float]]]:
    """Percent of each split, by contestant and set."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in result["rows"]:
        if row["figure"] == figure:
            found.setdefault(row["contestant"], {}).setdefault(row["set"], []).append(100 * row["value"])
    return found


def invariance(result: Json) -> Figure:
    """Every message a dot, by how much its logits change; what never changes stands apart at 0."""
    models = dict(sorted(result["models"].items(), key=lambda one: (-one[1]["largest_change"], "ours" in one[0])))
    figure, (none, axes, last) = plt.subplots(
        1, 3, figsize=(10, 0.55 * len(models) + 1), width_ratios=[1, 9, 1.5], sharey=True
    )
    draw = np.random.default_rng(0)
    for place, (name, of) in enumerate(models.items()):
        changes = np.array(of["changes"])
        some, share = changes[changes > 0], of["unchanged"]
        if share:
            none.plot(0, place, "o", color=colour(name), markersize=3 + 9 * share)
            none.annotate(
                f"{100 * share:.0f}%", (0, place), (9, 0), textcoords="offset points",
                color=colour(name), va="center", fontsize=9,
            )  # fmt: skip
        jitter = place + draw.uniform(-0.28, 0.28, len(some))
        axes.plot(some, jitter, ".", color=colour(name), markersize=3, alpha=0.35, markeredgewidth=0)
        largest, text = of["largest_change"], "0"
        if largest:
            axes.plot(largest, place, "|", color=colour(name), markersize=16, markeredgewidth=2)
            text = f"{largest:.2g}" if largest >= 0.001 else f"{largest:.0e}"
        last.annotate(text, (0.1, place), color=colour(name), va="center", fontsize=10)
    axes.set_xscale("log")
    axes.set_xlim(3e-8, 3)
    none.set(xlim=(-0.3, 1), ylim=(-0.6, len(models) - 0.4), title="no change", xlabel="0")
    none.set_yticks(range(len(models)), list(models))
    axes.set(xlabel=f"largest change of a message's logits (they spread by {spread_of(result):.2g})")
    axes.set_title("some: a dot a message")
    last.set(xlim=(0, 1), title="largest")
    for side in (none, last):
        side.set_xticks([])
        side.grid(visible=False)
        side.tick_params(left=False)
    for side in (axes, last):
        side.spines["left"].set_visible(False)
    axes.grid(axis="y", visible=False)
    axes.tick_params(left=False)
    return figure


def spread_of(result: Json) -> float:
    """Standard deviation of the logits over the messages."""
    return max(of["spread_of_logits"] for of in result["models"].values())


PLOTS: dict[str, Callable[[Json], Figure]] = {
    "latency_2": latency,
    "scaling": scaling,
    "train_speed": train_speed,
    "quality_itself": quality,
    "quality_size": curve,
    "invariance_nano": invariance,
}
