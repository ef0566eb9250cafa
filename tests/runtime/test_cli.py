import gzip
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from pyarrow import parquet

from runtime import SpamClassifier
from runtime.spec import ClassifierSpec
from tests.runtime.toy_model import write_toy_model

SPAM_INFER = [sys.executable, "-c", "from runtime.cli import main; main()"]
LINES = ["WIN a prize now", "see you at six", "", "ok"]


def spam_infer(
    *arguments: str | Path, stdin: bytes = b"", cwd: Path | None = None, env: Mapping[str, str] = {}
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*SPAM_INFER, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **env},
        timeout=60,
    )


def rows(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, object]]:
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    path = tmp_path / "inbox.txt"
    path.write_text("\n".join(LINES) + "\n")
    return path


def test_json_lines_come_in_input_order_with_verdicts(inbox: Path, model: Path, classifier: SpamClassifier) -> None:
    verdicts = classifier.verdicts(LINES)
    assert rows(spam_infer(inbox, "--model", model, "--format", "jsonl")) == [
        {"text": text, "label": v.label, "score": round(v.score, 6), "truncated": False, "source": str(inbox), "row": n}
        for n, (text, v) in enumerate(zip(LINES, verdicts, strict=True), 1)
    ]


def test_standard_input_is_read_where_asked(inbox: Path, model: Path) -> None:
    from_file = rows(spam_infer(inbox, "--model", model, "--format", "jsonl"))
    from_stdin = rows(spam_infer("-", "--model", model, "--format", "jsonl", stdin=inbox.read_bytes()))
    assert from_stdin == [{**row, "source": "-"} for row in from_file]


def test_a_whole_file_is_one_message(inbox: Path, model: Path) -> None:
    (row,) = rows(spam_infer(inbox, "--whole", "--model", model, "--format", "jsonl"))
    assert row["text"] == inbox.read_text()


def test_the_default_is_a_table_with_a_summary_on_stderr(inbox: Path, model: Path, classifier: SpamClassifier) -> None:
    done = spam_infer(inbox, "--model", model)
    labels = classifier.predict(LINES)
    assert [line.split("\t")[0] for line in done.stdout.decode().splitlines()] == labels
    notes = done.stderr.decode().splitlines()
    assert notes[0] == f"spam-infer: model {model}"
    assert notes[1].startswith(f"spam-infer: 4 messages, {labels.count('spam')} spam, 0 cut to the context, ")


def test_quiet_says_nothing_on_stderr(inbox: Path, model: Path) -> None:
    assert spam_infer(inbox, "--model", model, "-q").stderr == b""


def test_only_and_threshold_choose(inbox: Path, model: Path, classifier: SpamClassifier) -> None:
    spam = rows(spam_infer(inbox, "--model", model, "--format", "jsonl", "--only", "spam"))
    assert [row["text"] for row in spam] == [t for t in LINES if classifier.verdict(t).label == "spam"]
    assert rows(spam_infer(inbox, "--model", model, "--format", "jsonl", "--only", "ham", "--threshold", "0")) == []


def test_fail_on_spam_exits_with_1_where_there_is_spam(inbox: Path, model: Path) -> None:
    assert spam_infer(inbox, "--model", model, "--fail-on-spam", "--threshold", "0").returncode == 1
    assert spam_infer(inbox, "--model", model, "--fail-on-spam", "--threshold", "1.1").returncode == 0
    assert len(spam_infer(inbox, "--model", model, "--fail-on-spam", "--threshold", "0").stdout.splitlines()) == 4


def test_other_columns_pass_through_every_form(tmp_path: Path, model: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("id,body\n7,hello\n8,WIN\n")
    arguments = (path, "--text-column", "body", "--model", model)
    (tmp_path / "r.csv").write_bytes(spam_infer(*arguments, "--format", "csv").stdout)
    spam_infer(*arguments, "--format", "parquet", "--out", tmp_path / "r.parquet")
    expected = [("hello", "7"), ("WIN", "8")]
    assert [(r["text"], r["id"]) for r in rows(spam_infer(*arguments, "--format", "jsonl"))] == expected
    assert [(r["text"], r["id"]) for r in parquet.read_table(tmp_path / "r.parquet").to_pylist()] == expected
    again = rows(spam_infer(tmp_path / "r.csv", "--model", model, "--format", "jsonl"))
    assert [(r["text"], r["id"]) for r in again] == expected


def test_files_folders_and_zipped_files_together(tmp_path: Path, inbox: Path, model: Path) -> None:
    (tmp_path / "mails").mkdir()
    (tmp_path / "mails" / "a.eml").write_bytes(b"Subject: hello\n\nworld")
    (tmp_path / "mails" / "photo.jpg").write_bytes(b"\xff\xd8")
    (tmp_path / "z.txt.gz").write_bytes(gzip.compress(b"caf\xe9\n"))
    done = spam_infer(inbox, tmp_path / "mails", tmp_path / "z.txt.gz", "--model", model, "--format", "jsonl")
    assert [row["text"] for row in rows(done)] == [*LINES, "hello\nworld", "caf\ufffd"]
    assert b"1 bytes were not utf-8 and were replaced" in done.stderr
    assert b"1 files in folders were left out" in done.stderr


@pytest.mark.parametrize(
    ("channels", "name", "arguments", "said"),
    [
        (("sms", "chat"), "a.eml", (), True),
        (("sms", "chat"), "a.mbox.gz", (), True),
        (("sms", "chat"), "a.txt", ("--input", "eml"), True),
        (("sms", "chat"), "a.eml", ("--quiet",), False),
        (("sms", "chat"), "a.eml", ("--input", "text"), False),
        (("sms", "chat"), "a.txt", (), False),
        (("sms", "mail"), "a.eml", (), False),
        ((), "a.eml", (), False),
    ],
    ids=str,
)
def test_mail_for_a_model_that_saw_none_is_noted_once(
    tmp_path: Path, channels: tuple[str, ...], name: str, arguments: tuple[str, ...], said: bool
) -> None:
    trained = write_toy_model(tmp_path / "m.onnx", ClassifierSpec(channels=channels))
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(b"From x\nSubject: hello\n\nworld\n")
    done = spam_infer(tmp_path / "one", tmp_path / "two", "--model", trained, *arguments)
    assert done.returncode == 0
    notes = [line for line in done.stderr.decode().splitlines() if "trained on" in line]
    note = "spam-infer: this model was trained on sms, chat, not on mail: expect more mistakes in such inputs"
    assert notes == ([note] if said else [])


def test_a_long_message_is_marked_and_windows_read_all_of_it(tmp_path: Path, model: Path) -> None:
    (tmp_path / "m.txt").write_text("word " * 3000)
    (cut,) = rows(spam_infer(tmp_path / "m.txt", "--model", model, "--format", "jsonl"))
    (read,) = rows(spam_infer(tmp_path / "m.txt", "--model", model, "--format", "jsonl", "--long", "windows"))
    assert (cut["truncated"], read["truncated"]) == (True, False)


@pytest.mark.parametrize("place", ["environment", "artifacts"])
def test_the_model_is_found_and_named(tmp_path: Path, inbox: Path, place: str) -> None:
    (tmp_path / "artifacts").mkdir()
    path = write_toy_model(tmp_path / ("artifacts/spam.onnx" if place == "artifacts" else "other.onnx"))
    env = {"SPAM_EDGE_MODEL": str(path) if place == "environment" else ""}
    done = spam_infer(inbox, "--format", "jsonl", cwd=tmp_path, env=env)
    assert done.returncode == 0
    assert done.stderr.decode() == f"spam-infer: model {'artifacts/spam.onnx' if place == 'artifacts' else path}\n"


MISTAKES = {
    "no input": ([], "Missing argument"),
    "no such file": (["none.txt"], "none.txt: no such file"),
    "no such model": (["inbox.txt", "--model", "none.onnx"], "none.onnx: no such model"),
    "not a model": (["inbox.txt", "--model", "inbox.txt"], "inbox.txt: not an ONNX file"),
    "unknown flag": (["inbox.txt", "--nonsense"], "No such option: --nonsense"),
    "unknown format": (["inbox.txt", "--format", "xml"], "no format is called 'xml'"),
    "unknown form": (["inbox.txt", "--input", "doc"], "no form is called 'doc'"),
    "unknown label": (["inbox.txt", "--only", "news"], "--only takes ham or spam, not 'news'"),
    "unknown long": (["inbox.txt", "--long", "all"], "--long takes cut or windows, not 'all'"),
    "unknown encoding": (["inbox.txt", "--encoding", "x"], "no encoding is called 'x'"),
    "no such provider": (["inbox.txt", "--provider", "X"], "the installed onnxruntime has no X"),
    "no such column": (["inbox.txt", "--input", "csv", "--text-column", "x"], "has no column 'x'"),
    "output exists": (["inbox.txt", "--out", "inbox.txt"], "inbox.txt exists: name another file"),
    "output in no folder": (["inbox.txt", "--out", "inbox.txt/out"], "cannot write inbox.txt/out"),
    "negative threshold": (["inbox.txt", "--threshold", "-1"], "threshold"),
    "no threads": (["inbox.txt", "--threads", "0"], "threads"),
}


@pytest.mark.parametrize(("arguments", "complaint"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path, inbox: Path, model: Path, arguments: list[str], complaint: str
) -> None:
    before = inbox.read_bytes()
    done = spam_infer(*arguments, "-q", cwd=tmp_path, env={"SPAM_EDGE_MODEL": str(model)})
    assert done.returncode == 2
    assert complaint in done.stderr.decode()
    assert done.stderr.startswith(b"spam-infer: ")
    assert done.stderr.count(b"\n") == 1
    assert done.stdout == b""
    assert [path.name for path in tmp_path.iterdir()] == ["inbox.txt"]
    assert inbox.read_bytes() == before


def test_what_was_classified_before_a_broken_row_is_written(tmp_path: Path, model: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"text": "one"}\n{"text": "two"}\nbroken\n')
    done = spam_infer(tmp_path / "m.jsonl", "--model", model, "--format", "jsonl")
    assert done.returncode == 2
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == ["one", "two"]
    assert b"row 3 is not JSON" in done.stderr


def test_a_failed_run_leaves_no_output_file(tmp_path: Path, model: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"text": "one"}\nbroken\n')
    assert spam_infer(tmp_path / "m.jsonl", "--model", model, "--out", tmp_path / "r.csv").returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["m.jsonl"]


def test_force_replaces_an_output(tmp_path: Path, inbox: Path, model: Path) -> None:
    (tmp_path / "r.jsonl").write_text("old")
    done = spam_infer(inbox, "--model", model, "--format", "jsonl", "--out", tmp_path / "r.jsonl", "--force")
    assert done.returncode == 0
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 4


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_line(inbox: Path, model: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*SPAM_INFER, inbox, "--model", model, "-q"], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert b"No space left on device" in done.stderr


def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path, model: Path) -> None:
    (tmp_path / "m.txt").write_text("hello\n" * 200_000)
    with subprocess.Popen(
        [*SPAM_INFER, tmp_path / "m.txt", "--model", model, "-q"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as command:
        assert command.stdout is not None
        command.stdout.readline()
        command.stdout.close()
        assert command.stderr is not None
        assert command.stderr.read() == b""
    assert command.returncode == 0


def test_interrupting_ends_it_quietly(model: Path) -> None:
    with subprocess.Popen(
        [*SPAM_INFER, "-", "--model", model, "-q"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # what runs in the background ignores it
    ) as command:
        assert command.stdin is not None
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdin.write(b"hello\n")
        command.stdin.flush()
        command.stdout.readline()
        command.send_signal(signal.SIGINT)
        assert command.stderr.read().strip() == b""
    assert command.returncode == 130


def test_a_live_pipe_is_answered_line_by_line(model: Path) -> None:
    with subprocess.Popen(
        [*SPAM_INFER, "-", "--model", model, "-q", "--format", "jsonl"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as command:
        assert command.stdin is not None
        assert command.stdout is not None
        for text in ("one", "two", "three"):
            command.stdin.write(text.encode() + b"\n")
            command.stdin.flush()
            assert json.loads(command.stdout.readline())["text"] == text
        command.stdin.close()
    assert command.returncode == 0


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system does not tell memory in /proc")
def test_memory_does_not_grow_with_the_input(model: Path) -> None:
    with subprocess.Popen(
        [*SPAM_INFER, "-", "--model", model, "-q"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as command:
        assert command.stdin is not None
        assert command.stdout is not None
        into = command.stdin

        def feed() -> None:
            for number in range(50_000):
                into.write(b"line %d of some words\n" % number)
            into.close()

        feeder = threading.Thread(target=feed)
        feeder.start()
        pages = []
        for number, _ in enumerate(command.stdout, 1):
            if number % 10_000 == 0 and number < 50_000:
                pages.append(int(Path(f"/proc/{command.pid}/statm").read_text().split()[1]))
        feeder.join()
    assert number == 50_000
    assert (max(pages) - pages[0]) * os.sysconf("SC_PAGE_SIZE") < 50e6


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_gets_colours_and_a_progress_bar_only_where_results_do_not_scroll(inbox: Path, model: Path) -> None:
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "60"}
    subprocess.run([*SPAM_INFER, inbox, "--model", model], stdout=theirs, stderr=theirs, env=env, check=True)
    shown = os.read(ours, 1 << 16)
    assert b"\x1b[31mspam" in shown
    assert "█".encode() in shown
    subprocess.run(
        [*SPAM_INFER, inbox, "--model", model], stdout=subprocess.DEVNULL, stderr=theirs, env=env, check=True
    )
    time.sleep(0.1)
    assert b"messages" in os.read(ours, 1 << 16)
    os.close(ours)
    os.close(theirs)


def test_help_explains_every_flag() -> None:
    done = spam_infer("--help", env={"COLUMNS": "200"})
    assert done.returncode == 0
    for flag in ("--model", "--format", "--out", "--whole", "--text-column", "--fail-on-spam", "--threads"):
        assert flag in done.stdout.decode()
