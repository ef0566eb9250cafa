"""A run that is interrupted and goes on ends where the whole run ends."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from runtime.spec import ClassifierSpec
from tests.trainer.test_fine_tune import RECIPE, labelled, model
from trainer import state as state_module
from trainer.data import Tokens, tokenize
from trainer.errors import TrainerError
from trainer.fine_tune import fine_tune
from trainer.gpt2 import GPT2Classifier, GPT2Config

DROPPING = GPT2Config(n_layer=2, n_embd=16, n_head=4, dropout=0.2)
ALL = replace(RECIPE, trainable="all", dropout=0.2, schedule="cosine", select="best")


def altered(count: int, epoch: int) -> Tokens:
    texts = [f"message {i} as epoch {epoch} sees it" for i in range(count)]
    return tokenize(texts, ClassifierSpec())


class KilledError(Exception):
    pass


def run(state: Path, recipe: Any = ALL, *, resume: bool, kill_at: int | None = None) -> GPT2Classifier:
    def report(phase: str, done: int, total: int, values: dict[str, float]) -> None:
        if phase == "training" and done == kill_at:
            raise KilledError

    trained = model(DROPPING)
    train = labelled(26)
    if recipe.augment:
        train = replace(train, lesson=lambda epoch: replace(labelled(30), tokens=altered(30, epoch)), lesson_size=30)
    data = train, labelled(10)
    fine_tune(trained, *data, recipe, accelerator=Accelerator(cpu=True), state=state, resume=resume, report=report)
    return trained


@pytest.mark.parametrize("changes", [{"trainable": "last-block"}, {"trainable": "all"}, {"augment": 0.5}], ids=str)
@pytest.mark.parametrize("every", [0.0, 1e9])
def test_a_resumed_run_ends_bit_identical(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], every: float
) -> None:
    monkeypatch.setattr(state_module, "SAVE_EVERY", every)  # after every step; only between epochs
    recipe = replace(ALL, **changes)
    whole = run(tmp_path / "whole", recipe, resume=False)
    for kill_at in (1, 7, 10, 17):
        with pytest.raises(KilledError):
            run(tmp_path / "state", recipe, resume=kill_at > 1, kill_at=kill_at)
    resumed = run(tmp_path / "state", recipe, resume=True)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_the_state_of_another_run_is_refused_with_what_differs(tmp_path: Path) -> None:
    run(tmp_path / "state", resume=False)
    with pytest.raises(TrainerError, match=r"a run with other learning-rate, seed: give the same flags"):
        run(tmp_path / "state", replace(ALL, learning_rate=1e-4, seed=1), resume=True)


def test_without_resume_a_run_starts_anew(tmp_path: Path) -> None:
    whole = run(tmp_path / "state", resume=False)
    again = run(tmp_path / "state", resume=False)
    assert torch.equal(whole.score.weight, again.score.weight)


def test_a_state_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"garbage")
    with pytest.raises(TrainerError, match="is not the state of a run"):
        run(tmp_path / "state", resume=True)
