"""Verdicts written as a table for people, JSON lines, CSV or Parquet; window by window, in constant memory."""

from __future__ import annotations

import csv
import io
import json
import shutil
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

from runtime.classifier import Verdict
from runtime.errors import OutputError
from runtime.inputs import Message

Format = Literal["table", "jsonl", "csv", "parquet"]
Result = tuple[Message, Verdict]
Write = Callable[[Sequence[Result]], None]

BAR = 10
"""Width of a score bar in characters."""


@contextmanager
def writer(form: Format, file: BinaryIO, *, spam_label: str, colour: bool = False) -> Iterator[Write]:
    """Yield a function that writes results to ``file``, each call's at once.

    Args:
        form: Form of the output.
        file: Where it goes; Parquet needs one that is not a terminal or a pipe read live.
        spam_label: The label that the table marks.
        colour: Whether the table is for a terminal: colours, score bars, one line a message.

    Raises:
        OutputError: The results do not fit the form, or its library is missing.
    """
    if form not in get_args(Format):
        raise OutputError(f"no format is called {form!r}, only {', '.join(get_args(Format))}")
    if form == "parquet":
        with _parquet(file) as write:
            yield write
        return
    encodings: dict[Format, Callable[[Sequence[Result]], bytes]] = {
        "table": _Table(spam_label, colour),
        "jsonl": _json_lines,
        "csv": _Csv(),
    }
    encode = encodings[form]

    def write_window(results: Sequence[Result]) -> None:
        file.write(encode(results))
        file.flush()

    yield write_window


def flat(message: Message, verdict: Verdict) -> dict[str, Any]:
    """One result as a row: the verdict, where the message is from, and its other columns.

    A column of the input whose name is taken is called ``input_NAME``.
    """
    row = {
        "text": message.text,
        "label": verdict.label,
        "score": round(verdict.score, 6),
        "truncated": verdict.truncated,
        "source": message.source,
        "row": message.row,
    }
    return row | {f"input_{name}" if name in row else name: value for name, value in message.columns.items()}


def _json_lines(results: Sequence[Result]) -> bytes:
    return b"".join(_json_line(flat(*result)) for result in results)


def _json_line(row: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(row, ensure_ascii=False, default=str).encode() + b"\n"
    except UnicodeEncodeError:  # lone surrogates have no UTF-8, but a JSON escape
        return json.dumps(row, default=str).encode() + b"\n"


class _Csv:
    """CSV (RFC 4180, but ``\\n`` ends a row), its columns those of the first results."""

    def __init__(self) -> None:
        self._columns: list[str] = []

    def __call__(self, results: Sequence[Result]) -> bytes:
        text = io.StringIO()
        out = csv.writer(text, lineterminator="\n")
        rows = [flat(*result) for result in results]
        if rows and not self._columns:
            self._columns = _columns(rows, ())
            out.writerow(self._columns)
        _columns(rows, self._columns)
        out.writerows([row.get(name, "") for name in self._columns] for row in rows)
        return text.getvalue().encode("utf-8", "replace")


def _columns(rows: Sequence[Mapping[str, Any]], known: Sequence[str]) -> list[str]:
    """Names of the columns, which the first results decide. Raises ``OutputError`` for a new one after that."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if known and (new := set(names) - set(known)):
        row = next(row for row in rows if new & row.keys())
        raise OutputError(
            f"{row['source']}: row {row['row']} has a column {min(new)!r} that the first results have not: "
            "use --format jsonl, which can hold that"
        )
    return names


class _Table:
    """A line a message: label, score, text. For a terminal with colours and bars, cut to its width."""

    def __init__(self, spam_label: str, colour: bool) -> None:
        self._spam_label = spam_label
        self._colour = colour

    def __call__(self, results: Sequence[Result]) -> bytes:
        width = shutil.get_terminal_size().columns
        lines = [self._line(message.text, verdict, width) for message, verdict in results]
        return "".join(lines).encode("utf-8", "replace")

    def _line(self, text: str, verdict: Verdict, width: int) -> str:
        mark = " (cut)" if verdict.truncated else ""
        text = printable(text)
        if not self._colour:
            return f"{verdict.label}\t{verdict.score:.3f}\t{text}{mark}\n"
        full = round(verdict.score * BAR)
        bar = "█" * full + "░" * (BAR - full)
        hue = 31 if verdict.label == self._spam_label else 32
        text = shortened(text, width - len(verdict.label) - BAR - 8 - len(mark))
        return f"\x1b[{hue}m{verdict.label} {bar}\x1b[0m {verdict.score:.3f} {text}{mark}\n"


def printable(text: str) -> str:
    """Text on one line that cannot drive a terminal: control and direction characters become U+FFFD, breaks blanks."""
    if text.isprintable():
        return text
    return "".join(
        " " if char.isspace() else "\ufffd" if unicodedata.category(char) in ("Cc", "Cf", "Cs") else char
        for char in text
    )


def shortened(text: str, columns: int) -> str:
    """Text cut to so many columns of a terminal, wide characters counted twice."""
    used = 0
    for index, char in enumerate(text):
        used += 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if used > columns:
            return text[: max(0, index - 1)] + "…"
    return text


@contextmanager
def _parquet(file: BinaryIO) -> Iterator[Write]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise OutputError("writing Parquet needs another package: pip install 'spam-edge[parquet]'") from error
    verdict = [("text", pa.string()), ("label", pa.string()), ("score", pa.float64()), ("truncated", pa.bool_())]
    origin = [("source", pa.string()), ("row", pa.int64())]
    out: Any = None

    def write(results: Sequence[Result]) -> None:
        nonlocal out
        rows = [flat(*result) for result in results]
        if not rows:
            return
        names = _columns(rows, out.schema.names if out else ())
        try:
            if out is None:
                table = pa.table({name: [row.get(name) for row in rows] for name in names})
                out = parquet.ParquetWriter(file, table.schema)
            else:
                table = pa.Table.from_pylist(rows, schema=out.schema)
            out.write_table(table)
        except (pa.ArrowException, UnicodeEncodeError, TypeError) as error:
            raise OutputError(f"the results do not fit one Parquet table, use --format jsonl: {error}") from error

    try:
        yield write
        if out is None:
            out = parquet.ParquetWriter(file, pa.schema([*verdict, *origin]))
    finally:
        if out is not None:
            out.close()


def open_output(path: Path, force: bool) -> None:
    """Refuse to replace a file unless told to."""
    if path.exists() and not force:
        raise OutputError(f"{path} exists: name another file, or replace it with --force")
