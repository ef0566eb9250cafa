"""Fitting the wide path: against the same regression solved directly, and joined with a transformer."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from runtime.spec import ClassifierSpec
from runtime.tokenizer import encode
from tests.trainer.fitted import Fitted, themed_sample
from tests.trainer.slow_wide import packed
from trainer import fit_wide as module
from trainer import pipeline
from trainer.checkpoint import Classifier, load_checkpoint, save_model
from trainer.data import tokenize
from trainer.evaluation.labelled import Messages
from trainer.fine_tune import Outcome
from trainer.fit_wide import fit_wide, join_paths, log_odds, regress, wide_logits
from trainer.gpt2 import SHAPES, GPT2Config
from trainer.recipe import FEWEST_ROWS, make_recipe
from trainer.state import History
from trainer.wide import BLOCKS, COUNTERS, NGrams, Wide, WideConfig

RIDGE = 0.3
SPEC = ClassifierSpec()
Matrix = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Direct:
    """Ridge regression written down and solved at once."""

    scores: Matrix
    """(messages, themes) by weights that saw every message."""
    known: int
    """N-grams in the table."""


def direct(messages: Messages, ridge: float) -> Direct:
    """What `fit_wide` approximates, in float64 with dense matrices."""
    blocks = NGrams().hashes(*packed([encode(text)[0] for text in messages.texts]))
    count = len(messages)
    bags = [[Counter(block.values[row][block.there[row]].tolist()) for block in blocks] for row in range(count)]
    spread = Counter(value for bag in bags for block in bag for value in block)
    weight: Counter[int] = Counter()
    for bag in bags:
        for block in bag:
            for value in block:
                weight[value] += 1 / math.sqrt(len(block))  # type: ignore[assignment]
    owner: dict[int, int] = {}
    for value in sorted(spread, key=lambda value: (round(weight[value], 9), value)):
        owner[value % FEWEST_ROWS] = value
    places = {value: place for place, value in enumerate(owner.values())}
    idf = {value: round(20 * (math.log((1 + count) / (1 + spread[value])) + 1)) for value in places}
    design = np.zeros((count, len(places)))
    for row, bag in enumerate(bags):
        known = [{value: times for value, times in block.items() if value in places} for block in bag]
        together: Counter[int] = Counter()
        for block in known:
            for value, times in block.items():
                together[value % FEWEST_ROWS % COUNTERS] += times
        for block in known:
            squares = [
                times * together[value % FEWEST_ROWS % COUNTERS] * idf[value] ** 2 for value, times in block.items()
            ]
            for value, times in block.items():
                design[row, places[value]] += math.sqrt(2 / len(BLOCKS)) * times * idf[value] / math.sqrt(sum(squares))
    pairs = list(zip(messages.labels, messages.themes, strict=True))
    target = np.array([[1.0 if pair == name else -1.0 for name in sorted(set(pairs))] for pair in pairs])
    mean = target.mean(0)
    inner = design @ design.T
    scores: Matrix = inner @ scipy.linalg.solve(inner + ridge * np.eye(count), target - mean, assume_a="pos") + mean
    return Direct(scores, len(places))


@pytest.fixture(scope="module")
def few() -> Messages:
    return themed_sample(step=3)


def fit(messages: Messages, ridge: float = RIDGE) -> Wide:
    tokens = tokenize(messages.texts, SPEC)
    return fit_wide(tokens, messages.labels, messages.themes, rows=FEWEST_ROWS, ridge=ridge)[0]


def test_logits_are_those_of_the_ridge_regression_solved_directly(
    few: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOLERANCE", 1e-9)
    wide, expected = fit(few), direct(few, RIDGE)
    assert int((wide.check >= 0).sum()) == expected.known
    # int8 weights: far closer than the scores of two messages are to each other
    logits = wide_logits(wide, tokenize(few.texts, SPEC))
    exact = wide.label_logits(torch.from_numpy(expected.scores)).float()
    assert float((logits - exact).abs().max()) < 0.02 * float(exact.std())


def test_conjugate_gradients_stop_close_to_the_solution(few: Messages) -> None:
    wide = fit(few)
    logits = log_odds(wide_logits(wide, tokenize(few.texts, SPEC)))
    exact = log_odds(wide.label_logits(torch.from_numpy(direct(few, RIDGE).scores)))
    assert float((logits - exact).abs().max()) < 0.1 * float(exact.std())


@pytest.mark.parametrize("rank", [1, 16])
def test_the_solution_does_not_depend_on_the_preconditioner(
    few: Messages, monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    monkeypatch.setattr(module, "TOLERANCE", 1e-9)
    expected = wide_logits(fit(few), tokenize(few.texts, SPEC))
    monkeypatch.setattr(module, "PRECONDITIONED", rank)
    torch.testing.assert_close(wide_logits(fit(few), tokenize(few.texts, SPEC)), expected, atol=1e-2, rtol=0)


def test_messages_it_was_fitted_to_are_told_apart(fitted: Fitted) -> None:
    odds = log_odds(wide_logits(fitted.wide, fitted.tokens))
    odds -= odds.median()
    assert float(((odds > 0) == torch.tensor(fitted.messages.labels).bool()).double().mean()) > 0.98


def spam_score_of_nothing(wide: Wide) -> float:
    """The spam probability of a message in an alphabet that no message was in."""
    ids, packing = packed([encode("恭喜您中奖了 请立即点击链接")[0]])
    assert not any(wide.known(block)[1].any() for block in NGrams().hashes(ids, packing))
    return float(wide(ids, packing).softmax(1)[0, 1])


def in_ascii(messages: Messages, spam: float) -> Messages:
    """Those of ASCII alone, and of their spam a share."""
    by_label = [
        [place for place, text in enumerate(messages.texts) if text.isascii() and messages.labels[place] == label]
        for label in (0, 1)
    ]
    few = min(map(len, by_label))
    return messages.take(by_label[0][:few] + by_label[1][: int(few * spam)])


@torch.no_grad()
def test_a_message_without_a_known_ngram_is_as_likely_spam_as_any(fitted: Fitted) -> None:
    assert abs(spam_score_of_nothing(fit(in_ascii(fitted.messages, 1.0))) - 1 / 2) < 0.1
    assert spam_score_of_nothing(fit(in_ascii(fitted.messages, 0.25))) < 0.25


def test_the_same_messages_give_the_same_bytes(few: Messages) -> None:
    one, other = fit(few), fit(few)
    assert one.config == other.config
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    assert not torch.equal(one.weight, fit(few, ridge=2 * RIDGE).weight)


def test_themes_of_one_name_are_kept_apart_by_their_labels(fitted: Fitted) -> None:
    config = fitted.wide.config
    assert list(zip(config.labels, config.themes, strict=True)) == [
        (0, "figures"), (0, "words"), (1, "figures"), (1, "words"),
    ]  # fmt: skip
    pairs = list(zip(fitted.messages.labels, fitted.messages.themes, strict=True))
    shares = [pairs.count(pair) / len(pairs) for pair in zip(config.labels, config.themes, strict=True)]
    torch.testing.assert_close(fitted.wide.bias, 2 * torch.tensor(shares) - 1)


def test_messages_without_themes_have_one_for_each_label(few: Messages) -> None:
    messages = Messages(few.texts, few.labels)
    wide = fit(messages)
    assert wide.config.labels == (0, 1) and wide.weight.shape == (FEWEST_ROWS, 2)
    # the two scores mirror each other
    torch.testing.assert_close(wide.bias[0], -wide.bias[1])
    assert int((wide.weight[:, 0].int() + wide.weight[:, 1].int()).abs().max()) <= 1


def test_products_of_bytes_leave_room_for_two_in_16_bits(fitted: Fitted) -> None:
    wide = fitted.wide
    step, weight = int(wide.step.max()), int(wide.weight.int().abs().max())
    assert 2 * step * weight < 2**15
    assert weight == 127 and step > 30, "the range of the bytes is used"
    assert not wide.step[wide.check < 0].any() and not wide.weight[wide.check < 0].any()


def test_a_row_is_given_to_the_ngram_that_is_in_most_messages() -> None:
    wide = Wide(WideConfig(("", ""), (0, 1), FEWEST_ROWS))
    rare, often, other = 7 + FEWEST_ROWS, 7 + 5 * FEWEST_ROWS, 8
    counts = module.Counts(
        np.array([0, 1, 2, 0, 1]), np.array([often, often, rare, other, other]), np.array([1, 9, 1, 1, 1])
    )
    module.assign_rows([counts], wide, 3)
    assert wide.check[[7, 8, 9]].tolist() == [5, 0, -1]
    assert wide.idf[[7, 8, 9]].tolist() == [round(20 * (math.log(4 / 3) + 1))] * 2 + [0]


def test_progress_is_reported_to_the_end(few: Messages) -> None:
    seen: dict[str, list[tuple[int, int]]] = {}
    fit_wide(
        tokenize(few.texts, SPEC), few.labels, few.themes, rows=FEWEST_ROWS, ridge=1.0,
        steps=3, report=lambda phase, done, total: seen.setdefault(phase, []).append((done, total)),
    )  # fmt: skip
    assert seen["n-grams"][-1] == (len(few), len(few)) and seen["solving"][-1] == (3, 3)


def pair(odds: Tensor) -> Tensor:
    return torch.stack([torch.zeros_like(odds), odds], 1).float()


def drawn(count: int, strength: float, seed: int) -> tuple[Tensor, list[int]]:
    """Log-odds that say something of the labels, or with strength 0 nothing, and the labels."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    return torch.randn(count, generator=draw) + strength * (2 * labels - 1), labels.tolist()


@pytest.mark.parametrize("seed", range(4))
def test_a_path_counts_for_what_it_says(seed: int) -> None:
    useful, labels = drawn(2000, 1.0, seed)
    useless, _ = drawn(2000, 0.0, seed + 100)
    of_deep, of_wide, offset = join_paths(pair(useless), pair(useful), labels)
    assert 0 <= of_deep < 0.15 and 1.7 < of_wide < 2.3 and abs(offset) < 0.2
    of_deep, of_wide, _ = join_paths(pair(useful), pair(useless), labels)
    assert 1.7 < of_deep < 2.3 and 0 <= of_wide < 0.15
    of_deep, of_wide, _ = join_paths(pair(useful), pair(-useful), labels)
    assert of_deep >= 0 and of_wide == 0


def test_with_few_messages_the_paths_count_for_what_is_thought_of_them() -> None:
    nothing = pair(torch.zeros(2))
    np.testing.assert_allclose(join_paths(nothing, nothing, [0, 1]), (0.25, module.USUAL_GAIN, 0.0), atol=1e-9)


@pytest.mark.parametrize("size", [1.0, 30.0, 1000.0])
def test_weights_are_found_whatever_the_size_of_the_logits(size: float) -> None:
    useful, labels = drawn(1000, 1.0, 1)
    found = join_paths(pair(20 * useful), pair(size * useful), labels)
    design = torch.stack([20 * useful, size * useful, torch.ones(1000)], 1).double()
    values = torch.tensor(regress(design, torch.tensor(labels), (0.25, 1.0, 0.0), (0.5, 0.5, 1.0))).double()
    wrong = torch.sigmoid(design @ values) - torch.tensor(labels)
    gradient = design.T @ wrong + (values - torch.tensor([0.25, 1.0, 0.0])) / torch.tensor([0.5, 0.5, 1.0]) ** 2
    assert float(gradient.abs().max()) < 1e-3 * size
    assert max(found) < 10


@torch.no_grad()
def test_a_joined_model_gives_the_logits_that_its_outcome_says(fitted: Fitted) -> None:
    model = Classifier(GPT2Config(n_layer=1, n_embd=16, n_head=2), SPEC)
    model.initialize(0)
    model.score.weight.data *= 50
    some, validation = range(40), themed_sample(step=5)
    tokens = tokenize(validation.texts, SPEC)
    train = tokenize([fitted.messages.texts[place] for place in some], SPEC)
    deep = pipeline.classify(model, train), pipeline.classify(model, tokens)
    wide = Wide(fitted.wide.config)
    wide.load_state_dict(fitted.wide.state_dict())
    beside = wide_logits(wide, train)
    outcome = pipeline.add_wide(model, wide, beside, tokens, validation.labels, Outcome(History(), *deep))
    of_deep, of_wide, offset = join_paths(deep[1], wide_logits(fitted.wide, tokens), validation.labels)
    torch.testing.assert_close(pipeline.classify(model, tokens), outcome.validation_logits, atol=1e-4, rtol=0)
    expected = of_deep * deep[0] + of_wide * beside + torch.tensor([0.0, offset])
    torch.testing.assert_close(outcome.train_logits, expected)
    first = torch.tensor([encode(validation.texts[0])[0]])
    torch.testing.assert_close(model(first)[0], outcome.validation_logits[0], atol=1e-4, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("padding", ["batch", "longest"])
def test_a_model_of_any_shape_learns_with_a_wide_path_beside_it(
    few: Messages, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, padding: str
) -> None:
    monkeypatch.setitem(SHAPES, "gpt2", GPT2Config(n_layer=1, n_embd=24, n_head=3, n_positions=200))
    recipe = make_recipe(
        model="gpt2", weights="random", trainable="all", epochs=1, wide=FEWEST_ROWS, padding=padding, batch_size=32
    )
    length = 0 if padding == "batch" else 90
    spec = ClassifierSpec(context_length=200, padding=padding, pad_length=length)  # type: ignore[arg-type]
    train, validation = few.take(range(0, len(few), 2)), few.take(range(1, len(few), 2))
    phases: list[str] = []
    with torch.enable_grad():
        model, outcome = pipeline.learn(
            recipe, spec, train, validation, accelerator=Accelerator(cpu=True),
            report=lambda phase, *_: phases.append(phase),
        )  # fmt: skip
    assert list(dict.fromkeys(phases)) == ["n-grams", "solving", "training", "validation"]
    save_model(tmp_path, model, spec)
    loaded = load_checkpoint(tmp_path)
    logits = pipeline.classify(loaded, tokenize(validation.texts, spec))
    torch.testing.assert_close(logits, outcome.validation_logits, atol=1e-4, rtol=0)
    assert float(((logits[:, 1] > logits[:, 0]) == torch.tensor(validation.labels)).double().mean()) > 0.7
