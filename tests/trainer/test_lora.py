"""Low-rank adapters: trained, merged, and gone."""

from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator

from tests.trainer.test_fine_tune import RECIPE, TINY, labelled, losses, model
from trainer.fine_tune import classify_tokens, fine_tune
from trainer.gpt2 import GPT2Classifier
from trainer.lora import add_adapters, merge_adapters


def test_adapters_learn_and_merge_into_a_plain_model() -> None:
    recipe = replace(RECIPE, weights="somewhere", trainable="lora", epochs=12, learning_rate=1e-2)
    trained, before = model(), model().state_dict()
    add_adapters(trained, rank=4, alpha=8)
    changing = [name for name, parameter in trained.named_parameters() if parameter.requires_grad]
    assert all("lora" in name or name == "score.weight" for name in changing)
    assert len(changing) == 2 * 4 * TINY.n_layer + 1
    outcome = fine_tune(trained, labelled(26), labelled(10), recipe, accelerator=Accelerator(cpu=True))
    assert losses(outcome)[-1] < 0.5 * losses(outcome)[0]
    merge_adapters(trained)
    assert {name: tensor.shape for name, tensor in trained.state_dict().items()} == {
        name: tensor.shape for name, tensor in before.items()
    }
    plain = GPT2Classifier(TINY).eval()
    plain.load_state_dict(trained.state_dict())
    logits = classify_tokens(plain, labelled(26).tokens)
    torch.testing.assert_close(logits, outcome.train_logits, atol=1e-4, rtol=0)
    assert not torch.equal(before["transformer.h.0.attn.c_attn.weight"], plain.transformer.h[0].attn.c_attn.weight)


def test_fresh_adapters_change_nothing() -> None:
    adapted = model()
    add_adapters(adapted, rank=4, alpha=8)
    tokens = labelled(6).tokens
    expected = classify_tokens(model(), tokens)
    assert pytest.approx(expected.numpy(), abs=1e-5) == classify_tokens(adapted.eval(), tokens).numpy()
