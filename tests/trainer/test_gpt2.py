"""The model against Hugging Face's, on the same weights."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2ForSequenceClassification, GPT2Model

from runtime.spec import ClassifierSpec, Readout
from trainer.checkpoint import Classifier, save_model
from trainer.gpt2 import SHAPES, GPT2Classifier, GPT2Config, Packing

SMALL = GPT2Config(n_layer=3, n_embd=48, n_head=4)


def lively(config: GPT2Config = SMALL, readout: Readout = "last") -> Classifier:
    """Random weights that are large enough for every part to matter, biases and norms included."""
    model = Classifier(config, ClassifierSpec(readout=readout))
    model.initialize(1)
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    save_model(folder, lively(), ClassifierSpec())
    return folder


@pytest.fixture(scope="module")
def theirs(checkpoint: Path) -> GPT2ForSequenceClassification:
    return GPT2ForSequenceClassification.from_pretrained(checkpoint).eval()


def ragged(lengths: list[int], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.full((len(lengths), max(lengths)), 50256)
    mask = torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(0, 50256, (length,), generator=generator)
        mask[row, :length] = 1
    return ids, mask


@pytest.mark.parametrize("length", [1, 2, 3, 7, 16, 120, 1023, 1024])
@torch.no_grad()
def test_logits_equal_transformers_at_every_length(theirs: GPT2ForSequenceClassification, length: int) -> None:
    ids, _ = ragged([length, length], seed=length)
    torch.testing.assert_close(lively()(ids), theirs(ids).logits, atol=1e-5, rtol=0)


@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=9), seed=st.integers(0, 1000))
@torch.no_grad()
def test_logits_equal_transformers_in_ragged_batches(
    theirs: GPT2ForSequenceClassification, lengths: list[int], seed: int
) -> None:
    ids, mask = ragged(lengths, seed)
    torch.testing.assert_close(lively()(ids, mask), theirs(ids, attention_mask=mask).logits, atol=1e-5, rtol=0)


@torch.no_grad()
def test_hidden_states_equal_transformers(checkpoint: Path) -> None:
    theirs = GPT2Model.from_pretrained(checkpoint).eval()
    ids, mask = ragged([9, 1, 40, 3])
    packing = Packing.of(mask.sum(1))
    ours = lively().transformer(ids[mask.bool()], packing)
    torch.testing.assert_close(ours, theirs(ids, attention_mask=mask).last_hidden_state[mask.bool()], atol=1e-5, rtol=0)


@torch.no_grad()
def test_reading_one_token_equals_computing_all_and_picking_it() -> None:
    ids, mask = ragged([9, 1, 40, 3])
    for readout in ("last", "first"):
        model = lively(readout=readout)
        quick = model(ids, mask)
        model.whole = True
        torch.testing.assert_close(quick, model(ids, mask), atol=1e-5, rtol=0)


@torch.no_grad()
def test_what_is_to_the_right_of_the_last_token_changes_nothing() -> None:
    ids, mask = ragged([5, 12])
    noise = torch.where(mask.bool(), ids, 7)
    assert torch.equal(lively()(ids, mask), lively()(noise, mask))


@torch.no_grad()
def test_first_token_readout_ignores_the_rest_of_the_message() -> None:
    model = lively(readout="first")
    ids, _ = ragged([8])
    torch.testing.assert_close(model(ids), model(ids[:, :1]), atol=1e-6, rtol=0)


def test_published_sizes_have_the_published_number_of_parameters() -> None:
    published = {"gpt2": 124.4e6, "gpt2-medium": 354.8e6, "gpt2-large": 774.0e6, "gpt2-xl": 1557.6e6}
    for name, count in published.items():
        with torch.device("meta"):
            model = GPT2Classifier(SHAPES[name])
        transformer = sum(parameter.numel() for parameter in model.transformer.parameters())
        assert transformer == pytest.approx(count, rel=1e-3)


def test_random_weights_depend_on_the_seed_alone() -> None:
    one, same, other = (GPT2Classifier(SMALL) for _ in range(3))
    one.initialize(1), same.initialize(1), other.initialize(2)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), same.state_dict().values(), strict=True))
    assert not torch.equal(one.score.weight, other.score.weight)
