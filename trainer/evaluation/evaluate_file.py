"""The trainer's report for any exported file on any sets of labelled messages."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime import SpamClassifier
from runtime.files import check_writable, written_beside
from runtime.scores import spam_scores
from trainer.errors import TrainerError
from trainer.evaluation.labelled import labelled_files, read_dataset
from trainer.evaluation.metrics import Scored, calibration_error, measure, threshold_table
from trainer.evaluation.plots import write_plots
from trainer.evaluation.tables import print_comparison, print_figures, write_errors, write_json

log = logging.getLogger(__name__)

BY = ("language", "channel", "theme")
"""Columns by whose values messages are grouped where a file has them."""
FEWEST_IN_GROUP = 30
"""Messages that a group needs for figures of its own."""


def evaluate_file(
    model: Path,
    data: Sequence[Path],
    out: Path | None = None,
    *,
    by: Sequence[str] = (),
    text_column: str = "text",
    label_column: str = "label",
    spam_label: str | None = None,
    threshold: float | None = None,
) -> dict[str, Any]:
    """Do all that ``spam-eval`` does.

    The data's spam label stands for the model's spam label, and its other label for the model's other one. Thresholds
    for wanted false-positive rates are chosen on every other ham message and measured on the rest.

    Args:
        model: ONNX file that spam-export wrote.
        data: labelled files, and folders of them; each file is a set with figures of its own.
        out: folder for the figures, mistakes and plots; None writes nothing.
        by: columns by whose values messages are grouped; empty for those of `BY` that a file has.
        text_column, label_column, spam_label: see `read_messages`; the spam label is the model's own by default.
        threshold: spam score from which on a message is spam; the model's own by default.

    Returns:
        What goes into ``metrics.json``: ``all`` has the figures of all messages together, ``by`` those of its groups
        (column, value), and ``sets`` the same of each file.

    Raises:
        SpamEdgeError: a file cannot be used, or no file has a column of ``by``.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise TrainerError(f"--threshold {threshold} is out of range: it is a spam score, from 0 to 1")
    if out:
        check_writable(out, directory=True)
    paths = list(dict.fromkeys(path for source in data for path in labelled_files(source)))
    with SpamClassifier(model) as classifier:
        spec = classifier.spec
        if len(spec.labels) != 2:
            raise TrainerError(f"{model} tells {len(spec.labels)} labels apart: only two can be evaluated")
        dataset = read_dataset(
            *paths,
            text_column=text_column,
            label_column=label_column,
            spam_label=spam_label or spec.spam_label,
            columns=by or BY,
        )
        for column in by:
            if not any(dataset.columns[column]):
                raise TrainerError(f"--by {column}: no file has anything in a column of this name")
        messages = dataset.messages
        logits = classifier.logits(list(messages.texts))
    index = spec.spam_index
    # labels in a report stand in the order: not spam, spam
    spec = replace(spec, labels=(spec.labels[1 - index], spec.spam_label))
    if threshold is not None:
        spec = replace(spec, threshold=threshold)
    truth = np.array(messages.labels, dtype=np.int64)
    scored = Scored(messages.texts, truth, spam_scores(logits, spec.temperature, index))
    uncalibrated = Scored(messages.texts, truth, spam_scores(logits, 1.0, index))
    errors = (calibration_error(truth, uncalibrated.scores), calibration_error(truth, scored.scores))
    half = (truth == 0) & (np.cumsum(truth == 0) % 2 == 0)  # every other ham message
    source = np.repeat(np.arange(len(paths)), dataset.counts)
    sets = {
        name: {
            "figures": measure(truth[source == place], scored.scores[source == place], spec.threshold),
            "by": _groups(scored, dataset.columns, spec.threshold, source == place),
        }
        for place, name in enumerate(_names(paths))
    }
    whole = np.ones(len(truth), dtype=bool)
    alone = next(iter(sets.values())) if len(sets) == 1 else None
    metrics: dict[str, Any] = {
        "model": str(model),
        "data": [str(path) for path in paths],
        "data_fingerprint": messages.fingerprint(),
        "all": alone["figures"] if alone else measure(truth, scored.scores, spec.threshold),
        "by": alone["by"] if alone else _groups(scored, dataset.columns, spec.threshold, whole),
        "sets": sets,
        "threshold": spec.threshold,
        "temperature": spec.temperature,
        "calibration": {"before": errors[0], "after": errors[1]},
        "thresholds": threshold_table(scored.where(half).ham(), scored.where(~half)) if half.any() else [],
    }
    if out:
        title = next(iter(sets)) if len(sets) == 1 else f"{len(sets)} files"
        with written_beside(out, directory=True) as folder:
            write_json(folder / "metrics.json", metrics)
            of_sets = {name: scored.where(source == place) for place, name in enumerate(sets)}
            wrong = write_errors(folder / "errors.tsv", of_sets, spec)
            write_plots(folder / "plots", scored, uncalibrated, metrics["all"], spec, errors, title)
        log.info("%s written; %d misclassified messages are in errors.tsv", out, wrong)
    _print(metrics)
    return metrics


def _names(paths: Sequence[Path]) -> list[str]:
    """A name for each file that no other has: that of the file where it will do."""
    times = Counter(path.name for path in paths)
    return [path.name if times[path.name] == 1 else str(path) for path in paths]


def _groups(
    scored: Scored, columns: Mapping[str, Sequence[str]], threshold: float, keep: NDArray[np.bool_]
) -> dict[str, dict[str, Any]]:
    """Figures of the messages to keep, by column and value, of values with enough of them, large groups first."""
    found: dict[str, dict[str, Any]] = {}
    for column, every in columns.items():
        values = np.array(every, dtype=object)
        counts = Counter(values[keep].tolist())
        for value, count in counts.most_common():
            if value and count >= FEWEST_IN_GROUP:
                chosen = keep & (values == value)
                found.setdefault(column, {})[value] = measure(scored.labels[chosen], scored.scores[chosen], threshold)
    return found


def _print(metrics: Mapping[str, Any]) -> None:
    """A table for each file and its groups, and where there are several files one for all of them."""
    sets = metrics["sets"]
    for name, of_set in sets.items():
        print_figures({name: of_set["figures"]})
        for column, groups in of_set["by"].items():
            print_comparison(f"{name} by {column}", groups)
    if len(sets) > 1:
        print_comparison(
            "All files", {name: of_set["figures"] for name, of_set in sets.items()} | {"all": metrics["all"]}
        )
        for column, groups in metrics["by"].items():
            print_comparison(f"All files by {column}", groups)
