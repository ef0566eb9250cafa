"""``spam-export``: a checkpoint becomes a verified ONNX file."""

from __future__ import annotations

import logging
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from exporter.errors import ExportError
from runtime import commands

if TYPE_CHECKING:
    from exporter.export import Report


class Precision(str, Enum):
    """Number formats of the weights."""

    fp32 = "fp32"
    int8 = "int8"


class Target(str, Enum):
    """Where the file is to run."""

    portable = "portable"
    onnxruntime = "onnxruntime"


class Layout(str, Enum):
    """What is written."""

    file = "file"
    huggingface = "huggingface"


def export_command(
    checkpoint: Annotated[Path, typer.Option(help="Directory that spam-train wrote.", show_default=True)] = Path(
        "artifacts/checkpoint"
    ),
    out: Annotated[Path, typer.Option(help="File to write; NAME.report.json goes beside NAME.onnx.")] = Path(
        "artifacts/spam.onnx"
    ),
    opset: Annotated[
        int, typer.Option(help="ONNX operator set: 17 to the newest that the installed onnx and onnxruntime have.")
    ] = 17,
    precision: Annotated[Precision, typer.Option(help="Number format of the weights.")] = Precision.fp32,
    target: Annotated[
        Target,
        typer.Option(
            help="portable: standard operators in their plain form; onnxruntime: what onnxruntime runs fastest, its "
            "own operators among it."
        ),
    ] = Target.portable,
    text: Annotated[
        bool,
        typer.Option("--text", help="Make a graph that takes strings; it runs where onnxruntime-extensions is loaded."),
    ] = False,
    layout: Annotated[
        Layout,
        typer.Option(
            help="huggingface: besides the file, write the folder NAME with config, tokenizer and both precisions that "
            "Optimum and transformers.js load."
        ),
    ] = Layout.file,
    verify_data: Annotated[
        Path | None,
        typer.Option(
            help="Labelled messages (TSV, CSV, JSONL or Parquet) to compare verdicts on. "
            "[default: the checkpoint's test set, else messages that come with spam-edge]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Turn a checkpoint into one ONNX file that runs without PyTorch.

    The file is compared with PyTorch before it is left: over message lengths and ragged batches, on labelled messages,
    and each message alone against the same message in batches. If a limit is exceeded, no file is written.
    """
    if out.suffix != ".onnx":
        raise ExportError(f"--out {out}: the name must end in .onnx")
    try:
        from exporter.export import Options, export
        from exporter.huggingface import check_layout, export_folder
    except ModuleNotFoundError as error:
        raise ExportError(f"{error.name} is not installed: pip install 'spam-edge[export]'") from error
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    logging.getLogger("exporter").setLevel(logging.INFO)
    if layout is Layout.huggingface:
        check_layout(checkpoint)
    options = Options(opset, precision.value, target.value, text)
    show(export(checkpoint, out, options, verify_data), out)
    if layout is Layout.huggingface:
        folder = out.with_suffix("")
        for report in export_folder(checkpoint, folder, Options(opset, target=target.value), verify_data):
            show(report, folder / "onnx" / report.file)


def show(report: Report, out: Path) -> None:
    """Print the report as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table("figure", "value", "limit", title=f"{out}: verified", title_justify="left")
    for check in report.checks:
        table.add_row(check.name, f"{check.value:.2g}", "" if check.limit is None else f"{check.limit:g}")
    for workload, torch_time in report.milliseconds["pytorch"].items():
        ours = report.milliseconds["file"][workload]
        table.add_row(f"milliseconds, {workload} tokens ({torch_time:.3g} in PyTorch)", f"{ours:.3g}", "")
    table.add_row("operators", str(sum(report.operators.values())), "")
    table.add_row("size, MB", f"{report.bytes / 1e6:.1f}", "")
    Console().print(table)
    print(f"verified on {report.verified_on}; opset {report.opset}, {report.precision}, {report.target}")
    print(f"SHA-256 {report.sha256}")


def main() -> None:
    """Entry point."""
    commands.run("spam-export", export_command)
