"""How well spam is told from ham: the shipped model and nano beside what a user would train first.

    python benchmarks/quality.py --part NAME ... [--sets NAME ...] [--contestants NAME ...] [--seeds N] [--processes 2]

Every figure is a row of ``results/quality.jsonl``: contestant, set, protocol, split, figure, value and 95% interval.
A call adds to what was measured before, and measures anew what it measures again. The protocols:

- itself: each set, 70% to train on and 30% to test on, near repeats on one side;
- unseen: sets that the shipped model has not seen, all of them; the others train on all that it may train on;
- left-out: the same training without mail, comments or SMS, or without some themes or languages, which are the test;
- disguises: trained on the SMS Spam Collection and the written messages; messages held out, as they are and disguised;
- size: trained on so many of the same, tested on the same;
- natural: the collection without exact repeats, 80% and 20%; ``sms + datasets`` trains on all of datasets/ as well;
- chapter: as many ham as spam of the collection, 1,045 to train on, 149 to validate on, 300 to test on.

All contestants get the same messages, cut to 3,000 characters. Each one calibrates its scores on its training messages
and chooses there the threshold that 1% of ham reaches, by cross-validation; nano, with 2,000 ham or more, on an eighth
that it does not learn from; the shipped model stays as it ships. Scores are kept in
``artifacts/benchmarks/quality``, so that contestants measured in different calls are compared message by message.
Sets that are not there are left out. fastText is `pip install fasttext-community`, Facebook's code kept installable.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import os
import random
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from contestants import CONTESTANTS, LINEAR
from evasions import disguises
from machine import RESULTS, collection, machine, read_result, write_result
from sets import KEPT, ONE_CLASS, SETS, TRANSLATED, Frame, groups, held_out, load, pool, present, unknown

from trainer.evaluation.labelled import Messages, split
from trainer.evaluation.metrics import Curve, Scores, measure, recall_at
from trainer.evaluation.protocols import grouped_split

ROWS = RESULTS / "quality.jsonl"
SIZES = ("1000", "2000", "4000", "8000", "16000", "all")
"""Of training messages."""
HELD_OUT = "written, held out"
FEWEST = 30
"""Messages of a language, channel or theme that has figures of its own."""
DISGUISED = 600
"""Messages that are put into each disguise."""
RESAMPLES = 300
"""Of the paired bootstrap."""

# --- protocols ------------------------------------------------------------------------------------------------------

Case = tuple[Frame, dict[str, Frame]]
"""What to train on, and test sets by name."""


def itself(key: str, seed: int) -> Case:
    """70% of a set, and the rest."""
    frame = load(key)
    part = grouped_split(frame.label, groups(key), (0.7, 0.3), seed)
    return frame[part == 0], {key: frame[part == 1]}


def unseen(key: str, seed: int) -> Case:
    """Everything that may train, and everything that may not."""
    train = pool(*present(True))
    tests = {name: load(name) for name in present(False)} | {HELD_OUT: held_out()}
    return train, {name: unknown(test, train) for name, test in tests.items() if len(test)}


def left_out(key: str, seed: int) -> Case:
    """Everything that may train but for a channel, some themes or some languages, and those."""
    frame = pool(*present(True))
    if key in ("mail", "comment", "sms"):
        missing = frame.channel == key
        train = frame[~missing]
        found = frame[missing].groupby("set", sort=False)
        return train, {f"{key}: {name}": unknown(tested, train) for name, tested in found}
    test = held_out({"themes": "held-out-theme", "languages": "held-out-language"}[key])
    column = key.removesuffix("s")
    missing = frame.part == "held-out-theme" if key == "themes" else frame[column].isin(set(test[column]))
    return frame[~missing], {key: test}


def written_pool() -> Frame:
    """The collection and the written messages."""
    return pool(*(name for name in ("sms", "written") if name in present()))


def disguised(key: str, seed: int) -> Case:
    """Some short held-out messages as they are and in each disguise: a styled letter is several tokens."""
    test = held_out()
    test = test[test.text.str.len() <= 300].sample(frac=1, random_state=seed)[:DISGUISED]
    tests = {"as it is": test}
    for name, disguise in disguises().items():
        draw = random.Random(f"{name} {seed}")
        tests[name] = test.assign(text=[disguise(text, draw) for text in test.text])
    return written_pool(), tests


def by_size(key: str, seed: int) -> Case:
    """So many messages with the same share of spam; each size holds the smaller ones."""
    train = written_pool().sample(frac=1, random_state=seed)
    return train if key == "all" else train[: int(key)], {key: held_out()}


def natural(key: str, seed: int) -> Case:
    """A random 80% of the collection, or that and everything that may train, and the other 20%."""
    from sklearn.model_selection import train_test_split

    frame = load("sms")
    train, test = train_test_split(frame, test_size=0.2, random_state=seed, stratify=frame.label)
    if key != "sms":
        others = pool(*(name for name in present(True) if name not in ("sms", *TRANSLATED)))
        train = pd.concat([train, others[~others.text.isin(frame.text)]])
    return train, {key: test}


def chapter(key: str, seed: int) -> Case:
    """The balanced splits of the original recipe, repeats and all; validation messages are among those to train on."""
    parts = split(Messages(*map(tuple, collection())), seed)
    train, test, unused = (
        pd.DataFrame({"text": part.texts, "label": part.labels, "theme": "", "set": "sms"})
        for part in (parts.train.followed_by(parts.validation), parts.test, parts.unused_ham)
    )
    return train, {key: test, "sms, unused ham": unused}


class Part(NamedTuple):
    """A protocol."""

    case: Callable[[str, int], Case]
    names: Callable[[], Sequence[str]]
    seeds: int
    shipped: bool = False
    """Whether the shipped model takes part: where it has not seen the test messages."""
    columns: Sequence[str] = ()
    """By whose values the test messages have figures too."""


def needs(source: str, *names: str) -> Callable[[], Sequence[str]]:
    """Names, where a set is there that all of them need."""
    return lambda: names if source in present() else ()


PARTS = {
    "itself": Part(itself, lambda: [name for name in present() if name not in ONE_CLASS], 3),
    "unseen": Part(unseen, lambda: ["all"], 1, True, ("language", "channel", "theme")),
    "left-out": Part(left_out, needs("written", "mail", "comment", "sms", "themes", "languages"), 1),
    "disguises": Part(disguised, needs("written", "all"), 1, True),
    "size": Part(by_size, needs("written", *SIZES), 3),
    "natural": Part(natural, needs("sms", "sms", "sms + datasets"), 20),
    "chapter": Part(chapter, needs("sms", "sms"), 5),
}

# --- rows -----------------------------------------------------------------------------------------------------------

KEY = ("contestant", "set", "protocol", "split", "figure")
Row = dict[str, Any]
"""`KEY`, value, and low and high where the figure has an interval."""
OF_BOTH = ("f1", "roc_auc", recall_at(0.005), recall_at(0.02))
"""Figures of sets with both classes."""


def figures(labels: np.ndarray, scores: Scores, threshold: float) -> list[Row]:
    """What a contestant is worth on a set; of a set with one class what can be said of that."""
    found = measure(labels, scores, threshold)
    half = measure(labels, scores, 0.5, intervals=False)
    names = ["expected_calibration_error"]
    names += ["recall"] if labels.any() else []
    names += ["false_positive_rate"] if not labels.all() else []
    names += OF_BOTH if len(names) == 3 else []
    rows = [{"figure": name, "value": found[name], **_interval(found["intervals"].get(name))} for name in names]
    rows += [{"figure": "messages", "value": len(labels)}, {"figure": "accuracy_at_half", "value": half["accuracy"]}]
    return rows + ([{"figure": "f1_at_half", "value": half["f1"]}] if len(names) > 3 else [])


def _interval(edges: Sequence[float] | None) -> Row:
    return {"low": edges[0], "high": edges[1]} if edges else {}


def differences(labels: np.ndarray, ours: tuple[Scores, float], theirs: tuple[Scores, float]) -> list[Row]:
    """Figures of one less those of another, on the same messages, drawn again and again (paired bootstrap).

    Args:
        labels: 1 for spam, (messages,).
        ours: Scores (messages,) and threshold of the one,
        theirs: and of the other.
    """
    draw, count = np.random.default_rng(0), len(labels)
    curves = [(Curve(labels, scores), scores >= threshold) for scores, threshold in (ours, theirs)]

    def difference(times: np.ndarray) -> list[float]:
        one, other = (
            curve.figures(times) | {"f1": 2 * (times * called * labels).sum() / (times * (called + labels)).sum()}
            for curve, called in curves
        )
        return [one[name] - other[name] for name in OF_BOTH]

    middle = difference(np.ones(count))
    drawn = [np.bincount(draw.integers(0, count, count), minlength=count).astype(float) for _ in range(RESAMPLES)]
    edges = np.percentile([difference(times) for times in drawn], [2.5, 97.5], axis=0).T.tolist()
    return [
        {"figure": f"{name} over the best linear model", "value": value, **_interval(pair)}
        for name, value, pair in zip(OF_BOTH, middle, edges, strict=True)
    ]


class Job(NamedTuple):
    """A contestant that is fitted once."""

    protocol: str
    key: str
    seed: int
    contestant: str
    sets: Sequence[str]


def run(job: Job) -> list[Row]:
    """Fit and measure, and keep the scores."""
    import torch

    torch.set_num_threads(1)
    part = PARTS[job.protocol]
    train, tests = part.case(job.key, job.seed)
    wanted = {name: test for name, test in tests.items() if not job.sets or {job.key, name} & set(job.sets)}
    if not wanted:
        return []
    fitted = CONTESTANTS[job.contestant](train.reset_index(drop=True), job.seed)
    rows: list[Row] = []
    for name, test in wanted.items():
        labels, scores = test.label.to_numpy(), fitted.score(test.text.tolist())
        kept = {"labels": labels, "scores": scores, "threshold": fitted.threshold}
        path = scores_file(job.protocol, name, job.seed, job.contestant)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **kept)
        chosen = {name: np.ones(len(test), bool)} | {
            f"{column} {value}": (test[column] == value).to_numpy()
            for column in part.columns
            for value, count in test[column].value_counts().items()
            if name == HELD_OUT and value and count >= FEWEST
        }
        for label, places in chosen.items():
            about = {"contestant": job.contestant, "set": label, "protocol": job.protocol, "split": job.seed}
            rows += [about | row for row in figures(labels[places], scores[places], fitted.threshold)]
    return rows


def scores_file(protocol: str, name: str, seed: int, contestant: str) -> Path:
    """Where the scores of a set are kept."""
    return KEPT / protocol / f"{name} {seed}".replace(":", "") / f"{contestant}.npz"


def compare(protocol: str, name: str, seed: int, rows: Mapping[tuple[Any, ...], Row]) -> list[Row]:
    """The differences of all to the linear model with the best F1, where all three were measured on both classes."""
    files = {contestant: scores_file(protocol, name, seed, contestant) for contestant in CONTESTANTS}
    kept = {contestant: np.load(path) for contestant, path in files.items() if path.is_file()}
    f1 = {peer: rows.get((peer, name, protocol, seed, "f1"), {}).get("value") for peer in LINEAR if peer in kept}
    if len(f1) < len(LINEAR) or None in f1.values():
        return []
    best = kept[max(f1, key=f1.__getitem__)]
    return [
        {"contestant": contestant, "set": name, "protocol": protocol, "split": seed, **row}
        for contestant, of in kept.items()
        if contestant not in LINEAR and np.array_equal(of["labels"], best["labels"])
        for row in differences(best["labels"], *((one["scores"], float(one["threshold"])) for one in (of, best)))
    ]


def read_rows(path: Path = ROWS) -> dict[tuple[Any, ...], Row]:
    """All rows by what they are about."""
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines() if path.is_file() else ())
    return {tuple(row[name] for name in KEY): row for row in rows}


def add_rows(rows: Iterable[Row], path: Path = ROWS) -> dict[tuple[Any, ...], Row]:
    """Add to the rows of a file, in place of those about the same; gives all of them."""
    every = read_rows(path)
    for row in rows:
        row = {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in row.items()}
        every[tuple(row[name] for name in KEY)] = row
    known = {
        name: list(of) for name, of in {"protocol": PARTS, "set": [*SETS, *SIZES], "contestant": CONTESTANTS}.items()
    }

    def place(row: Row) -> list[int]:
        return [of.index(row[name]) if row[name] in of else len(of) for name, of in known.items()] + [row["split"]]

    lines = (f"{json.dumps(row)}\n" for row in sorted(every.values(), key=place))
    path.write_text("".join(lines), encoding="utf-8")
    return every


def add_command(protocol: str) -> None:
    """Say by which commands and where a protocol was measured."""
    about = read_result("quality")
    commands = [*about.get(protocol, {}).get("commands", []), f"quality.py {shlex.join(sys.argv[1:])}".strip()]
    write_result("quality", about | {protocol: {"commands": [*dict.fromkeys(commands)], **machine()}})


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--sets", nargs="+", default=[], help="names of sets, sizes or what is left out; others stay")
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--seeds", type=int, help="number of splits")
    parser.add_argument("--first", type=int, default=0, help="go on with this split, from 0")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    for name in SETS.keys() - set(present()):
        print(f"{name} is left out: there is no {SETS[name].path}")
    if not importlib.util.find_spec("fasttext") and "fastText" in arguments.contestants:
        print("fastText is left out: pip install fasttext-community")
        arguments.contestants.remove("fastText")
    os.environ["OMP_NUM_THREADS"] = "1"
    jobs = [
        Job(protocol, key, seed, contestant, arguments.sets)
        for protocol in arguments.part
        for part in [PARTS[protocol]]
        for key in part.names()
        if key in arguments.sets or not arguments.sets or len(part.names()) == 1
        for seed in range(arguments.first, arguments.seeds or part.seeds)
        for contestant in arguments.contestants
        if part.shipped or contestant != "shipped" or (protocol == "itself" and not SETS[key].may_train)
    ]
    measured = set()
    with multiprocessing.get_context("spawn").Pool(arguments.processes, maxtasksperchild=20) as workers:
        for place, rows in enumerate(workers.imap_unordered(run, jobs), 1):
            for row in rows[:1]:
                add_command(row["protocol"])
                print(f"{place} of {len(jobs)}: {row['protocol']}, {row['set']}, {row['contestant']}", flush=True)
            every = add_rows(rows)
            measured |= {(row["protocol"], row["set"], row["split"]) for row in rows}
        compared = workers.starmap(compare, [(*one, every) for one in sorted(measured)])
    add_rows(row for rows in compared for row in rows)


if __name__ == "__main__":
    main()
