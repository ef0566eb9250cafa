"""Several teachers taught to one model: more messages than there are, judged by models that err in different ways.

The teachers are small GPT-2s from different random weights and a linear model on n-grams; their mean judgement of
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

from runtime.tokenizer import encode
from trainer.data import Messages

LogOdds = NDArray[np.float64]
"""Of messages being spam, (messages,)."""

TEACHERS = 3
"""Small GPT-2s among the teachers."""
TEACHER: dict[str, Any] = {"batch_size": 32, "augment": 0.5}
"""What they are trained with besides nano's defaults. Only the student sees disguises, and copes with them better."""
LINEAR_SHARE = 0.3
"""Weight of the linear model in the mean."""
LOG_ODDS = 4.0
"""Log-odds of a message at a distance of 1 from the linear model's boundary, where its margin ends."""
CERTAIN = 0.985
"""What the student is told of the label of a training message."""
SPAM_SHARE = 0.3
"""Share of the remixed messages that begin from spam."""
LONGEST = 400
"""Characters of a remixed message."""


def remix(messages: Messages, count: int, seed: int) -> list[str]:
    """New messages from pieces of others: runs of words joined, walks from message to message over shared words, and
    messages with words lost and words of others put in."""
    draw = random.Random(seed)
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


def digits_folded(text: str) -> str:
    """A text in lower case with every digit a 0."""
    return re.sub(r"\d", "0", text.lower())


def outline(text: str) -> str:
    """A text with every word an a and every digit a 0: how it is laid out."""
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d", "0", text))


def linear_judge(messages: Messages) -> Callable[[Sequence[str]], LogOdds]:
    """A linear support-vector machine on n-grams of words, characters, outlines and of what tokens are spelled with."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.svm import LinearSVC

    from trainer.spelling import spelled

    views = make_union(
        TfidfVectorizer(ngram_range=(1, 2)),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5)),
        TfidfVectorizer(ngram_range=(1, 2), preprocessor=digits_folded),
        TfidfVectorizer(analyzer="char", ngram_range=(1, 5), preprocessor=outline, lowercase=False, sublinear_tf=True),
        TfidfVectorizer(analyzer=lambda text: spelled(encode(text)[0]), sublinear_tf=True),
    )
    machine = make_pipeline(views, LinearSVC(C=3, random_state=0)).fit(messages.texts, messages.labels)
    return lambda texts: LOG_ODDS * machine.decision_function(texts)


def taught(messages: Messages, judged: Sequence[LogOdds], linear: LogOdds) -> NDArray[np.float32]:
    """What the student is to say: probabilities (messages + remixed, 2) of ham and spam.

    Args:
        messages: those whose labels are known.
        judged: what each of the small models says of the remixed ones.
        linear: what the linear one says of them.
    """
    log_odds = LINEAR_SHARE * linear + (1 - LINEAR_SHARE) * np.mean(judged, axis=0)
    known = np.where(np.array(messages.labels) == 1, CERTAIN, 1 - CERTAIN)
    spam = np.concatenate([known, 1 / (1 + np.exp(-log_odds))])
    return np.stack([1 - spam, spam], axis=1).astype(np.float32)
