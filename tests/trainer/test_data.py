"""Labelled messages: every form that is read, every mistake that is named, and the splits."""

import csv
import gzip
import hashlib
import http.server
import io
import json
import random
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from runtime.errors import InputError
from runtime.spec import END_OF_TEXT, ClassifierSpec
from trainer import data
from trainer.data import channels, data_files, download_sms, tokenize
from trainer.errors import TrainerError
from trainer.evaluation.labelled import (
    CHANNEL_COLUMN,
    Messages,
    escape,
    read_dataset,
    read_messages,
    read_split,
    repeats,
    split,
    unescape,
    write_split,
)
from trainer.evaluation.protocols import folded, near_repeat_groups

PRINTS = ["47510f948501b8d0", "5ec07b928f2936f9", "3c343165f115dd81", "ac1cdd094294a19a"]
"""Beginnings of the SHA-256 of training, validation, test and unused messages with seed 123."""

ROWS = [("ham", 'he said "no'), ("spam", "WIN, now"), ("ham", "ünï ☺")]


def as_tsv(path: Path) -> None:
    path.write_text("".join(f"{label}\t{text}\n" for label, text in ROWS))


def as_tsv_with_header(path: Path) -> None:
    path.write_text("id\ttext\tlabel\n" + "".join(f"7\t{text}\t{label}\n" for label, text in ROWS))


def as_csv(path: Path) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *((text, label) for label, text in ROWS)])


def as_jsonl(path: Path) -> None:
    path.write_text("".join(json.dumps({"label": label, "text": text}) + "\n" for label, text in ROWS))


def as_parquet(path: Path) -> None:
    labels, texts = zip(*ROWS, strict=True)
    parquet.write_table(pa.table({"text": list(texts), "label": list(labels)}), path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("SMSSpamCollection", as_tsv),
        ("a.tsv", as_tsv_with_header),
        ("a.csv", as_csv),
        ("a.jsonl", as_jsonl),
        ("a.parquet", as_parquet),
    ],
)
def test_every_form_gives_the_same_messages(tmp_path: Path, name: str, write: object) -> None:
    write(tmp_path / name)  # type: ignore[operator]
    messages, labels = read_messages(tmp_path / name)
    assert labels == ("ham", "spam")
    assert messages == Messages(tuple(text for _, text in ROWS), (0, 1, 0))


def test_columns_and_labels_can_have_any_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("body,verdict\nhello,0\nbuy,1\n")
    messages, labels = read_messages(tmp_path / "a.csv", text_column="body", label_column="verdict", spam_label="1")
    assert (messages.labels, labels) == ((0, 1), ("0", "1"))


def test_files_are_read_one_after_the_other_and_a_file_may_be_of_one_label(tmp_path: Path) -> None:
    (tmp_path / "b.tsv").write_text("ham\thi\n")
    (tmp_path / "a.csv").write_text("text,label\nbuy,spam\n")
    messages, labels = read_messages(tmp_path / "b.tsv", tmp_path / "a.csv")
    assert (messages, labels) == (Messages(("hi", "buy"), (0, 1)), ("ham", "spam"))
    (tmp_path / "c.tsv").write_text("ham\thi\neggs\tho\n")
    with pytest.raises(InputError, match=r"c\.tsv: row 2: a third label 'eggs'"):
        read_messages(*(tmp_path / name for name in ("a.csv", "b.tsv", "c.tsv")))
    (tmp_path / "d.tsv").write_text("")
    with pytest.raises(InputError, match=r"d\.tsv: there is no message in it"):
        read_messages(*(tmp_path / name for name in ("a.csv", "b.tsv", "d.tsv")))


def test_a_folder_is_its_labelled_files_in_order_of_name(tmp_path: Path) -> None:
    (tmp_path / "b.tsv").write_text("ham\tsecond\n")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"text": "first", "label": "spam"}\n'))
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(b"text,label\nthird,ham\n"))
    (tmp_path / "README.md").write_text("not data")
    files = data_files([str(tmp_path), str(tmp_path / "b.tsv")])
    assert [path.name for path in files] == ["a.jsonl.gz", "b.tsv", "c.csv.gz", "b.tsv"]
    assert read_messages(*files)[0].texts == ("first", "second", "third", "second")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"text": "first", "label": "spam"}\n')[:-9])
    with pytest.raises(InputError, match=r"a\.jsonl\.gz: broken or cut short gzip data"):
        read_messages(*files)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: there is no file in this folder"):
        data_files([str(tmp_path / "empty")])


def test_themes_are_kept_with_their_messages(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label,theme\nbuy,spam,shopping\nhi,ham,\nwin,spam,lottery\n")
    (tmp_path / "b.tsv").write_text("ham\tho\n")
    messages, _ = read_messages(tmp_path / "a.csv", tmp_path / "b.tsv")
    assert messages.themes == ("shopping", "", "lottery", "")
    assert messages.take([2, 3]).themes == ("lottery", "")
    assert messages.without(Messages(("buy",), (1,))).themes == ("", "lottery", "")
    assert Messages(("x",), (0,)).followed_by(messages).themes == ("", "shopping", "", "lottery", "")


def test_the_collection_is_read_whole(sms_collection: Path) -> None:
    messages, _ = read_messages(sms_collection)
    assert Counter(messages.labels) == {0: 4827, 1: 747}
    assert len(set(messages.texts)) == 5171


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("missing.csv", None, "no such file"),
        ("a.csv", b"text,label\nhi,ham\nbuy,spam\n", None),
        ("a.csv", b"body,label\nhi,ham\n", r"row 2 has no column 'text', but body, label"),
        ("a.csv", b"body,verdict\nhi,ham\n", r"row 2 has no column 'text', but body, verdict"),
        ("a.tsv", b"body\tlabel\nhi\tham\n", r"row 2 has no column 'text', but body, label"),
        ("a.csv", b"text,label\nhi,ham\n,spam\n", r"row 3: the message in column 'text' is empty"),
        ("a.tsv", b"ham\thi\nspam\t  \n", r"row 2: the message in column 'text' is empty"),
        ("a.tsv", b"ham\thi\nspam\tbuy\tnow\n", r"row 2 has 3 columns"),
        ("a.tsv", b"ham\thi\nspam\tb\xe9\n", r"row 2: byte 0xe9"),
        ("a.tsv", b"ham\thi\nham\tho\n", r"no message is labelled 'spam', but 'ham' \(2\): name it with --spam-label"),
        ("a.tsv", b"spam\thi\nspam\tho\n", r"every message is labelled 'spam'"),
        ("a.tsv", b"spam\thi\nham\tho\neggs\tha\n", r"row 3: a third label 'eggs'"),
        ("a.tsv", b"", r"no message"),
        ("a.jsonl", b'{"text": "hi", "label": "ham"}\n{"text": 1', r"row 2 is not JSON"),
        ("a.jsonl", b'{"text": 5, "label": "ham"}\n', r"row 1: the message in column 'text' is not a text"),
        ("a.jsonl", b'["text"]\n', r"row 1 is not a JSON object"),
        ("a.jsonl", b'{"text": "hi", "label": null}\n', r"row 1: there is no label"),
        ("a.parquet", b"PAR1 but not really", r"not a Parquet file"),
        ("a.csv", b'text,label\n"hi,ham\n', r"row \d"),
    ],
)
def test_mistakes_in_a_file_are_named_with_the_row(
    tmp_path: Path, name: str, content: bytes | None, complaint: str | None
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    if complaint is None:
        assert len(read_messages(tmp_path / name)[0]) == 2
    else:
        with pytest.raises(InputError, match=complaint) as caught:
            read_messages(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


def many(ham: int, spam: int) -> Messages:
    return Messages(
        tuple(f"ham {i}" for i in range(ham)) + tuple(f"spam {i}" for i in range(spam)), (0,) * ham + (1,) * spam
    )


@given(ham=st.integers(200, 400), spam=st.integers(200, 400), seed=st.integers(0, 100))
def test_splits_are_balanced_and_apart_and_lose_no_ham(ham: int, spam: int, seed: int) -> None:
    messages = many(ham, spam)
    splits = split(messages, seed)
    parts = [splits.train, splits.validation, splits.test]
    used = [text for part in parts for text in part.texts]
    assert len(used) == len(set(used)) == 2 * min(ham, spam)
    assert sum(sum(part.labels) for part in parts) == min(ham, spam)
    assert len(splits.train) == int(0.7 * len(used))
    assert len(splits.validation) == int(0.1 * len(used))
    assert set(splits.unused_ham.labels) <= {0}
    assert len(splits.unused_ham) == max(0, ham - spam)
    assert not set(used) & set(splits.unused_ham.texts)
    assert split(messages, seed) == splits
    assert split(messages, seed + 1).train != splits.train


def test_splits_of_the_collection_have_the_published_sizes(sms_collection: Path) -> None:
    splits = split(read_messages(sms_collection)[0], 123)
    assert [len(part) for part in (splits.train, splits.validation, splits.test, splits.unused_ham)] == [
        1045, 149, 300, 4080,
    ]  # fmt: skip


def test_the_split_of_the_collection_is_bit_for_bit_the_one_that_was_published(sms_collection: Path) -> None:
    splits = split(read_messages(sms_collection)[0], 123)
    prints = [part.fingerprint()[:16] for part in (splits.train, splits.validation, splits.test, splits.unused_ham)]
    assert prints == PRINTS


@pytest.mark.parametrize("balance", [True, False])
def test_no_near_repeat_crosses_a_split_by_groups(sms_collection: Path, balance: bool) -> None:
    messages, _ = read_messages(sms_collection)
    splits = split(messages, 7, balance=balance, groups="near-repeats")
    parts = [splits.train, splits.validation, splits.test, splits.unused_ham]
    together = Messages((), ())
    for part in parts:
        together = together.followed_by(part)
    group = near_repeat_groups(together.texts)
    ends = np.cumsum([len(part) for part in parts])
    inside = [set(group[start:end].tolist()) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    assert sum(map(len, inside)) == len(set(group.tolist()))
    count = len(messages) - len(splits.unused_ham)
    assert count == (2 * 747 if balance else 5574)
    for part, share in zip(parts, (0.7, 0.1, 0.2), strict=False):
        assert len(part) == pytest.approx(share * count, abs=3)
        assert sum(part.labels) == pytest.approx(share * 747, abs=2)
    assert sorted(together.texts) == sorted(messages.texts)
    assert split(messages, 7, balance=balance, groups="near-repeats") == splits
    assert split(messages, 8, balance=balance, groups="near-repeats") != splits


def test_shares_of_a_split_can_be_chosen() -> None:
    draw = random.Random(1)
    messages = Messages(tuple("".join(draw.choices("abcdefgh", k=9)) for _ in range(600)), (0, 1) * 300)
    for groups in ("none", "near-repeats"):
        splits = split(messages, 1, groups=groups, validation=0.25, test=0.5)  # type: ignore[arg-type]
        assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [150, 150, 300]


def test_without_balancing_every_message_is_used() -> None:
    splits = split(many(300, 50), 1, balance=False)
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 350
    assert not len(splits.unused_ham)


def test_a_class_that_is_too_small_is_refused() -> None:
    with pytest.raises(TrainerError, match="9 messages of the spam class: at least 10"):
        split(many(100, 9), 1)


def test_repeats_of_training_messages_are_found() -> None:
    train = Messages(("Call 0800 now", "hi"), (1, 0))
    test = Messages(("hi", "CALL  0900 now", "hello"), (0, 1, 0))
    assert repeats(test, train).tolist() == [True, False, False]
    assert repeats(test, train, folded).tolist() == [True, True, False]


def test_tokens_are_cut_extended_and_laid_end_to_end() -> None:
    plain = tokenize(["hello world", "", "<|endoftext|>"], ClassifierSpec())
    assert plain.take([1])[0].tolist() == [END_OF_TEXT]
    assert END_OF_TEXT not in plain.take([2])[0].tolist()
    ids, lengths = plain.take([2, 0])
    assert ids.tolist() == plain.take([2])[0].tolist() + plain.take([0])[0].tolist()
    assert lengths.tolist() == [plain.lengths[2], plain.lengths[0]]
    padded = tokenize(["hello world", "a b c d e f g"], ClassifierSpec(padding="longest", pad_length=4))
    assert padded.lengths.tolist() == [4, 4]
    assert padded.take([0])[0].tolist() == [*plain.take([0])[0].tolist(), END_OF_TEXT, END_OF_TEXT]


@given(st.lists(st.text(st.characters(codec=None)), max_size=5))
def test_written_splits_are_read_back_letter_by_letter(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("split") / "test.tsv"
    messages = Messages(tuple(texts), tuple(i % 2 for i in range(len(texts))))
    write_split(path, messages, ("ham", "spam"))
    assert read_split(path, ("ham", "spam")) == messages
    assert all(unescape(escape(text)) == text and "\n" not in escape(text) for text in texts)


@contextmanager
def serving(content: bytes) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/sms.zip"
    server.shutdown()
    server.server_close()


def archive(content: bytes, member: str = "SMSSpamCollection") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        opened.writestr("readme", "hello")
        opened.writestr(member, content)
    return buffer.getvalue()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "spam-edge"


def pin(monkeypatch: pytest.MonkeyPatch, zipped: bytes, content: bytes) -> None:
    monkeypatch.setattr(data, "SMS_ARCHIVE_SHA256", hashlib.sha256(zipped).hexdigest())
    monkeypatch.setattr(data, "SMS_SHA256", hashlib.sha256(content).hexdigest())


def test_the_collection_is_downloaded_once_and_checked(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"ham\thi\nspam\tbuy\n"
    zipped = archive(content)
    pin(monkeypatch, zipped, content)
    with serving(zipped) as url:
        monkeypatch.setattr(data, "SMS_URL", url)
        path = download_sms()
    assert path.read_bytes() == content
    assert download_sms() == path  # the server is gone
    assert [file.name for file in cache.iterdir()] == ["SMSSpamCollection"]


@pytest.mark.parametrize("damage", ["changed", "cut", "member", "content", "gone"])
def test_a_broken_download_is_refused_and_leaves_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    content = b"ham\thi\nspam\tbuy\n"
    zipped = archive(content, "another" if damage == "member" else "SMSSpamCollection")
    pin(monkeypatch, zipped, b"other" if damage == "content" else content)
    sent = {"changed": zipped[:-1] + b"x", "cut": zipped[:40]}.get(damage, zipped)
    with serving(sent) as url:
        monkeypatch.setattr(data, "SMS_URL", "http://127.0.0.1:9/sms.zip" if damage == "gone" else url)
        with pytest.raises(TrainerError, match="cannot be downloaded") as caught:
            download_sms()
    assert "--data" in str(caught.value)
    assert not cache.exists() or not list(cache.iterdir())


def channels_of(*paths: Path) -> tuple[str, ...]:
    return channels(read_dataset(*paths, columns=(CHANNEL_COLUMN,)), paths)


def test_channels_are_those_that_a_hundredth_of_the_messages_have(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "label,channel,text\n"
        + "spam,sms,hello\n" * 150
        + "ham,chat,hello\n" * 47
        + "ham,mail,hello\n" * 2
        + "ham,comment,hello\n"
    )
    assert channels_of(tmp_path / "a.csv") == ("chat", "mail", "sms")


def test_channels_are_not_known_where_one_file_does_not_say(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("label,channel,text\nspam,sms,hello\nham,chat,hello\n")
    (tmp_path / "b.csv").write_text("label,text\nspam,hello\nham,hello\n")
    assert channels_of(tmp_path / "a.csv") == ("chat", "sms")
    assert channels_of(tmp_path / "a.csv", tmp_path / "b.csv") == ()


def test_the_collection_is_known_to_be_text_messages(sms_collection: Path, tmp_path: Path) -> None:
    assert channels_of(sms_collection) == ("sms",)
    (tmp_path / "mail.csv").write_text("label,channel,text\n" + "ham,mail,hello\n" * 100)
    assert channels_of(tmp_path / "mail.csv", sms_collection) == ("mail", "sms")
