"""The trainer's report for any exported file on any labelled messages."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from runtime import SpamClassifier
from runtime.files import written_beside
from runtime.scores import spam_scores
from trainer.errors import TrainerError
from trainer.evaluation.labelled import read_messages
from trainer.evaluation.metrics import Scored, calibration_error, measure, threshold_table
from trainer.evaluation.plots import write_plots
from trainer.evaluation.tables import print_figures, write_errors, write_json

log = logging.getLogger(__name__)


def evaluate_file(
    model: Path,
    data: Path,
    out: Path | None = None,
    *,
    text_column: str = "text",
    label_column: str = "label",
    spam_label: str | None = None,
    threshold: float | None = None,
) -> dict[str, Any]:
    """Do all that ``spam-eval`` does; gives what goes into ``metrics.json``.

    The data's spam label stands for the model's spam label, and its other label for the model's other one. Thresholds
    for wanted false-positive rates are chosen on every other ham message and measured on the rest.
    Raises ``SpamEdgeError`` for a file that cannot be used.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise TrainerError(f"--threshold {threshold} is out of range: it is a spam score, from 0 to 1")
    with SpamClassifier(model) as classifier:
        spec = classifier.spec
        if len(spec.labels) != 2:
            raise TrainerError(f"{model} tells {len(spec.labels)} labels apart: only two can be evaluated")
        messages, _ = read_messages(
            data, text_column=text_column, label_column=label_column, spam_label=spam_label or spec.spam_label
        )
        logits = classifier.logits(list(messages.texts))
    if threshold is not None:
        spec = replace(spec, threshold=threshold)
    truth = np.array(messages.labels, dtype=np.int64)
    # labels in a report stand in the order: not spam, spam
    spec = replace(spec, labels=(spec.labels[1 - spec.spam_index], spec.spam_label))
    index = classifier.spec.spam_index
    scored = Scored(messages.texts, truth, spam_scores(logits, spec.temperature, index))
    uncalibrated = Scored(messages.texts, truth, spam_scores(logits, 1.0, index))
    errors = (calibration_error(truth, uncalibrated.scores), calibration_error(truth, scored.scores))
    half = (truth == 0) & (np.cumsum(truth == 0) % 2 == 0)  # every other ham message
    metrics: dict[str, Any] = {
        "model": str(model),
        "data": str(data),
        "data_fingerprint": messages.fingerprint(),
        "all": measure(truth, scored.scores, spec.threshold),
        "threshold": spec.threshold,
        "temperature": spec.temperature,
        "calibration": {"before": errors[0], "after": errors[1]},
        "thresholds": threshold_table(scored.where(half).ham(), scored.where(~half)) if half.any() else [],
    }
    if out:
        if out.exists() and not out.is_dir():
            raise TrainerError(f"--out {out} is a file: name a folder")
        with written_beside(out, directory=True) as folder:
            write_json(folder / "metrics.json", metrics)
            wrong = write_errors(folder / "errors.tsv", {data.name: scored}, spec)
            write_plots(folder / "plots", scored, uncalibrated, metrics["all"], spec, errors, data.name)
        log.info("%s written; %d misclassified messages are in errors.tsv", out, wrong)
    print_figures({data.name: metrics["all"]})
    return metrics
