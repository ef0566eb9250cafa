"""Who takes part where quality is measured, from messages to calibrated scores and a threshold."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from runtime_throughput import BAYES, LOGISTIC, SVM, pipeline
from scipy.special import expit, logit
from sets import Frame, training_groups

from trainer.evaluation.labelled import Messages
from trainer.evaluation.metrics import Scores
from trainer.evaluation.protocols import grouped_folds, grouped_split

FALSE_POSITIVES = 0.01
"""Share of ham for which a contestant chooses its threshold."""
NANO_TOKENS = 1_500_000
"""nano reads its training messages as often as its recipe says, or until it has read so many tokens, but twice."""
FEW_HAM = 2_000


Score = Callable[[Sequence[str]], Scores]
"""Scores of messages, (messages,), higher for spam."""


class Fitted(NamedTuple):
    """A contestant that is ready."""

    score: Score
    """Probability of spam."""
    threshold: float


Fit = Callable[[Frame, int], Fitted]
"""Trains on messages, with a seed."""


def shipped(train: Frame, seed: int) -> Fitted:
    """The model inside the runtime, which learns nothing here."""
    from runtime import SpamClassifier

    model = SpamClassifier(threads=1)
    spam = model.labels.index(model.spam_label)
    return Fitted(lambda texts: model.predict_proba(texts)[:, spam].astype(float), model.spec.threshold)


def calibrated(odds: Scores, labels: Sequence[int], score: Score) -> Fitted:
    """Log-odds made probabilities (Platt 1999) on messages that were not learned from, and a threshold chosen there."""
    from sklearn.linear_model import LogisticRegression

    scale = odds.std() or 1.0
    line = LogisticRegression().fit(odds[:, None] / scale, labels)
    slope, offset = float(line.coef_[0, 0]) / scale, float(line.intercept_[0])
    ham = expit(slope * odds + offset)[np.asarray(labels) == 0]
    return Fitted(lambda texts: expit(slope * score(texts) + offset), threshold_above(ham))


def threshold_above(ham: Scores) -> float:
    """The lowest threshold that no more than 1% of these ham scores reach.

    With fewer than 100 it is just above the highest; half way from there to 1, as spam-train chooses it to be safe,
    would say more of how few they are than of the contestant.
    """
    return float(np.nextafter(np.sort(ham)[::-1][int(FALSE_POSITIVES * len(ham))], 2))


def linear(name: str) -> Fit:
    """A pipeline of scikit-learn as it is measured in bulk, calibrated by cross-validation."""

    def fit(train: Frame, seed: int) -> Fitted:
        from sklearn.model_selection import PredefinedSplit, cross_val_predict

        vectorizer, classifier = (step for _, step in pipeline(name, seed).steps)
        method = "decision_function" if hasattr(classifier, "decision_function") else "predict_log_proba"

        def log_odds(found: np.ndarray) -> Scores:
            return found if found.ndim == 1 else found[:, 1] - found[:, 0]

        counts = vectorizer.fit_transform(train.text)
        folds = PredefinedSplit(grouped_folds(train.label, training_groups(train), 3, seed))
        odds = log_odds(cross_val_predict(classifier, counts, train.label, cv=folds, method=method))
        answer = getattr(classifier.fit(counts, train.label), method)
        return calibrated(odds, train.label, lambda texts: log_odds(answer(vectorizer.transform(texts))))

    return fit


def out_of_fold(train: Frame, seed: int, learn: Callable[[Frame], Score]) -> Scores:
    """Scores of training messages by what has learned from the two thirds that hold neither them nor near repeats."""
    folds, scores = grouped_folds(train.label, training_groups(train), 3, seed), np.empty(len(train))
    for fold in range(3):
        scores[folds == fold] = learn(train[folds != fold])(train.text[folds == fold].tolist())
    return scores


def fasttext(train: Frame, seed: int) -> Fitted:
    """Words, pairs of words and 2 to 5 characters, trained as its tutorial ends up."""
    import fasttext as library

    def flat(text: str) -> str:
        return " ".join(text.split())

    def learn(part: Frame) -> Score:
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "train.txt"
            lines = [f"__label__{label} {flat(text)}\n" for text, label in zip(part.text, part.label, strict=True)]
            data.write_text("".join(lines), encoding="utf-8", errors="replace")
            model = library.train_supervised(
                str(data), lr=0.5, epoch=25, wordNgrams=2, minn=2, maxn=5, dim=50, bucket=200_000, thread=1, seed=seed,
                verbose=0,
            )  # fmt: skip

        def log_odds(texts: Sequence[str]) -> Scores:
            pairs = zip(*model.predict([flat(text) for text in texts], k=2), strict=True)
            chances = [dict(zip(*pair, strict=True)).get("__label__1", 0.0) for pair in pairs]
            return logit(np.clip(chances, 1e-6, 1 - 1e-6))

        return log_odds

    return calibrated(out_of_fold(train, seed, learn), train.label, learn(train))


def labelled(frame: Frame) -> Messages:
    """A frame as the trainer takes it."""
    return Messages(tuple(frame.text), tuple(frame.label), tuple(frame.theme))


def nano(train: Frame, seed: int) -> Fitted:
    """What spam-train makes with nano's defaults, which keeps an eighth back to calibrate on.

    Of few ham an eighth is too little to choose a threshold on: it is chosen by cross-validation then.
    """
    score, ham = train_nano(train, seed)
    if (train.label == 0).sum() < FEW_HAM:
        ham = out_of_fold(train, seed, lambda part: train_nano(part, seed)[0])[train.label == 0]
    return Fitted(score, threshold_above(ham))


def train_nano(train: Frame, seed: int) -> tuple[Score, Scores]:
    """How a trained nano scores, and its scores of the ham that it kept back."""
    from runtime.scores import spam_scores
    from runtime.spec import ClassifierSpec
    from trainer.data import tokenize
    from trainer.evaluation.metrics import fit_temperature
    from trainer.pipeline import classify, learn, make_accelerator
    from trainer.recipe import make_recipe

    part = grouped_split(train.label, training_groups(train), (7 / 8, 1 / 8), seed)
    rest, back = (labelled(train[part == which]) for which in (0, 1))
    spec = ClassifierSpec(labels=("ham", "spam"), spam_label="spam", base_model="nano")
    recipe = make_recipe(model="nano", balance="none", seed=seed)
    epochs = NANO_TOKENS // int(tokenize(rest.texts, spec).lengths.sum())
    recipe = replace(recipe, epochs=min(max(epochs, 2), recipe.epochs))
    model, outcome = learn(recipe, spec, rest, back, accelerator=make_accelerator("cpu"))
    temperature = fit_temperature(outcome.validation_logits, back.labels)
    ham = spam_scores(outcome.validation_logits, temperature)[np.array(back.labels) == 0]
    return lambda texts: spam_scores(classify(model, tokenize(texts, spec)), temperature), ham


LINEAR = (SVM, LOGISTIC, BAYES)
CONTESTANTS: dict[str, Fit] = {
    "shipped": shipped, "nano": nano, **{name: linear(name) for name in LINEAR}, "fastText": fasttext,
}  # fmt: skip
