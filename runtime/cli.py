"""``spam-infer``: messages in, verdicts out."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from runtime.commands import run
from runtime.errors import InputError, OutputError

if TYPE_CHECKING:
    from runtime.classifier import SpamClassifier
    from runtime.inputs import Form, Message, Reader
    from runtime.outputs import Result, Write

COMMAND = "spam-infer"


def infer(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...|-",
            help="Files, folders, or - for standard input. The ending says the form: .csv, .tsv, .jsonl, .parquet, "
            ".eml, .mbox, any other is text, a message a line. Any of them may be gzipped.",
        ),
    ],
    model: Annotated[
        Path | None,
        typer.Option(
            help="The .onnx file. By default $SPAM_EDGE_MODEL, else artifacts/spam.onnx, else the shipped model.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="Form of the output: table, jsonl, csv or parquet.")] = "table",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File for the results, instead of standard output.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the --out file if it exists.")] = False,
    whole: Annotated[bool, typer.Option("--whole", help="Take each text file as one message.")] = False,
    input_form: Annotated[
        str | None,
        typer.Option(
            "--input", help="Form of every input, whatever its ending: text, csv, tsv, jsonl, parquet, eml or mbox."
        ),
    ] = None,
    text_column: Annotated[
        str | None,
        typer.Option(help="Column of a table that holds the text; the others pass through. By default 'text'."),
    ] = None,
    encoding: Annotated[
        str, typer.Option(help="Encoding of texts and tables; bytes that are not in it are replaced and counted.")
    ] = "utf-8",
    only: Annotated[str | None, typer.Option(help="Write only the messages of this label.")] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Spam probability from which a message is spam. By default the one in the model.", min=0.0),
    ] = None,
    fail_on_spam: Annotated[bool, typer.Option("--fail-on-spam", help="Exit with 1 if a message is spam.")] = False,
    long: Annotated[
        str,
        typer.Option(
            help="Messages beyond the context: 'cut' them, or score overlapping 'windows', the highest counts."
        ),
    ] = "cut",
    threads: Annotated[
        int | None,
        typer.Option(
            help="CPUs to use, for each computation or, with a small model, side by side. By default those that this "
            "process may use.",
            min=1,
        ),
    ] = None,
    max_batch_tokens: Annotated[
        int | None,
        typer.Option(
            help="Largest batch in tokens, padding included: more takes more memory. By default 256; 1024 for a small "
            "model.",
            min=1,
        ),
    ] = None,
    provider: Annotated[
        list[str] | None,
        typer.Option(help="onnxruntime execution provider, as OpenVINOExecutionProvider; may be repeated."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No notes and no progress on stderr.")] = False,
) -> None:
    """Say of each message whether it is spam.

    Results go to standard output, notes and progress to stderr. A pipe is served live: each verdict follows its line.
    A note says where mail is given to a model that was trained on other kinds of messages.
    """
    # Here and not above: --help and mistakes in the flags need none of it.
    from runtime.inputs import Reader
    from runtime.outputs import open_output

    def note(text: str) -> None:
        if not quiet:
            print(f"{COMMAND}: {text}", file=sys.stderr)

    if long not in ("cut", "windows"):
        raise InputError(f"--long takes cut or windows, not {long!r}")
    if form == "parquet" and out is None and sys.stdout.isatty():
        raise OutputError("Parquet is not for a terminal: name a file with --out")
    reader = Reader(form=cast(Any, input_form), whole=whole, text_column=text_column, encoding=encoding)
    sources = list(reader.files(inputs))
    if out is not None:
        open_output(out, force)
    spam = 0
    with ExitStack() as stack:
        classifier = _classifier(
            model,
            note,
            threads=threads,
            max_batch_tokens=max_batch_tokens,
            long=long,
            threshold=threshold,
            providers=provider,
        )
        if only is not None and only not in classifier.labels:
            raise InputError(f"--only takes {' or '.join(classifier.labels)}, not {only!r}")
        if unknown := _unknown_channels(classifier.spec.channels, map(reader.form_of, sources)):
            note(
                f"this model was trained on {', '.join(classifier.spec.channels)}, not on {', '.join(unknown)}: "
                "expect more mistakes in such inputs"
            )
        write = stack.enter_context(_output(form, out, classifier.spec.spam_label))
        counted = stack.enter_context(_progress(reader, sources, quiet))
        started, total, cut = time.perf_counter(), 0, 0
        for results in _classified(classifier, reader, sources):
            total += len(results)
            spam += sum(verdict.label == classifier.spec.spam_label for _, verdict in results)
            cut += sum(verdict.truncated for _, verdict in results)
            write([result for result in results if only is None or result[1].label == only])
            counted(total)
        seconds = time.perf_counter() - started
    if form == "table":
        note(f"{total} messages, {spam} {classifier.spec.spam_label}, {cut} cut to the context, {seconds:.1f} s")
    if reader.replaced:
        note(f"{reader.replaced} bytes were not {encoding} and were replaced")
    if reader.skipped:
        note(f"{reader.skipped} files in folders were left out for their ending: --input names a form for all")
    if fail_on_spam and spam:
        raise typer.Exit(1)


def _classifier(model: Path | None, note: Callable[[str], None], **arguments: Any) -> SpamClassifier:
    from runtime.model_file import find_model

    found = model or find_model()
    note(f"model {found}")
    from runtime.classifier import SpamClassifier

    return SpamClassifier(found, **arguments)


def _unknown_channels(trained: Sequence[str], forms: Iterable[Form]) -> list[str]:
    """Kinds of messages that inputs of these forms hold and the model was not trained on, where it says on which."""
    from runtime.inputs import CHANNELS

    return sorted({CHANNELS[form] for form in forms if form in CHANNELS} - set(trained)) if trained else []


def _classified(classifier: SpamClassifier, reader: Reader, sources: Sequence[str]) -> Iterator[list[Result]]:
    """Results window by window, while the next window is read; what waits is handed out before the input blocks."""
    from runtime.classifier import read_ahead

    waiting: deque[Message] = deque()

    def texts() -> Iterator[list[str]]:
        for window in read_ahead(reader.read(sources), lambda message: len(message.text), reader.ready):
            waiting.extend(window)
            yield [message.text for message in window]

    for verdicts in classifier.stream_windows(texts()):
        yield [(waiting.popleft(), verdict) for verdict in verdicts]


@contextmanager
def _output(form: str, out: Path | None, spam_label: str) -> Iterator[Write]:
    from runtime.files import written_beside
    from runtime.outputs import writer

    if out is None:
        with writer(cast(Any, form), sys.stdout.buffer, spam_label=spam_label, colour=sys.stdout.isatty()) as write:
            yield write
    else:
        with (
            written_beside(out) as path,
            path.open("wb") as file,
            writer(cast(Any, form), file, spam_label=spam_label) as write,
        ):
            yield write


@contextmanager
def _progress(reader: Reader, sources: Sequence[str], quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar on stderr over the bytes of the inputs, where somebody watches and the results do not scroll there too."""
    if quiet or not sys.stderr.isatty() or sys.stdout.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    size = None if "-" in sources else sum(Path(source).stat().st_size for source in sources)
    columns = (BarColumn(), TextColumn("{task.fields[count]} messages"), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=size, count=0)
        yield lambda count: progress.update(task, completed=reader.bytes_read, count=count)


def main() -> None:
    """Run the command."""
    run(COMMAND, infer)
