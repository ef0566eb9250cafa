"""Rows out of labelled or unlabelled files: TSV, CSV, JSONL and Parquet."""

from __future__ import annotations

import csv
import gzip
import json
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from runtime.errors import InputError


@dataclass(frozen=True)
class Record:
    """One row of a file."""

    row: int
    """Number of the row in its file, from 1, as an editor would show it (a header counts)."""
    fields: dict[str, Any]
    """Values by column."""


def read_records(path: Path, *, headerless: Sequence[str] = (), encoding: str = "utf-8") -> Iterator[Record]:
    """Yield the rows of a file whose ending says its form: .csv, .jsonl or .ndjson, .parquet, all else TSV.

    All but Parquet may be gzipped, which the ending .gz says.
    TSV is never quoted (the SMS Spam Collection holds lone quotation marks). A TSV file that has as many columns as
    ``headerless`` names, and none of those names in its first row, is taken to have no header.
    Raises ``InputError`` with the row for a missing or unreadable file, bytes that are not in the encoding, rows of
    another width than the first, and JSON that is not an object a line.
    """
    if not path.is_file():
        raise InputError(f"{path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}")
    try:
        match Path(path.name.lower().removesuffix(".gz")).suffix:
            case ".parquet":
                yield from parquet_records(path, str(path))
            case ".jsonl" | ".ndjson":
                yield from text_records(_lines(path, encoding), "jsonl", str(path))
            case ".csv":
                yield from text_records(_lines(path, encoding), "csv", str(path), headerless)
            case _:
                yield from text_records(_lines(path, encoding), "tsv", str(path), headerless)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (EOFError, zlib.error) as error:
        raise InputError(f"{path}: broken or cut short gzip data: {error}") from error


def text_records(
    lines: Iterable[str], form: Literal["csv", "tsv", "jsonl"], name: str, headerless: Sequence[str] = ()
) -> Iterator[Record]:
    """Yield the rows of decoded lines, as `read_records` does; ``name`` stands for the file in error messages."""
    if form == "jsonl":
        yield from _json_lines(name, lines)
    elif form == "csv":
        csv.field_size_limit(sys.maxsize)
        reader = csv.reader(lines, strict=True)
        try:
            yield from _table(name, ((reader.line_num, row) for row in reader), ())
        except csv.Error as error:
            raise InputError(f"{name}: row {reader.line_num}: {error}") from error
    else:
        rows = ((number, line.rstrip("\r\n").split("\t")) for number, line in enumerate(lines, 1))
        yield from _table(name, rows, headerless)


def _lines(path: Path, encoding: str) -> Iterator[str]:
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode(encoding)
            except UnicodeDecodeError as error:
                bad = error.object[error.start]
                raise InputError(
                    f"{path}: row {number}: byte 0x{bad:02x} at column {error.start + 1} is not {encoding}: "
                    "convert the file or name its encoding"
                ) from error
            except LookupError as error:
                raise InputError(f"no encoding is called {encoding!r}") from error
            yield text.removeprefix("\ufeff") if number == 1 else text


def _table(name: str, rows: Iterator[tuple[int, list[str]]], headerless: Sequence[str]) -> Iterator[Record]:
    header: Sequence[str] = ()
    for number, row in rows:
        if not row or row == [""]:
            continue
        if not header:
            named = bool(set(headerless) & set(row)) or len(row) != len(headerless)
            header = row if named else headerless
            if named:
                continue
        if len(row) != len(header):
            raise InputError(f"{name}: row {number} has {len(row)} columns, the first row has {len(header)}")
        yield Record(number, dict(zip(header, row, strict=True)))


def _json_lines(name: str, lines: Iterable[str]) -> Iterator[Record]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{name}: row {number} is not JSON: {error}") from error
        if not isinstance(fields, dict):
            raise InputError(f"{name}: row {number} is not a JSON object")
        yield Record(number, fields)


def parquet_records(file: Path | BinaryIO, name: str) -> Iterator[Record]:
    """Yield the rows of a Parquet file; ``name`` stands for it in error messages."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise InputError(f"{name}: reading Parquet needs another package: pip install 'spam-edge[parquet]'") from error
    try:
        number = 0
        with parquet.ParquetFile(file) as table:
            for batch in table.iter_batches(batch_size=1024):
                for fields in batch.to_pylist():
                    number += 1
                    yield Record(number, fields)
    except pa.ArrowException as error:
        raise InputError(f"{name}: not a Parquet file that can be read: {error}") from error
