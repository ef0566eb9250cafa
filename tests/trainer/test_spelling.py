"""Token embeddings made from spelling, and what a model that has them begins with."""

import torch

from trainer.gpt2 import SHAPES, GPT2Classifier
from trainer.spelling import LOOK_BACK, add_spelling, merge_spelling


@torch.no_grad()
def test_some_heads_begin_by_attending_to_their_own_distance() -> None:
    model = GPT2Classifier(SHAPES["nano"])
    model.initialize(1)
    ids = torch.randint(0, 50257, (60,), generator=torch.Generator().manual_seed(1))
    add_spelling(model, ids.numpy(), 1)
    t = model.transformer
    x = t.h[0].ln_1(t.wte(ids) + t.wpe.weight[: len(ids)])
    q, k, _ = t.h[0].attn.c_attn(x).view(len(ids), 3, 4, 16).unbind(1)
    later = torch.ones(60, 60).triu(1).bool()
    looks = []
    for head in range(4):
        attended = (q[:, head] @ k[:, head].T).masked_fill(later, -torch.inf).argmax(1)
        back = torch.arange(60) - attended
        looks.append((back[head + 1 :] == head + 1).float().mean().item())
    assert min(looks[:LOOK_BACK]) > 0.9
    assert max(looks[LOOK_BACK:]) < 0.5


@torch.no_grad()
def test_the_merged_table_gives_the_embeddings_that_spelling_gave() -> None:
    model = GPT2Classifier(SHAPES["nano"])
    model.initialize(1)
    ids = torch.arange(0, 50257, 97)
    add_spelling(model, ids[::2].numpy(), 1)
    spelled = model.transformer.wte(ids)
    merge_spelling(model)
    assert torch.equal(model.transformer.wte(ids), spelled)


def test_the_merged_table_is_on_the_device_of_the_model() -> None:
    model = GPT2Classifier(SHAPES["nano"])
    add_spelling(model, torch.arange(9).numpy(), 1)
    merge_spelling(model.to("meta"))  # a device other than the CPU that every machine has
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
