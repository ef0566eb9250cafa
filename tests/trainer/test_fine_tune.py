"""The training loop: the same curve however it is computed, and honest when it fails."""

import gc
import itertools
import json
import math
import os
import subprocess
import sys
import weakref
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st

from runtime.spec import END_OF_TEXT, ClassifierSpec
from trainer.data import tokenize
from trainer.errors import TrainerError
from trainer.fine_tune import Labelled, Outcome, classify_tokens, epoch_groups, epoch_order, fine_tune, learning_rate
from trainer.gpt2 import GPT2Classifier, GPT2Config
from trainer.recipe import Recipe, make_recipe

TINY = GPT2Config(n_layer=2, n_embd=16, n_head=4)
SPEC = ClassifierSpec()
SPAM = ["win a prize now", "cheap loans call", "free free free", "claim your reward today, friend, it is waiting"]
HAM = ["see you at noon", "ok", "did you feed the cat? she looked hungry this morning", "thanks"]
RECIPE = make_recipe(weights="random", epochs=3, batch_size=4, learning_rate=1e-3)


def labelled(count: int, spec: ClassifierSpec = SPEC) -> Labelled:
    texts = [f"{(SPAM if i % 2 else HAM)[i // 2 % 4]} {i}" for i in range(count)]
    return Labelled(tokenize(texts, spec), tuple(i % 2 for i in range(count)))


def model(config: GPT2Config = TINY, readout: str = "last") -> GPT2Classifier:
    fresh = GPT2Classifier(config, readout)
    fresh.initialize(5)
    return fresh


def train(recipe: Recipe = RECIPE, spec: ClassifierSpec = SPEC, **kwargs: Any) -> tuple[GPT2Classifier, Outcome]:
    trained = model(readout=recipe.readout)
    data = labelled(26, spec), labelled(10, spec)
    return trained, fine_tune(trained, *data, recipe, accelerator=Accelerator(cpu=True), **kwargs)


def losses(outcome: Outcome) -> list[float]:
    return [step["loss"] for step in outcome.history.steps]


@pytest.mark.parametrize("trainable", ["head", "last-block"])
@pytest.mark.parametrize("readout", ["last", "first"])
def test_keeping_the_frozen_part_gives_the_same_curve_as_running_it_every_time(trainable: str, readout: str) -> None:
    recipe = replace(RECIPE, trainable=trainable, readout=readout)  # type: ignore[arg-type]
    kept, anew = train(recipe)[1], train(recipe, cache_bytes=0)[1]
    assert losses(kept) == pytest.approx(losses(anew), abs=1e-4)
    few_bytes = train(recipe, cache_bytes=3000)[1]
    assert losses(few_bytes) == pytest.approx(losses(anew), abs=1e-4)


def test_the_curve_is_that_of_a_plain_loop_over_padded_batches() -> None:
    """A rendering of the chapter: pad to the longest, whole model forward, last position, AdamW on the last block."""
    length = int(labelled(26).tokens.lengths.max())
    spec = ClassifierSpec(padding="longest", pad_length=length)
    ours = train(spec=spec)[1]
    plain, data = model(), labelled(26, spec)
    ids = torch.tensor(data.tokens.ids).long().view(26, length)
    assert (ids[1] == END_OF_TEXT).any()
    for name, parameter in plain.named_parameters():
        parameter.requires_grad_(name.startswith(("transformer.h.1.", "transformer.ln_f.", "score.")))
    optimizer = torch.optim.AdamW([p for p in plain.parameters() if p.requires_grad], lr=1e-3, weight_decay=0.1)
    plain.whole = True
    expected = []
    for epoch in range(3):
        order = epoch_order(RECIPE.seed, epoch, 26)
        for at in range(0, 26, 4):
            batch = order[at : at + 4]
            optimizer.zero_grad()
            loss = F.cross_entropy(plain(ids[batch]), torch.tensor(data.labels)[batch])
            loss.backward()
            optimizer.step()
            expected.append(loss.item())
    assert losses(ours) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("trainable", ["head", "last-block", "all"])
def test_only_what_is_trainable_changes(trainable: str) -> None:
    before = model().state_dict()
    after = train(replace(RECIPE, trainable=trainable, epochs=1))[0].state_dict()  # type: ignore[arg-type]
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    trained = {
        "head": ("score.",),
        "last-block": ("score.", "transformer.h.1.", "transformer.ln_f."),
        "all": ("score.", "transformer."),
    }[trainable]
    assert changed == {name for name in before if name.startswith(trained)}


@pytest.mark.parametrize("trainable", ["last-block", "all"])
def test_a_step_of_several_batches_equals_one_of_a_larger_batch(trainable: str) -> None:
    recipe = replace(RECIPE, trainable=trainable, batch_size=2, accumulate=4, balance="weights")  # type: ignore[arg-type]
    several, one = train(recipe)[1], train(replace(recipe, batch_size=8, accumulate=1))[1]
    assert losses(several) == pytest.approx(losses(one), abs=1e-4)


def test_training_learns_and_the_same_seed_gives_the_same_weights() -> None:
    recipe = replace(RECIPE, trainable="all", epochs=12)
    first, outcome = train(recipe)
    second, _ = train(recipe)
    assert outcome.history.epochs[-1]["accuracy"] == 1.0
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    other, _ = train(replace(recipe, seed=7))
    assert not torch.equal(first.score.weight, other.score.weight)


def test_outcome_holds_the_logits_of_the_trained_model() -> None:
    trained, outcome = train()
    torch.testing.assert_close(outcome.train_logits, classify_tokens(trained, labelled(26).tokens), atol=1e-5, rtol=0)


def test_the_best_epoch_is_kept_when_asked_for() -> None:
    recipe = replace(RECIPE, trainable="all", epochs=6, learning_rate=3e-2)
    best, outcome = train(replace(recipe, select="best"))
    epochs = outcome.history.epochs
    assert epochs[outcome.history.best_epoch]["loss"] == min(epoch["loss"] for epoch in epochs)
    data = labelled(10)
    loss = F.cross_entropy(classify_tokens(best, data.tokens), torch.tensor(data.labels)).item()
    assert loss == pytest.approx(epochs[outcome.history.best_epoch]["loss"], abs=1e-5)


def test_training_stops_when_validation_gets_no_better() -> None:
    recipe = replace(RECIPE, trainable="all", epochs=40, learning_rate=1e-2, patience=2)
    right = labelled(26)
    contrary = Labelled(right.tokens, tuple(1 - label for label in right.labels))
    history = fine_tune(model(), right, contrary, recipe, accelerator=Accelerator(cpu=True)).history
    assert len(history.epochs) == history.best_epoch + 3 < 40


def test_bf16_stays_close_to_fp32() -> None:
    bf16, fp32 = train(replace(RECIPE, precision="bf16"))[1], train()[1]
    assert losses(bf16) == pytest.approx(losses(fp32), abs=0.05)
    assert losses(bf16) != losses(fp32)


def test_learning_rate_warms_up_and_falls() -> None:
    recipe = replace(RECIPE, learning_rate=1.0, warmup=0.1, schedule="cosine")
    rates = [learning_rate(recipe, step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rates[10] == 1.0
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert learning_rate(recipe, 55, 100) == pytest.approx(0.5)
    assert learning_rate(replace(recipe, schedule="linear"), 55, 100) == pytest.approx(0.5)


def test_every_message_is_seen_once_an_epoch_in_an_order_of_its_own() -> None:
    orders = [epoch_order(1, epoch, 50) for epoch in range(3)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert orders[0] != orders[1] != orders[2]


def test_a_loss_that_is_no_number_stops_with_the_step_and_the_rate() -> None:
    with pytest.raises(TrainerError, match=r"the loss is (nan|inf) at step \d+ of .* 1e\+30: lower --learning-rate"):
        train(replace(RECIPE, trainable="all", learning_rate=1e30))


def test_the_gpu_being_too_small_says_which_flag_to_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(GPT2Classifier, "classify", full)
    with pytest.raises(TrainerError, match="--batch-size 4: lower it"):
        train()


def test_a_model_goes_when_its_owner_lets_go_of_it() -> None:
    accelerator, trained = Accelerator(cpu=True), model()
    fine_tune(trained, labelled(26), labelled(10), RECIPE, accelerator=accelerator)
    gone = weakref.ref(trained)
    del trained
    gc.collect()
    assert gone() is None, "the accelerator, which outlives it, holds it"


WORKER = """
import json, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from dataclasses import replace
from accelerate.utils import gather_object
from tests.trainer.test_fine_tune import RECIPE, labelled, model
from trainer import fine_tune as module
from trainer.pipeline import make_accelerator

frozen, computed = module.Source.features, []
module.TOKENS_AT_ONCE = 64
module.Source.features = lambda source, group: computed.extend(group) or frozen(source, group)
accelerator = make_accelerator("cpu")
trained = model()
recipe = replace(RECIPE, trainable={trainable!r}, batch_size=8, clip=1.0)
outcome = module.fine_tune(trained, labelled(25), labelled(10), recipe, accelerator=accelerator)
shares = gather_object([sorted(computed)])
if accelerator.is_main_process:
    print(json.dumps([accelerator.num_processes, shares, [step["loss"] for step in outcome.history.steps]]))
accelerator.end_training()
threads = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
assert not [name for name in threads if "gloo" in name], "a thread outlives the group and may abort the process"
"""


@pytest.mark.parametrize("trainable", ["head", "last-block", "all"])
def test_two_processes_give_the_curve_of_one(tmp_path: Path, trainable: str) -> None:
    (tmp_path / "worker.py").write_text(WORKER.format(root=str(Path(__file__).parents[2]), trainable=trainable))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node"]
    results = {}
    for processes in (1, 2):
        done = subprocess.run(
            [*launch, str(processes), str(tmp_path / "worker.py")],
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "CUDA_VISIBLE_DEVICES": ""},
        )
        assert done.returncode == 0, done.stderr[-2000:]
        count, shares, results[processes] = json.loads(done.stdout)
        assert count == processes
        frozen = [] if trainable == "all" else list(range(35))
        assert sorted(itertools.chain(*shares)) == frozen, "features are computed by one of the processes"
        assert all(len(share) > len(frozen) / 4 for share in shares if frozen)
    assert results[2] == pytest.approx(results[1], abs=1e-5)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
@pytest.mark.parametrize("trainable", ["head", "last-block", "all"])
def test_cuda_gives_the_curve_of_the_cpu(trainable: str) -> None:
    recipe = replace(RECIPE, trainable=trainable)  # type: ignore[arg-type]
    data = labelled(26), labelled(10)
    on_gpu = fine_tune(model(), *data, recipe, accelerator=Accelerator())
    assert losses(on_gpu) == pytest.approx(losses(train(recipe)[1]), abs=1e-3)
    bf16 = fine_tune(model(), *data, replace(recipe, precision="bf16"), accelerator=Accelerator())
    assert losses(bf16) == pytest.approx(losses(on_gpu), abs=0.05)
    compiled = fine_tune(model(), *data, replace(recipe, compile=True), accelerator=Accelerator())
    assert losses(compiled) == pytest.approx(losses(on_gpu), abs=1e-3)


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=200), st.integers(0, 5), st.sampled_from(["random", "length"])
)
def test_an_epoch_sees_every_message_once(lengths: list[int], epoch: int, order: str) -> None:
    recipe = replace(RECIPE, order=order, accumulate=2)
    groups = epoch_groups(recipe, epoch, lengths)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    assert len(groups) == math.ceil(len(lengths) / 8)
    assert groups == epoch_groups(recipe, epoch, lengths)


def test_messages_of_like_length_come_together_in_another_order_every_epoch() -> None:
    lengths = np.random.default_rng(1).integers(1, 200, 1000).tolist()
    first, second = (epoch_groups(replace(RECIPE, order="length"), epoch, lengths) for epoch in (0, 1))
    padded = sum(len(group) * max(lengths[i] for i in group) for group in first)
    assert padded < 1.3 * sum(lengths)
    assert first != second
    means = [np.mean([lengths[i] for i in group]) for group in first]
    assert means != sorted(means)


def test_a_student_comes_to_its_teachers_log_odds() -> None:
    """Also where both are certain, which the cross-entropy alone hardly tells apart."""
    odds = torch.tensor([-9.0, -6.0, -3.0, 0.0, 3.0, 6.0, 9.0])
    data = replace(labelled(7), targets=torch.stack([torch.sigmoid(-odds), torch.sigmoid(odds)], 1))
    recipe = replace(RECIPE, trainable="all", epochs=200, batch_size=7, learning_rate=5e-3, schedule="linear")
    logits = fine_tune(model(), data, labelled(4), recipe, accelerator=Accelerator(cpu=True)).train_logits
    torch.testing.assert_close(logits[:, 1] - logits[:, 0], odds, atol=0.5, rtol=0)
