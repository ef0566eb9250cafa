"""Messages out of files, folders and standard input, whatever their form, as a stream in constant memory."""

from __future__ import annotations

import codecs
import io
import os
import select
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from runtime.errors import InputError
from runtime.records import Record, parquet_records, text_records

Form = Literal["text", "csv", "tsv", "jsonl", "parquet", "eml", "mbox"]

SUFFIXES: Mapping[str, Form] = {
    ".txt": "text",
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".eml": "eml",
    ".mbox": "mbox",
    ".mbx": "mbox",
}
"""What a file's ending says of its form; ``.gz`` may follow. Any other file is text, a message a line."""

CHANNELS: Mapping[Form, str] = {"eml": "mail", "mbox": "mail"}
"""Kind of message that a form is for, as `ClassifierSpec.channels` names it; the other forms hold any kind."""

CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Message:
    """A message and where it comes from."""

    text: str
    source: str
    """Path of its file; ``-`` for standard input."""
    row: int
    """Its line, row or number in the file, from 1."""
    columns: Mapping[str, Any] = field(default_factory=dict)
    """The other columns of its row."""


class Reader:
    """Reads messages from files, and counts what it had to put right.

    Args:
        form: Form of every input; by default what its ending says.
        whole: Take each text file as one message.
        text_column: Column that holds the text in tables; by default ``text``, and in a table of two columns without
            a header the second.
        encoding: Encoding of texts and tables.
    """

    def __init__(
        self,
        *,
        form: Form | None = None,
        whole: bool = False,
        text_column: str | None = None,
        encoding: str = "utf-8",
        stdin: int | None = None,
    ) -> None:
        if form is not None and form not in get_args(Form):
            raise InputError(f"no form is called {form!r}, only {', '.join(get_args(Form))}")
        try:
            "".encode(encoding)  # refuses codecs that are not for text
            codecs.getincrementaldecoder(encoding)
        except (LookupError, UnicodeError) as error:
            raise InputError(f"no encoding is called {encoding!r}") from error
        self.form = form
        self.whole = whole
        self.text_column = text_column
        self.encoding = encoding
        self.replaced = 0
        """Bytes that were not in the encoding, replaced by U+FFFD."""
        self.skipped = 0
        """Files in folders left out because their ending is none of `SUFFIXES`."""
        self.bytes_read = 0
        """Bytes read so far, before decompression."""
        self._stdin = stdin
        self._ready: Callable[[], bool] = lambda: True

    def read(self, inputs: Iterable[str]) -> Iterator[Message]:
        """Yield the messages of files, folders (with what is in them, sorted) and standard input (``-``).

        Raises ``InputError`` where one is missing, unreadable or not in its form.
        """
        for source in self.files(inputs):
            self._ready = lambda: True
            try:
                yield from self._read_file(source)
            except OSError as error:
                raise InputError(f"{source}: {error.strerror or error}") from error
            except (EOFError, zlib.error) as error:
                raise InputError(f"{source}: broken or cut short gzip data: {error}") from error

    def ready(self) -> bool:
        """Whether the next message can be read without waiting for whoever writes the input."""
        return self._ready()

    def files(self, inputs: Iterable[str]) -> Iterator[str]:
        """Yield the inputs with folders replaced by the files in them. Raises ``InputError`` for what is not there."""
        for source in inputs:
            path = Path(source)
            if source == "-" or path.is_file() or path.is_fifo() or path.is_char_device():
                yield source
            elif path.is_dir():
                for inner in sorted(path.rglob("*")):
                    if inner.is_file() and not any(part.startswith(".") for part in inner.relative_to(path).parts):
                        if self.form is None and _form_of(inner.name) is None:
                            self.skipped += 1
                        else:
                            yield str(inner)
            else:
                raise InputError(f"{source}: no such file")

    def form_of(self, source: str) -> Form:
        """The form that an input is read in."""
        return self.form or _form_of(source) or "text"

    def _read_file(self, source: str) -> Iterator[Message]:
        form = self.form_of(source)
        chunks, ready = self._chunks(source)
        chunks = _decompressed(chunks)
        if form == "parquet":
            # The footer of a Parquet file is at its end: what is no plain file is held in memory.
            plain = source != "-" and not source.endswith(".gz")
            table = Path(source) if plain else io.BytesIO(b"".join(chunks))
            yield from self._rows(parquet_records(table, source), source)
        elif form == "eml" or form == "mbox":
            from runtime.mail import LARGEST_MAIL, mails, readable_text

            for number, raw in enumerate([_first(chunks, LARGEST_MAIL)] if form == "eml" else mails(chunks), 1):
                text, replaced = readable_text(raw)
                self.replaced += replaced
                yield Message(text, source, number)
        elif form == "text" and self.whole:
            yield Message("".join(self._decoded(chunks)), source, 1)
        else:
            lines = Lines(self._decoded(chunks), ready)
            self._ready = lines.ready
            if form == "text":
                for number, line in enumerate(lines, 1):
                    yield Message(line.removesuffix("\n").removesuffix("\r"), source, number)
            else:
                headerless = ("label", "text") if self.text_column is None else ()
                yield from self._rows(text_records(lines, form, source, headerless), source)

    def _rows(self, records: Iterator[Record], source: str) -> Iterator[Message]:
        column = self.text_column or "text"
        for record in records:
            if column not in record.fields:
                raise InputError(
                    f"{source}: row {record.row} has no column {column!r}, only "
                    f"{', '.join(map(repr, record.fields)) or 'none'}: name one with --text-column"
                )
            text = record.fields.pop(column)
            if text is None:
                text = ""
            elif not isinstance(text, str):
                raise InputError(f"{source}: row {record.row}: column {column!r} holds {text!r:.60}, not text")
            yield Message(text, source, record.row, record.fields)

    def _chunks(self, source: str) -> tuple[Iterator[bytes], Callable[[], bool]]:
        """The bytes of an input, and whether more are there at once."""
        if source != "-":
            return self._file_chunks(Path(source)), lambda: True
        descriptor = sys.stdin.fileno() if self._stdin is None else self._stdin
        return self._descriptor_chunks(descriptor), lambda: _readable(descriptor)

    def _file_chunks(self, path: Path) -> Iterator[bytes]:
        with path.open("rb", buffering=0) as file:
            yield from self._descriptor_chunks(file.fileno())

    def _descriptor_chunks(self, descriptor: int) -> Iterator[bytes]:
        while chunk := os.read(descriptor, CHUNK):
            self.bytes_read += len(chunk)
            yield chunk

    def _decoded(self, chunks: Iterable[bytes]) -> Iterator[str]:
        """Decode chunk by chunk; bytes that are not in the encoding become U+FFFD and are counted."""
        encoding = "utf-8-sig" if codecs.lookup(self.encoding).name == "utf-8" else self.encoding
        strict = codecs.getincrementaldecoder(encoding)("strict")
        lenient = codecs.getincrementaldecoder(encoding)("replace")
        for chunk, last in _with_last(chunks):
            state = strict.getstate()
            try:
                text = strict.decode(chunk, last)
            except UnicodeDecodeError:
                lenient.setstate(state)
                text = lenient.decode(chunk, last)
                self.replaced += text.count("\ufffd")
                strict.setstate(lenient.getstate())
            yield text


class Lines:
    """Lines of decoded text with their line ends; only ``\\n`` ends a line."""

    def __init__(self, texts: Iterator[str], readable: Callable[[], bool]) -> None:
        self._texts = texts
        self._readable = readable
        self._whole: list[str] = []
        """Whole lines not yet handed out, the next one last."""
        self._rest: list[str] = []
        """Parts of the line that has not ended."""
        self._ended = False

    def __iter__(self) -> Iterator[str]:
        while self._fill():
            while self._whole:
                yield self._whole.pop()

    def ready(self) -> bool:
        """Whether a whole line is there without waiting."""
        while not self._whole and not self._ended and self._readable():
            self._read()
        return bool(self._whole) or self._ended

    def _fill(self) -> bool:
        while not self._whole and not self._ended:
            self._read()
        return bool(self._whole)

    def _read(self) -> None:
        text = next(self._texts, None)
        if text is None:
            self._ended = True
            self._whole = ["".join(self._rest)] if any(self._rest) else []
            return
        first, *others = text.split("\n")
        self._rest.append(first)
        if others:
            self._whole = ["".join(self._rest) + "\n", *(line + "\n" for line in others[:-1])][::-1]
            self._rest = [others[-1]]


def _form_of(name: str) -> Form | None:
    return SUFFIXES.get(Path(name.lower().removesuffix(".gz")).suffix)


def _readable(descriptor: int) -> bool:
    try:
        return bool(select.select([descriptor], [], [], 0)[0])
    except (OSError, ValueError):  # a pipe on Windows, which select does not take
        return False


def _decompressed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Pass bytes on, through gzip where they begin with its mark."""
    first = next(chunks, b"")
    while len(first) == 1 and (more := next(chunks, b"")):
        first += more
    if not first.startswith(b"\x1f\x8b"):
        if first:
            yield first
        yield from chunks
        return
    unzip = zlib.decompressobj(31)
    data = first
    while True:
        if unzip.eof:  # gzip files may be several, one after the other
            data = unzip.unused_data or data
            if not data.strip(b"\0") and not (data := next(chunks, b"").lstrip(b"\0")):
                return
            unzip = zlib.decompressobj(31)
        if out := unzip.decompress(data, CHUNK):
            yield out
        data = unzip.unconsumed_tail
        if not data and not unzip.eof and not (data := next(chunks, b"")):
            raise EOFError("it ends in the middle")


def _first(chunks: Iterable[bytes], limit: int) -> bytes:
    kept, size = [], 0
    for chunk in chunks:
        kept.append(chunk)
        size += len(chunk)
        if size > limit:
            break
    return b"".join(kept)[:limit]


def _with_last(chunks: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each chunk, and at the end an empty one marked as the last, so that what waits in a decoder comes out."""
    for chunk in chunks:
        yield chunk, False
    yield b"", True
