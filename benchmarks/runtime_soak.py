"""The long runs: a million lines through the command, 200,000 calls, 8 threads with 10,000 calls each.

    python benchmarks/runtime_soak.py [--model FILE] [--lines 1000000] [--calls 200000] [--threads 8] [--each 10000]

Says how resident memory grows, and checks that every answer is the same as the first one for its message. Linux only.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from machine import collection, machine, write_result

from runtime import SpamClassifier

SPAM_INFER = [sys.executable, "-c", "from runtime.cli import main; main()"]


def main() -> None:
    """Run all three and write ``results/runtime_soak.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="by default the shipped one")
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--calls", type=int, default=200_000)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--each", type=int, default=10_000)
    arguments = parser.parse_args()
    texts, _ = collection()
    result = {
        "lines": lines(arguments.model, texts, arguments.lines),
        "calls": calls(SpamClassifier(arguments.model, threads=1), texts, arguments.calls),
        "threads": threads(SpamClassifier(arguments.model), texts, arguments.threads, arguments.each),
    }
    print(write_result("runtime_soak", machine() | result).read_text())


def lines(model: str | None, texts: list[str], count: int) -> dict[str, float]:
    """``spam-infer -``: memory after 10,000 lines, and the most after that."""
    command = [*SPAM_INFER, "-", "--format", "jsonl", "-q", *(["--model", model] if model else [])]
    started = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        data = [text.encode() + b"\n" for text in texts]
        into = process.stdin

        def feed() -> None:
            for number in range(count):
                into.write(data[number % len(data)])
            into.close()

        feeder = threading.Thread(target=feed)
        feeder.start()
        early, most, answers = 0.0, 0.0, 0
        for _ in process.stdout:
            answers += 1
            if answers == 10_000:
                early = resident(process.pid)
            elif answers % 5_000 == 0 and answers > 10_000:
                most = max(most, resident(process.pid))
        feeder.join()
    assert process.returncode == 0
    assert answers == count
    seconds = time.perf_counter() - started
    return {
        "lines": count,
        "resident_mb_after_10000": early,
        "growth_mb": round(most - early, 1),
        "lines_per_second": round(count / seconds),
    }


def calls(classifier: SpamClassifier, texts: list[str], count: int) -> dict[str, float]:
    """One message a call: memory after a twentieth of the calls, and at the end."""
    expected = [classifier.verdict(text) for text in texts]
    early = 0.0
    for number in range(count):
        assert classifier.verdict(texts[number % len(texts)]) == expected[number % len(texts)]
        if number == count // 20:
            early = resident(os.getpid())
    return {
        "calls": count,
        "resident_mb_early": early,
        "growth_mb": round(resident(os.getpid()) - early, 1),
    }


def threads(classifier: SpamClassifier, texts: list[str], count: int, each: int) -> dict[str, int]:
    """Many threads on one classifier, each in its own order; counts answers that differ."""
    expected = [classifier.verdict(text) for text in texts]

    def work(seed: int) -> int:
        steps = ((seed * 7919 + number * (2 * seed + 1)) % len(texts) for number in range(each))
        return sum(classifier.verdict(texts[at]) != expected[at] for at in steps)

    with ThreadPoolExecutor(count) as pool:
        different = sum(pool.map(work, range(count)))
    assert different == 0
    return {"threads": count, "calls_each": each, "answers_that_differ": different}


def resident(process: int) -> float:
    """Megabytes of a process that are in memory."""
    return round(int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


if __name__ == "__main__":
    main()
