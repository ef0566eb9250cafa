"""The figures of sets of messages as tables, and the files that they and the mistakes go into."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.spec import ClassifierSpec
from trainer.evaluation.labelled import escape
from trainer.evaluation.metrics import TARGETS, Scored, recall_at


def write_errors(path: Path, sets: Mapping[str, Scored], spec: ClassifierSpec) -> int:
    """Every misclassified message, the most certain mistakes first, as TSV with a header; gives how many there are."""
    rows = []
    for name, scored in sets.items():
        for text, label, score in zip(scored.texts, scored.labels.tolist(), scored.scores.tolist(), strict=True):
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
    form = _form(name)
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
    **{recall_at(target): f"recall at {target:.1%} of ham lost" for target in TARGETS},
    "expected_calibration_error": "calibration error",
}
COMPARED = {
    "roc_auc": "ROC AUC",
    "f1": "F1",
    "false_positive_rate": "ham lost",
    **{recall_at(target): f"recall at {target:.1%}" for target in TARGETS},
    "expected_calibration_error": "calibration error",
}
"""Figures in which sets or groups of messages are compared."""


def _form(name: str) -> str:
    plain = ("roc_auc", "average_precision", "matthews", "expected_calibration_error")
    return ".4f" if name in plain else ".2%"


def metrics_table(sets: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Rows of text, the first a header: each figure with its interval, a column a set."""
    rows = [["", *(f"{name} ({metrics['count']:,})" for name, metrics in sets.items())]]
    rows += [[title, *(figure(metrics, name) for metrics in sets.values())] for name, title in FIGURES.items()]
    return rows


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, the first row its header."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def print_figures(sets: Mapping[str, Mapping[str, Any]]) -> None:
    """The figures of sets of messages that have any, as a table on stdout."""
    header, *rows = metrics_table({title: metrics for title, metrics in sets.items() if metrics["count"]})
    _print_table("Figures with their 95% intervals", header, rows)


def print_comparison(title: str, sets: Mapping[str, Mapping[str, Any]]) -> None:
    """Sets or groups of messages as a table on stdout, a row each: how many, and figures over their intervals."""
    rows = []
    for name, metrics in sets.items():
        cells = []
        for key in COMPARED:
            # without spam there is none to be found
            value = None if key == "f1" and not metrics["spam"] else metrics.get(key)
            low, high = metrics["intervals"].get(key, (None, None))
            shown = "–" if value is None else f"{value:{_form(key)}}"
            between = "" if value is None or low is None else f"\n{low:{_form(key)}}–{high:{_form(key)}}"
            cells.append(shown + between.replace("%–", "–"))
        rows.append([name, f"{metrics['count']:,}", f"{metrics['spam']:,}", *cells])
    _print_table(f"{title}, with 95% intervals", ["", "messages", "spam", *COMPARED.values()], rows)


def _print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.markup import escape as plain
    from rich.table import Table

    table = Table(*map(plain, header), title=plain(title))
    for row in rows:
        table.add_row(*map(plain, row))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
