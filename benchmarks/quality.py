"""How well spam is told from ham: nano beside what a user would train first, over random splits, with evasions.

    python benchmarks/quality.py [--part natural balanced curve] [--splits 10] [--processes 2] [--only NAME ...]

The SMS Spam Collection without exact repeats, 80% to learn from and 20% to be judged on, with the same share of spam.
natural: all of it. balanced: as much ham as spam, drawn anew for every split. curve: 50 to 4,000 messages of the
natural 80%, judged on the same 20%. Recall is taken on the test spam as it is and respelled (`evasions.py`). Every
model has the same messages; nano keeps an eighth of them back for calibration, as `spam-train` does. Each fit
has one thread. A natural fit of nano takes some 40 s, of the shipped recipe minutes, of a peer 2 s; a curve twice that,
a balanced fit a quarter. --only adds models to what an earlier call with as many splits has measured.

fastText is `pip install fasttext-community`, Facebook's code kept installable; without it that row is left out.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from evasions import EVASIONS, evaded
from machine import ROOT, collection, machine, read_result, write_result
from runtime_throughput import BAYES, LOGISTIC, SVM, pipeline

Scores = np.ndarray
"""Of each message, higher for spam."""


@dataclass(frozen=True)
class Judge:
    """A fitted model."""

    score: Callable[[Sequence[str]], Scores]
    threshold: float = 0.5
    """Score from which on a message is spam."""
    probabilities: bool = True
    """Whether scores are made to be probabilities."""


Fit = Callable[[Sequence[str], Sequence[int], int], Judge]
"""Learns from texts, their labels (1 for spam) and a seed."""

SIZES = (50, 100, 200, 500, 1000, 2000, 4000)
KEPT_BACK = 8
"""Of our training messages every so many-th is for calibration only."""


def scikit_learn(kind: str) -> Fit:
    """One of the pipelines that are measured in bulk."""

    def fit(texts: Sequence[str], labels: Sequence[int], seed: int) -> Judge:
        fitted = pipeline(kind, seed).fit(texts, labels)
        if not hasattr(fitted, "predict_proba"):
            return Judge(fitted.decision_function, 0.0, probabilities=False)
        return Judge(lambda others: fitted.predict_proba(others)[:, 1])

    return fit


def fasttext(texts: Sequence[str], labels: Sequence[int], seed: int) -> Judge:
    """Words, pairs of words and 2 to 5 characters, trained as its tutorial ends up."""
    import fasttext as library

    def flat(text: str) -> str:
        return " ".join(text.split())

    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "train.txt"
        lines = [f"__label__{label} {flat(text)}\n" for text, label in zip(texts, labels, strict=True)]
        data.write_text("".join(lines), encoding="utf-8")
        model = library.train_supervised(
            str(data), lr=0.5, epoch=25, wordNgrams=2, minn=2, maxn=5, dim=50, bucket=200_000, thread=1, seed=seed,
            verbose=0,
        )  # fmt: skip

    def score(others: Sequence[str]) -> Scores:
        found, chances = model.predict([flat(text) for text in others], k=2)
        pairs = zip(found, chances, strict=True)
        return np.array([dict(zip(*pair, strict=True)).get("__label__1", 0.0) for pair in pairs])

    return Judge(score)


def ours(calibrated: bool = True, **recipe: Any) -> Fit:
    """What spam-train makes of a recipe; without calibration it learns from all messages, as its peers do."""

    def fit(texts: Sequence[str], labels: Sequence[int], seed: int) -> Judge:
        from runtime.scores import spam_scores
        from trainer.data import tokenize
        from trainer.evaluation.labelled import Messages
        from trainer.evaluation.metrics import fit_temperature
        from trainer.fine_tune import classify_tokens
        from trainer.pipeline import learn, make_accelerator
        from trainer.recipe import make_recipe

        chosen = make_recipe(balance="none", seed=seed, **recipe)
        messages, spec = Messages(tuple(texts), tuple(labels)), description()
        places = range(len(texts))
        back = messages.take(place for place in places if place % KEPT_BACK == 0)
        train = messages.take(place for place in places if place % KEPT_BACK) if calibrated else messages
        model, outcome = learn(chosen, spec, train, back, accelerator=make_accelerator("cpu"))
        temperature = fit_temperature(outcome.validation_logits, back.labels) if calibrated else 1.0
        return Judge(
            lambda others: spam_scores(classify_tokens(model, tokenize(others, spec)), temperature), chosen.threshold
        )

    return fit


def description() -> Any:
    """What a classifier of ours is, weights aside."""
    from runtime.spec import ClassifierSpec

    return ClassifierSpec(labels=("ham", "spam"), spam_label="spam", base_model="nano")


CONTESTANTS: dict[str, Fit] = {
    "nano": ours(model="nano"),
    "shipped": ours(calibrated=False, config=ROOT / "recipes" / "shipped.toml"),
    **{name: scikit_learn(name) for name in (SVM, LOGISTIC, BAYES)},
    "fastText": fasttext,
}


def main() -> None:
    """Fit and judge all, and write ``results/quality_PART.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", nargs="*", help="names of models; others keep what they have")
    arguments = parser.parse_args()
    names = [name for name in CONTESTANTS if not arguments.only or name in arguments.only]
    if not importlib.util.find_spec("fasttext") and "fastText" in names:
        print("fastText is left out: pip install fasttext-community")
        names.remove("fastText")
    os.environ["OMP_NUM_THREADS"] = "1"
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        for part in arguments.part:
            models = earlier(part, arguments.splits)
            for name in names:
                models[name] = fitted(pool, part, name, arguments.splits)
                order = [known for known in CONTESTANTS if known in models]
                result = {"splits": arguments.splits, "models": {known: models[known] for known in order}}
                write_result(f"quality_{part}", result | machine())


def earlier(part: str, splits: int) -> dict[str, Any]:
    """Models that an earlier call measured on the same splits: those of this call are put beside them."""
    kept = read_result(f"quality_{part}")
    return kept["models"] if kept.get("splits") == splits else {}


def fitted(pool: Any, part: str, name: str, splits: int) -> Any:
    """A model's figures of each split; for the curve, of each split for each size."""
    sizes = SIZES[::-1] if part == "curve" else (0,)
    jobs = [(part, name, split, size) for size in sizes for split in range(splits)]
    found = dict(zip(jobs, pool.starmap(one, jobs, chunksize=1), strict=True))
    of_size = {str(size): [found[part, name, split, size] for split in range(splits)] for size in sorted(sizes)}
    means = {size: round(float(np.mean([run["f1"] for run in runs])), 4) for size, runs in of_size.items()}
    print(part, name, "F1", means, flush=True)
    return of_size if part == "curve" else of_size["0"]


def one(part: str, name: str, split: int, size: int) -> dict[str, Any]:
    """One fit, and what it is worth on the test messages of its split."""
    import torch

    torch.set_num_threads(1)
    train, test = PARTS[part](split)
    if size:
        train = drawn(train, size, split)
    judge = CONTESTANTS[name](*zip(*train, strict=True), split)
    return judged(judge, *zip(*test, strict=True), split, evade=part == "natural")


Labelled = list[tuple[str, int]]


@functools.cache
def unique() -> Labelled:
    """The collection without exact repeats, in file order."""
    return list(dict(zip(*collection(), strict=True)).items())


def natural(split: int) -> tuple[Labelled, Labelled]:
    """80% and 20% of all messages, with the same share of spam."""
    return parted(unique(), split)


def balanced(split: int) -> tuple[Labelled, Labelled]:
    """80% and 20% of all spam and as much ham."""
    spam = [message for message in unique() if message[1]]
    ham = [message for message in unique() if not message[1]]
    chosen = np.random.default_rng(split).permutation(len(ham))[: len(spam)]
    return parted(spam + [ham[place] for place in chosen], split)


def parted(messages: Labelled, split: int) -> tuple[Labelled, Labelled]:
    """A random 80% and the rest."""
    from sklearn.model_selection import train_test_split

    labels = [label for _, label in messages]
    train, test = train_test_split(messages, test_size=0.2, random_state=split, stratify=labels)
    return train, test


def drawn(messages: Labelled, size: int, split: int) -> Labelled:
    """So many of the messages, with the same share of spam; each size holds the smaller ones."""
    draw = np.random.default_rng(split)
    spam, ham = ([message for message in messages if message[1] == label] for label in (1, 0))
    spam, ham = ([side[place] for place in draw.permutation(len(side))] for side in (spam, ham))
    count = max(2, round(size * len(spam) / len(messages)))
    chosen = spam[:count] + ham[: size - count]
    return [chosen[place] for place in draw.permutation(len(chosen))]


PARTS = {"natural": natural, "balanced": balanced, "curve": natural}


def judged(judge: Judge, texts: Sequence[str], labels: Sequence[int], split: int, *, evade: bool) -> dict[str, Any]:
    """Figures of the test messages, and recall of the spam under each evasion."""
    from trainer.evaluation.metrics import calibration_error, measure

    scores = judge.score(texts)
    figures = measure(labels, scores, judge.threshold, intervals=False)
    found = {name: figures[name] for name in ("accuracy", "f1", "false_positive_rate", "recall", "roc_auc")}
    if judge.probabilities:
        found["calibration_error"] = calibration_error(labels, scores)
    if evade:
        spam = [text for text, label in zip(texts, labels, strict=True) if label]
        found["recall_under"] = {
            name: float(np.mean(judge.score(evaded(spam, name, split)) >= judge.threshold)) for name in EVASIONS
        }
    return found


if __name__ == "__main__":
    main()
