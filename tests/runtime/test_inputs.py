import gzip
import json
import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from runtime import InputError
from runtime.inputs import Lines, Message, Reader, _decompressed

ROWS = [{"id": 1, "text": "WIN, now", "who": "a"}, {"id": 2, "text": 'say "hi"', "who": "ü"}]


def read(path: Path | str, **options: object) -> list[Message]:
    return list(Reader(**options).read([str(path)]))  # type: ignore[arg-type]


def texts(path: Path | str, **options: object) -> list[str]:
    return [message.text for message in read(path, **options)]


def write_table(path: Path) -> Path:
    """The same rows in the form that the ending says."""
    match path.suffix:
        case ".csv":
            path.write_text('id,text,who\n1,"WIN, now",a\n2,"say ""hi""",ü\n', encoding="utf-8")
        case ".tsv":
            path.write_text('id\ttext\twho\n1\tWIN, now\ta\n2\tsay "hi"\tü\n', encoding="utf-8")
        case ".parquet":
            parquet.write_table(pa.Table.from_pylist(ROWS), path)
        case _:
            path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_a_text_file_is_a_message_a_line(tmp_path: Path) -> None:
    path = tmp_path / "m.txt"
    path.write_bytes("one\n\nthree\r\nfo\vur\x85\u2028\nlast".encode())
    assert read(path) == [
        Message("one", str(path), 1),
        Message("", str(path), 2),
        Message("three", str(path), 3),
        Message("fo\vur\x85\u2028", str(path), 4),
        Message("last", str(path), 5),
    ]


def test_a_whole_file_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_bytes(b"one\ntwo\n")
    assert read(tmp_path / "m.txt", whole=True) == [Message("one\ntwo\n", str(tmp_path / "m.txt"), 1)]


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    (tmp_path / "m.txt").touch()
    assert read(tmp_path / "m.txt") == []
    assert texts(tmp_path / "m.txt", whole=True) == [""]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"])
@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzip"])
def test_tables_of_every_form_give_the_same_messages(tmp_path: Path, ending: str, zipped: bool) -> None:
    path = write_table(tmp_path / f"m{ending}")
    if zipped:
        data = path.read_bytes()
        path = tmp_path / f"m{ending}.gz"
        path.write_bytes(gzip.compress(data))
    messages = read(path)
    assert [message.text for message in messages] == ["WIN, now", 'say "hi"']
    assert [{k: str(v) for k, v in m.columns.items()} for m in messages] == [
        {"id": "1", "who": "a"},
        {"id": "2", "who": "ü"},
    ]


def test_the_text_column_can_be_named(tmp_path: Path) -> None:
    messages = read(write_table(tmp_path / "m.jsonl"), text_column="who")
    assert [message.text for message in messages] == ["a", "ü"]
    assert messages[0].columns == {"id": 1, "text": "WIN, now"}


def test_a_table_of_two_columns_needs_no_header(tmp_path: Path) -> None:
    (tmp_path / "m.tsv").write_text("ham\tit's \"fine\nspam\tWIN\n")
    assert texts(tmp_path / "m.tsv") == ["it's \"fine", "WIN"]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_column_that_is_not_there_is_said(tmp_path: Path, ending: str) -> None:
    with pytest.raises(InputError, match="has no column 'body', only 'id', 'text', 'who': name one with --text-column"):
        read(write_table(tmp_path / f"m{ending}"), text_column="body")


def test_what_is_no_text_in_a_column_is_said_with_its_row(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"text": "fine"}\n{"text": null}\n{"text": [1]}\n')
    messages = Reader().read([str(tmp_path / "m.jsonl")])
    assert [next(messages).text, next(messages).text] == ["fine", ""]
    with pytest.raises(InputError, match=r"row 3: column 'text' holds \[1\], not text"):
        next(messages)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("m.jsonl", b'{"text": 1', "row 1 is not JSON"),
        ("m.jsonl", b"[1]", "row 1 is not a JSON object"),
        ("m.csv", b'id,text,x\n1,"open', "row 2: unexpected end of data"),
        ("m.tsv", b"a\ttext\tc\n1\t2\n", "row 2 has 2 columns, the first row has 3"),
        ("m.parquet", b"not parquet", "not a Parquet file"),
        ("m.parquet", b"", "not a Parquet file"),
        ("m.txt.gz", gzip.compress(b"hello" * 99, mtime=0)[:-9], "broken or cut short gzip data"),
        ("m.txt.gz", b"\x1f\x8b" + b"\xff" * 40, "broken or cut short gzip data"),
    ],
)
def test_broken_files_are_said_in_one_line(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=complaint) as caught:
        read(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_a_file_that_is_not_there_is_said() -> None:
    with pytest.raises(InputError, match=r"none\.txt: no such file"):
        read("none.txt")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "cp1252", "shift_jis", "utf-8-sig"])
def test_other_encodings_are_read_when_named(tmp_path: Path, encoding: str) -> None:
    lines = [
        "one",
        "two",
        "日本" if encoding in ("shift_jis", "utf-16") else "zwei: äöü" if encoding != "shift_jis" else "",
    ]
    (tmp_path / "m.txt").write_bytes("\n".join(lines).encode(encoding))
    reader = Reader(encoding=encoding)
    assert [message.text for message in reader.read([str(tmp_path / "m.txt")])] == lines
    assert reader.replaced == 0


@pytest.mark.parametrize("encoding", ["nonsense", "hex", "undefined"])
def test_an_encoding_that_is_none_is_said(encoding: str) -> None:
    with pytest.raises(InputError, match="no encoding is called"):
        Reader(encoding=encoding)


def test_a_form_that_is_none_is_said() -> None:
    with pytest.raises(InputError, match="no form is called 'doc', only text, csv"):
        Reader(form="doc")  # type: ignore[arg-type]


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_bytes(b"\xef\xbb\xbfone\ntwo")
    assert texts(tmp_path / "m.txt") == ["one", "two"]


def test_bad_bytes_are_replaced_and_counted(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_bytes(b"caf\xe9\nfine \xef\xbf\xbd\n\xff\xfe\n" + "ü".encode()[:1])
    reader = Reader()
    assert [message.text for message in reader.read([str(tmp_path / "m.txt")])] == [
        "caf\ufffd",
        "fine \ufffd",
        "\ufffd\ufffd",
        "\ufffd",
    ]
    assert reader.replaced >= 4


@given(st.lists(st.text(), max_size=20).map("\n".join), st.data())
def test_lines_do_not_depend_on_how_the_bytes_arrive(text: str, data: st.DataObject) -> None:
    raw = text.encode("utf-8", "surrogatepass").replace(b"\xef\xbb\xbf", b"")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    chunks = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    reader = Reader()
    lines = list(Lines(reader._decoded(chunks), lambda: False))
    assert lines == [line + "\n" for line in raw.decode("utf-8", "replace").split("\n")[:-1]] + (
        [rest] if (rest := raw.decode("utf-8", "replace").split("\n")[-1]) else []
    )


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.integers(1, 50))
def test_gzip_is_read_in_any_chunks_and_members(members: list[bytes], size: int) -> None:
    raw = b"".join(map(gzip.compress, members))
    chunks = (raw[i : i + size] for i in range(0, len(raw), size))
    assert b"".join(_decompressed(chunks)) == b"".join(members)


def test_gzip_is_known_by_its_mark_and_not_its_name(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_bytes(gzip.compress(b"one\ntwo\n"))
    assert texts(tmp_path / "m.txt") == ["one", "two"]


def test_a_folder_gives_the_files_in_it_in_order(tmp_path: Path) -> None:
    (tmp_path / "b" / "c").mkdir(parents=True)
    for name, text in {
        "a.txt": "1",
        "b/c/d.txt": "2",
        "b/e.jsonl": '{"text": "3"}',
        "b/.f.txt": "hidden",
        "g.png": "x",
    }.items():
        (tmp_path / name).write_text(text)
    reader = Reader()
    assert [message.text for message in reader.read([str(tmp_path)])] == ["1", "2", "3"]
    assert reader.skipped == 1
    assert len(texts(tmp_path, form="text")) == 4


def test_a_named_form_beats_the_ending(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("a,text\n1,x\n")
    assert texts(tmp_path / "m.csv", form="text") == ["a,text", "1,x"]


def test_a_million_lines_take_no_memory(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield b"a short message\n" * 10_000

    assert sum(1 for _ in Lines(Reader()._decoded(chunks()), lambda: False)) == 1_000_000


def test_standard_input_says_when_nothing_is_there(tmp_path: Path) -> None:
    out, into = os.pipe()
    reader = Reader(stdin=out)
    messages = reader.read(["-"])
    os.write(into, b"one\ntwo\nthr")
    assert next(messages).text == "one"
    assert reader.ready()
    assert next(messages).text == "two"
    assert not reader.ready()
    os.write(into, b"ee\n")
    assert reader.ready()
    assert next(messages).text == "three"
    assert not reader.ready()
    os.close(into)
    assert list(messages) == []
    os.close(out)


@pytest.mark.parametrize("form", ["jsonl", "csv", "tsv"])
def test_tables_are_live_on_standard_input_too(form: str) -> None:
    out, into = os.pipe()
    reader = Reader(stdin=out, form=form)  # type: ignore[arg-type]
    messages = reader.read(["-"])
    line = {"jsonl": b'{"text": "x"}\n', "csv": b"a,text,b\n1,x,2\n", "tsv": b"a\ttext\tb\n1\tx\t2\n"}[form]
    os.write(into, line)
    assert next(messages).text == "x"
    assert not reader.ready()
    os.close(into)
    os.close(out)


def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write(parts: Iterable[str]) -> None:
        with pipe.open("w") as file:
            for part in parts:
                file.write(part)
                file.flush()
                time.sleep(0.01)

    writer = threading.Thread(target=write, args=(["on", "e\nt", "wo"],))
    writer.start()
    assert texts(pipe) == ["one", "two"]
    writer.join()
