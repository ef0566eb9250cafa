"""A model taught by others, through the whole of `learn`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from runtime.spec import ClassifierSpec
from trainer import pipeline
from trainer.distill import CERTAINTY, Judge, bayes_judge, tfidf_judge
from trainer.evaluation.labelled import Messages, read_messages
from trainer.pipeline import learn
from trainer.recipe import make_recipe

SAMPLE = Path(__file__).parents[2] / "examples" / "messages.tsv"


@pytest.fixture
def messages() -> Messages:
    return read_messages(SAMPLE)[0].take(range(0, 520, 4))


def student(messages: Messages, seen: list[str], **changes: object) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    recipe = make_recipe(model="nano", epochs=1, distill=60, augment=0.5, disguise=0.5, **changes)
    model, outcome = learn(
        recipe, ClassifierSpec(base_model="nano"), messages, messages.take(range(20)),
        accelerator=Accelerator(cpu=True), report=lambda phase, *_: seen.append(phase),
    )  # fmt: skip
    return model.state_dict(), outcome.train_logits


def test_teachers_come_first_and_the_same_seed_gives_the_same_student(
    messages: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "TEACHERS", 1)
    phases: list[str] = []
    weights, logits = student(messages, phases)
    assert len(logits) == len(messages)  # the remixed messages are not among those that are measured
    assert list(dict.fromkeys(phases)) == ["teacher 1", "n-grams", "solving", "judging", "training", "validation"]
    again, _ = student(messages, [])
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    other, _ = student(messages, [], seed=5)
    assert not torch.equal(weights["score.weight"], other["score.weight"])
    assert weights.keys() == other.keys() and weights["transformer.wte.weight"].shape == (50257, 64)


def test_training_leaves_the_threads_of_others_alone(messages: Messages) -> None:
    spec, recipe = ClassifierSpec(base_model="nano"), make_recipe(model="nano", epochs=1)
    torch.set_num_threads(2)
    try:
        pipeline.learn(
            recipe, spec, messages.take(range(60)), messages.take(range(20)), accelerator=Accelerator(cpu=True)
        )
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("make", [bayes_judge, tfidf_judge])
def test_a_linear_teacher_tells_spam_from_ham_and_is_never_surer_than_its_bound(
    make: Callable[[Messages], Judge],
) -> None:
    messages = read_messages(SAMPLE)[0]
    learned, others = messages.take(range(0, len(messages), 2)), messages.take(range(1, len(messages), 2))
    log_odds = make(learned)([*others.texts, "", "win a prize now " * 1000])
    assert ((log_odds[:-2] > 0) == np.array(others.labels)).mean() > 0.85
    assert np.abs(log_odds).max() <= CERTAINTY


def test_every_epoch_of_a_student_has_messages_of_its_own_judged_as_they_stand(
    messages: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "TEACHERS", 1)
    phases: list[str] = []
    monkeypatch.setattr(pipeline, "fitted_wide", lambda *_: phases.append("solving"))
    teach = pipeline.teachers(
        make_recipe(model="nano", epochs=1, distill=40), ClassifierSpec(base_model="nano"), messages,
        messages.take(range(20)), Accelerator(cpu=True), lambda *_: None,
    )  # fmt: skip
    assert "solving" not in phases, "a teacher has no wide path"
    (first, targets), (again, same), (second, _) = teach(0), teach(0), teach(1)
    assert first == again != second and torch.equal(targets, same)
    assert targets.shape == (len(messages) + 40, 2) and not set(second) >= set(first)
