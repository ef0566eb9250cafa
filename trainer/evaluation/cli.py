"""``spam-eval``: what an exported classifier is worth on messages of one's own."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from runtime import commands


def main() -> None:
    """Entry point of ``spam-eval``."""
    commands.require("spam-eval", "eval", ("sklearn", "scipy", "matplotlib"))
    commands.run("spam-eval", evaluate)


def evaluate(
    model: Annotated[Path, typer.Argument(help="ONNX file that spam-export wrote.")],
    data: Annotated[Path, typer.Argument(help="Labelled messages: TSV, CSV, JSONL or Parquet.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for metrics.json, errors.tsv and plots. (default: none is written)")
    ] = None,
    text_column: Annotated[str, typer.Option(help="Column that holds the message.")] = "text",
    label_column: Annotated[str, typer.Option(help="Column that holds the label.")] = "label",
    spam_label: Annotated[
        str | None, typer.Option(help="The label that means spam in the data. (default: the model's own)")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Spam score from which on a message is spam. (default: the model's own)")
    ] = None,
) -> None:
    """Measure an exported classifier on labelled messages: figures with their 95% intervals, mistakes, plots."""
    from trainer.evaluation.evaluate_file import evaluate_file

    logging.basicConfig(format="%(message)s", level=logging.INFO)
    evaluate_file(
        model, data, out, text_column=text_column, label_column=label_column, spam_label=spam_label, threshold=threshold
    )
