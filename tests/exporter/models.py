"""A small classifier with weights rough enough that every part of the graph counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from exporter.verify import Floats, Ids, torch_model, widen
from runtime.batching import pad
from runtime.spec import ClassifierSpec
from trainer.checkpoint import Classifier, save_model
from trainer.gpt2 import GPT2Config

SMALL = GPT2Config(n_layer=3, n_embd=32, n_head=4)


def make_model(spec: ClassifierSpec | None = None, **shape: int) -> Classifier:
    config = dataclasses.replace(SMALL, **shape)
    model = Classifier(config, spec or ClassifierSpec(context_length=config.n_positions, base_model="nano"))
    model.initialize(0)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter += 0.1 * torch.randn(parameter.shape, generator=draw)
            elif "ln_" in name:
                parameter *= 1 + 0.3 * torch.randn(parameter.shape, generator=draw)
            elif ".h." in name or name == "score.weight":
                parameter *= 10
    return model.eval()


def saved(model: Classifier, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    save_model(folder, model, model.spec)
    return folder


def torch_logits(model: Classifier, lengths: Sequence[int], padding: int = 0) -> tuple[dict[str, Ids], Floats]:
    """A batch of messages of these lengths, with more padding on the right, and PyTorch's logits of it."""
    draw = np.random.default_rng(sum(lengths))
    batch = pad([draw.integers(0, model.config.vocab_size, length, np.uint16) for length in lengths])
    ids, mask = widen(batch, padding)
    return {"input_ids": ids, "attention_mask": mask}, torch_model(model)(ids, mask)
