"""How speed and memory scale: with the number of messages, with their length, and with the batch budget.

    python benchmarks/scaling.py [--model SMALL.onnx] [--rounds 2] [--threads 2] [--full] [--large FILE ...]

The small model (by default the shipped one, else artifacts/spam.onnx) beside scikit-learn's word and character TF-IDF
with a linear SVM, all messages at once and 1,024 at a time. Text to labels; messages are drawn from the SMS Spam
Collection with replacement. Every contestant has a process of its own, bound to as many CPUs as threads are asked for,
and they take turns. Memory is the most that the process had while it classified, its libraries and model included. The
peak is counted anew after the SVM was fitted, so that fitting is not in it. About 5 minutes; 10 more with --full, which
adds 1,000,000 messages, once. --large adds files of 124M, each alone, once for each of --large-counts; a million take
an hour in int8 and three in fp32. --only-large adds them to what an earlier call has measured. Linux only.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from machine import collection, machine, read_result, write_result
from processes import answer, ask, bind, forget_peak, memory, ratios, spread

OURS = "ours"
CHUNK = 1024
CONTESTANTS = (OURS, "TF-IDF and linear SVM, at once", f"TF-IDF and linear SVM, {CHUNK:,} at a time")
COUNTS = (1_000, 10_000, 100_000)
FULL = 1_000_000
CHARACTERS = (50, 200, 1_000, 4_000, 16_000)
"""Lengths of messages. Longer ones than the context of 1,024 tokens, some 4,000 characters, are cut by the model."""
TOTAL_CHARACTERS = 400_000
"""Of all messages of one length together."""
BUDGETS = (64, 256, 1024, 4096, 16384)


def main() -> None:
    """Measure everything and write ``results/scaling.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--full", action="store_true", help=f"{FULL:,} messages too, once")
    parser.add_argument("--large", nargs="*", type=Path, default=[], help="files of 124M")
    parser.add_argument("--large-counts", nargs="*", type=int, default=COUNTS[:2], help="messages for those")
    parser.add_argument("--only-large", action="store_true", help="those alone; the rest stays as it was measured")
    parser.add_argument("--quick", action="store_true", help="see whether it works: little of everything")
    arguments = parser.parse_args()
    bind(arguments.threads)
    settings = {"model": str(arguments.model or small_model()), "threads": arguments.threads}
    result = read_result("scaling") if arguments.only_large else small(settings, arguments)
    for file in arguments.large:
        of = result["large"].setdefault(file.stem, {})
        for count in arguments.large_counts:
            of[str(count)] = ask(__file__, settings | {"contestant": OURS, "model": str(file), "count": count})
            print(file.stem, count, of[str(count)], flush=True)
    write_result("scaling", result | machine())


def small(settings: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """All that is measured of the small model and the SVM."""
    counts, total = ((100, 300), 40_000) if arguments.quick else (COUNTS, TOTAL_CHARACTERS)
    by_count = compared(settings, {str(count): {"count": count} for count in counts}, arguments.rounds)
    if arguments.full:
        by_count |= compared(settings, {str(FULL): {"count": FULL}}, 1)
    equal = {str(length): {"count": total // length, "characters": length} for length in CHARACTERS}
    by_length = compared(settings, equal, arguments.rounds)
    budgets = {
        workload: {
            str(budget): figures(
                [
                    ask(__file__, settings | request | {"contestant": OURS, "budget": budget})
                    for _ in range(arguments.rounds)
                ]
            )
            for budget in BUDGETS
        }
        for workload, request in {
            "the collection's": {"count": min(counts[1], 5_000)},
            "16,000 characters each": {"count": total // 16_000, "characters": 16_000},
        }.items()
    }
    return {
        "model": Path(settings["model"]).name,
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "messages": by_count,
        "characters": by_length,
        "max_batch_tokens": budgets,
        "large": {},
    }


def small_model() -> Path:
    """The shipped model, or where there is none yet, what the demo made."""
    from runtime.model_file import SHIPPED, find_model

    return SHIPPED if SHIPPED.is_file() else find_model(Path(__file__).parents[1])


def compared(settings: dict[str, Any], workloads: dict[str, dict[str, int]], rounds: int) -> dict[str, Any]:
    """For each workload what every contestant does, and ratios to ours within a round."""
    found = {}
    for workload, request in workloads.items():
        turns = [
            {name: ask(__file__, settings | request | {"contestant": name}) for name in CONTESTANTS}
            for _ in range(rounds)
        ]
        speeds = [{name: one["messages_per_second"] for name, one in turn.items()} for turn in turns]
        found[workload] = {name: figures([turn[name] for turn in turns]) for name in CONTESTANTS}
        print(workload, {name: one["messages_per_second"] for name, one in found[workload].items()}, flush=True)
        found[workload]["speed_of_ours"] = ratios([{n: 1 / v for n, v in one.items()} for one in speeds], [OURS])[OURS]
    return found


def figures(turns: list[dict[str, float]]) -> dict[str, Any]:
    """Median and spread of what turns measured."""
    return {name: spread([turn[name] for turn in turns]) for name in turns[0]}


def serve(
    contestant: str, model: str, threads: int, count: int, characters: int = 0, budget: int | None = None
) -> dict[str, float]:
    """A turn: messages a second and the peak of memory."""
    texts, _ = collection()
    classify: Callable[[Iterable[str]], Iterable[object]]
    if contestant == OURS:
        from runtime import SpamClassifier

        classify = SpamClassifier(model, threads=threads, **({"max_batch_tokens": budget} if budget else {})).stream
    else:
        from runtime_throughput import SVM, fitted

        predict = fitted(SVM).predict
        classify = chunked(predict) if "at a time" in contestant else lambda messages: predict(list(messages))
    for _ in classify(texts[:CHUNK]):
        pass
    forget_peak()
    start = time.perf_counter()
    answers = sum(1 for _ in classify(messages(texts, count, characters)))
    seconds = time.perf_counter() - start
    assert answers == count
    return {"messages_per_second": count / seconds, "peak_mb": memory("VmHWM")}


def messages(texts: list[str], count: int, characters: int) -> Iterator[str]:
    """Messages drawn from the collection, or drawn ones joined to messages of one length."""
    draw = random.Random(0)
    for _ in range(count):
        text = draw.choice(texts)
        while len(text) < characters:
            text += " " + draw.choice(texts)
        yield text[:characters] if characters else text


def chunked(predict: Callable[[list[str]], Iterable[object]]) -> Callable[[Iterable[str]], Iterator[object]]:
    """A bounded number of messages at a time."""

    def classify(source: Iterable[str]) -> Iterator[object]:
        source = iter(source)
        while chunk := list(itertools.islice(source, CHUNK)):
            yield from predict(chunk)

    return classify


if __name__ == "__main__" and not answer(serve):
    sys.exit(main())
