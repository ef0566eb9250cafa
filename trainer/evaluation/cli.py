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
    data: Annotated[
        list[Path],
        typer.Argument(
            help="Files of labelled messages, TSV, CSV, JSONL (each may be gzipped) or Parquet, or folders of them. "
            "Each file is measured by itself, and all together."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for metrics.json, errors.tsv and plots. By default nothing is written.")
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="Column by whose values the messages are grouped; groups of at least 30 messages are measured by "
            "themselves. Give the flag several times for several columns. (default: language, channel and theme, "
            "where a file has them)",
            show_default=False,
        ),
    ] = None,
    text_column: Annotated[str, typer.Option(help="Name of the column that holds the message.")] = "text",
    label_column: Annotated[str, typer.Option(help="Name of the column that holds the label.")] = "label",
    spam_label: Annotated[
        str | None, typer.Option(help="Label that means spam in the data. (default: the model's own)")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Spam score from which a message is called spam. (default: the model's own)")
    ] = None,
) -> None:
    """Measure an exported classifier on labelled messages: figures with their 95% intervals, mistakes, plots."""
    from trainer.evaluation.evaluate_file import evaluate_file

    logging.basicConfig(format="%(message)s", level=logging.INFO)
    evaluate_file(
        model,
        data,
        out,
        by=by or (),
        text_column=text_column,
        label_column=label_column,
        spam_label=spam_label,
        threshold=threshold,
    )
