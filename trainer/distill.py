"""Several teachers taught to one model: more messages than there are, judged by models that err in different ways.

The teachers are small GPT-2s from different random weights and two linear models of n-grams; their mean judgement of
messages remixed from the training messages is what the student learns, beside the training messages (Hinton et al.
2015, "Distilling the Knowledge in a Neural Network"; Bucila et al. 2006, "Model Compression", for the made-up data).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.labelled import Messages

LogOdds = NDArray[np.float64]
"""Of messages being spam, (messages,)."""
Judge = Callable[[Sequence[str]], LogOdds]
"""What a fitted model says of messages."""

TEACHERS = 3
"""Small GPT-2s among the teachers."""
TEACHER: dict[str, Any] = {"batch_size": 32, "augment": 0.5, "disguise": 0.0, "wide": 0}
"""What they are trained with besides nano's defaults. Only the student sees disguises, and copes with them better; a
wide path would only scale a teacher's logits down."""
LINEAR_SHARE = 0.5
"""Weight of the linear models in the mean."""
CERTAINTY = 8.0
"""Largest log-odds of a linear model, whose own know no bounds."""
CERTAIN = 0.985
"""What the student is told of the label of a training message."""
SPAM_SHARE = 0.3
"""Share of the remixed messages that begin from spam."""
LONGEST = 400
"""Characters of a remixed message."""


def remix(messages: Messages, count: int, seed: int, epoch: int = 0) -> list[str]:
    """New messages from pieces of others: runs of words joined, walks from message to message over shared words, and
    messages with words lost and words of others put in. Other ones in every epoch: a student that meets the same ones
    again learns them by heart."""
    draw = random.Random(f"remix {seed} {epoch}")
    words = [re.findall(r"\S+\s*", text) for text in messages.texts]
    by_label = [[i for i, label in enumerate(messages.labels) if label == which] for which in (0, 1)]
    following: dict[str, list[tuple[int, int]]] = {}
    for i, message in enumerate(words):
        for place, word in enumerate(message[:-1]):
            following.setdefault(word.strip().lower(), []).append((i, place + 1))

    def pick() -> int:
        return draw.choice(by_label[draw.random() < SPAM_SHARE])

    def run(message: list[str]) -> list[str]:
        start = draw.randrange(len(message))
        return message[start : start + draw.randint(1, len(message) - start)]

    def walk(i: int) -> Iterator[str]:
        place = draw.randrange(max(1, len(words[i]) // 2))
        for _ in range(draw.randint(4, 36)):
            if place >= len(words[i]):
                return
            word = words[i][place]
            yield word
            turns = following.get(word.strip().lower())
            i, place = draw.choice(turns) if turns and draw.random() < 0.35 else (i, place + 1)

    def mutated(message: list[str]) -> list[str]:
        kept = [word for word in message if draw.random() > 0.25] or list(message)
        for _ in range(draw.randint(0, max(1, len(message) // 4))):
            kept.insert(draw.randrange(len(kept) + 1), draw.choice(words[pick()]))
        return kept

    def one() -> str:
        way, i = draw.random(), pick()
        if way < 0.4:
            parts = run(words[i]) + (run(words[pick()]) if draw.random() < 0.7 else [])
        else:
            parts = list(walk(i)) if way < 0.75 else mutated(words[i])
        return "".join(part if part[-1].isspace() else f"{part} " for part in parts)[:LONGEST].strip()

    return [one() for _ in range(count)]


def bayes_judge(messages: Messages) -> Judge:
    """A logistic regression on character n-grams, each counted for as much as its presence alone tells: Wang & Manning
    2012, "Baselines and Bigrams". It errs in other ways than the small models, and hardly ever calls ham spam."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = CountVectorizer(analyzer="char_wb", ngram_range=(1, 5), binary=True, dtype=np.float64)
    found, labels = vectorizer.fit_transform(messages.texts), np.array(messages.labels)
    spam, ham = (1 + found[labels == label].sum(axis=0) for label in (1, 0))
    told = np.log(spam / spam.sum() / (ham / ham.sum()))
    regression = LogisticRegression(C=0.1, max_iter=1000).fit(found.multiply(told).tocsr(), labels)

    def judge(texts: Sequence[str]) -> LogOdds:
        return bounded(regression.decision_function(vectorizer.transform(texts).multiply(told).tocsr()))

    return judge


def tfidf_judge(messages: Messages) -> Judge:
    """A logistic regression on TF-IDF of words, pairs of words, and 2 to 5 characters within words. It ranks messages
    better than the Bayesian model does, and is never as sure."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    regression = make_pipeline(make_union(words, characters), LogisticRegression(C=20, max_iter=2000))
    regression.fit(messages.texts, messages.labels)
    return lambda texts: bounded(regression.decision_function(texts))


def bounded(log_odds: LogOdds) -> LogOdds:
    """Log-odds no larger than `CERTAINTY`."""
    return np.clip(log_odds, -CERTAINTY, CERTAINTY)


def taught(labels: Sequence[int], small: Sequence[LogOdds], linear: Sequence[LogOdds]) -> NDArray[np.float32]:
    """What the student is to say: probabilities (labels + remixed, 2) of ham and spam.

    Args:
        labels: of the messages where they are known.
        small: what each of the small GPT-2s says of the remixed ones.
        linear: what each of the linear models says of them.
    """
    log_odds = LINEAR_SHARE * np.mean(linear, axis=0) + (1 - LINEAR_SHARE) * np.mean(small, axis=0)
    known = np.where(np.array(labels) == 1, CERTAIN, 1 - CERTAIN)
    spam = np.concatenate([known, 1 / (1 + np.exp(-log_odds))])
    return np.stack([1 - spam, spam], axis=1).astype(np.float32)
