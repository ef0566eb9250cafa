"""A model taught by others, through the whole of `learn`."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from runtime.spec import ClassifierSpec
from trainer import pipeline
from trainer.data import Messages, read_messages
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
    assert list(dict.fromkeys(phases)) == ["teacher 1", "training", "validation"]
    again, _ = student(messages, [])
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    other, _ = student(messages, [], seed=5)
    assert not torch.equal(weights["score.weight"], other["score.weight"])
    assert weights.keys() == other.keys() and weights["transformer.wte.weight"].shape == (50257, 64)
