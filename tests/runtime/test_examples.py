import asyncio
import csv
import json
import os
import smtplib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from multiprocessing.connection import Listener
from pathlib import Path

import pytest

from runtime import SpamClassifier

EXAMPLES = Path(__file__).parents[2] / "examples"
TEXTS = ["WIN a prize now", "see you at six", "hello", "ok", "free money", "lunch?"]


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(*command: str | Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program of the examples, ended with the test."""
    env = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent), **environment}
    with subprocess.Popen([sys.executable, *map(str, command)], cwd=EXAMPLES, env=env) as process:
        try:
            yield process
        finally:
            process.terminate()


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail("the program does not listen")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 40


def test_the_web_service_answers_many_clients(model: Path, classifier: SpamClassifier) -> None:
    httpx = pytest.importorskip("httpx")
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    port = free_port()
    expected = [
        {"label": v.label, "score": v.score, "truncated": v.truncated, "tokens": v.tokens}
        for v in classifier.verdicts(TEXTS)
    ]

    async def ask() -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            answers = await asyncio.gather(*(client.post("/classify", json={"messages": TEXTS}) for _ in range(20)))
            assert all(answer.json() == expected for answer in answers)
            wrong = await client.post("/classify", json={"messages": ["fine", None]})
            assert wrong.status_code == 422

    with running(
        "-m", "uvicorn", "fastapi_app:app", "--port", str(port), "--log-level", "warning", SPAM_EDGE_MODEL=str(model)
    ):
        wait_for(port)
        asyncio.run(ask())


def test_the_mail_filter_refuses_spam_and_passes_the_rest_on(model: Path, classifier: SpamClassifier) -> None:
    controller = pytest.importorskip("aiosmtpd.controller")
    arrived: list[bytes] = []

    class Sink:
        async def handle_DATA(self, server: object, session: object, envelope: object) -> str:  # noqa: N802
            arrived.append(envelope.content)  # type: ignore[attr-defined]
            return "250 ok"

    port, sink_port = free_port(), free_port()
    sink = controller.Controller(Sink(), hostname="127.0.0.1", port=sink_port)
    sink.start()
    refused = []
    try:
        with running("smtp_filter.py", f"127.0.0.1:{port}", f"127.0.0.1:{sink_port}", model):
            wait_for(port)
            for text in TEXTS:
                with smtplib.SMTP("127.0.0.1", port) as client:
                    try:
                        client.sendmail("a@example.org", ["b@example.org"], f"Subject: note\r\n\r\n{text}\r\n")
                    except smtplib.SMTPDataError as error:
                        assert error.smtp_code == 550
                        refused.append(text)
    finally:
        sink.stop()
    spam = [text for text in TEXTS if classifier.verdict(f"note\n{text}").label == "spam"]
    assert 0 < len(spam) < len(TEXTS)
    assert refused == spam
    assert [mail.decode().splitlines()[2] for mail in arrived] == [text for text in TEXTS if text not in spam]


def test_the_data_frame_gets_its_columns(tmp_path: Path, model: Path, classifier: SpamClassifier) -> None:
    pytest.importorskip("pandas")
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    with source.open("w", newline="") as file:
        csv.writer(file).writerows([["id", "text"], *([n, text] for n, text in enumerate(TEXTS)), [9, ""]])
    with running("pandas_column.py", source, target, model) as process:
        assert process.wait(60) == 0
    with target.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["text"], row["verdict"]) for row in rows] == [
        (text, classifier.verdict(text).label) for text in [*TEXTS, ""]
    ]


def test_the_queue_worker_answers_every_job(model: Path, classifier: SpamClassifier) -> None:
    with (
        Listener(("127.0.0.1", 0)) as listener,
        running("queue_worker.py", f"127.0.0.1:{listener.address[1]}", model) as process,
    ):
        queue = listener.accept()
        jobs = [{"id": n, "text": f"{TEXTS[n % len(TEXTS)]} {n}"} for n in range(500)]
        sender = threading.Thread(target=lambda: [queue.send_bytes(json.dumps(job).encode()) for job in jobs])
        sender.start()
        answers = [json.loads(queue.recv_bytes()) for _ in jobs]
        sender.join()
        queue.close()
        assert process.wait(60) == 0
    verdicts = classifier.verdicts(str(job["text"]) for job in jobs)
    assert [(answer["id"], answer["label"]) for answer in answers] == [(n, v.label) for n, v in enumerate(verdicts)]
    assert [answer["score"] for answer in answers] == pytest.approx([v.score for v in verdicts], abs=1e-5)
