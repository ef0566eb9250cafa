import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from runtime import OutputError, Verdict
from runtime.inputs import Message
from runtime.outputs import Format, Result, printable, shortened, writer

RESULTS: list[Result] = [
    (Message("WIN, now", "a.csv", 2, {"id": 1, "label": "gold"}), Verdict("spam", 0.98765432, False, 3)),
    (Message("two\nlines", "a.csv", 3, {"id": 2, "label": None}), Verdict("ham", 0.01, True, 1024)),
]


def written(form: Format, results: list[Result] = RESULTS, *, colour: bool = False) -> bytes:
    file = io.BytesIO()
    with writer(form, file, spam_label="spam", colour=colour) as write:
        for result in results:
            write([result])
        write([])
        return file.getvalue() if form != "parquet" else b""


def test_json_lines_hold_verdict_origin_and_other_columns() -> None:
    assert [json.loads(line) for line in written("jsonl").splitlines()] == [
        {
            "text": "WIN, now",
            "label": "spam",
            "score": 0.987654,
            "truncated": False,
            "source": "a.csv",
            "row": 2,
            "id": 1,
            "input_label": "gold",
        },
        {
            "text": "two\nlines",
            "label": "ham",
            "score": 0.01,
            "truncated": True,
            "source": "a.csv",
            "row": 3,
            "id": 2,
            "input_label": None,
        },
    ]


@given(st.text(st.characters()))
def test_any_text_makes_a_json_line_of_utf_8(text: str) -> None:
    data = written("jsonl", [(Message(text, "-", 1), Verdict("ham", 0.5, False, 1))])
    assert json.loads(data.decode("utf-8"))["text"] == text
    assert data.count(b"\n") == 1


def test_csv_has_one_header_and_quotes_what_needs_it() -> None:
    rows = list(csv.DictReader(io.StringIO(written("csv").decode(), newline="")))
    assert [row["text"] for row in rows] == ["WIN, now", "two\nlines"]
    assert rows[0]["input_label"] == "gold"
    assert rows[1]["score"] == "0.01"


def test_csv_says_where_a_column_is_new() -> None:
    other = (Message("x", "b.jsonl", 7, {"extra": 1}), Verdict("ham", 0.1, False, 1))
    with pytest.raises(OutputError, match=r"b\.jsonl: row 7 has a column 'extra' .* use --format jsonl"):
        written("csv", [*RESULTS, other])


def test_parquet_holds_the_same_rows(tmp_path: Path) -> None:
    with (tmp_path / "r.parquet").open("wb") as file, writer("parquet", file, spam_label="spam") as write:
        write(RESULTS[:1])
        write(RESULTS[1:])
    assert parquet.read_table(tmp_path / "r.parquet").to_pylist() == [
        json.loads(line) for line in written("jsonl").splitlines()
    ]


def test_parquet_says_what_does_not_fit(tmp_path: Path) -> None:
    other = (Message("x", "b.jsonl", 7, {"id": "no number"}), Verdict("ham", 0.1, False, 1))
    with (
        pytest.raises(OutputError, match="do not fit one Parquet table"),
        (tmp_path / "r.parquet").open("wb") as file,
        writer("parquet", file, spam_label="spam") as write,
    ):
        write([*RESULTS[:1]])
        write([other])


def test_parquet_of_nothing_is_still_a_parquet_file(tmp_path: Path) -> None:
    with (tmp_path / "r.parquet").open("wb") as file, writer("parquet", file, spam_label="spam") as write:
        write([])
    assert parquet.read_table(tmp_path / "r.parquet").num_rows == 0


def test_the_table_is_plain_where_nobody_watches() -> None:
    assert written("table").decode() == "spam\t0.988\tWIN, now\nham\t0.010\ttwo lines (cut)\n"


def test_the_table_has_colours_and_bars_for_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    long = (Message("word " * 50, "-", 1), Verdict("spam", 0.5, False, 50))
    lines = written("table", [RESULTS[0], long], colour=True).decode().splitlines()
    assert lines[0] == "\x1b[31mspam ██████████\x1b[0m 0.988 WIN, now"
    assert lines[1].startswith("\x1b[31mspam █████░░░░░\x1b[0m 0.500 word")
    assert len(lines[1]) - len("\x1b[31m\x1b[0m") <= 40


def test_a_message_cannot_drive_the_terminal() -> None:
    assert printable("a\x1b[31mb\x07\u202ec\td\re") == "a\ufffd[31mb\ufffd\ufffdc d e"
    assert printable("Grüße 日本 😀") == "Grüße 日本 😀"


@given(st.text(st.characters()), st.integers(1, 30))
def test_what_is_shown_fits_its_line(text: str, columns: int) -> None:
    shown = printable(text)
    assert "\n" not in shown
    assert "\x1b" not in shown
    assert len(shortened(shown, columns)) <= columns


def test_a_format_that_is_none_is_said() -> None:
    with pytest.raises(OutputError, match="no format is called 'xml', only table, jsonl, csv, parquet"):
        written("xml")  # type: ignore[arg-type]
