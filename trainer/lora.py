"""Low-rank adapters (Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models"), by way of peft."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import nn

from trainer.errors import TrainerError
from trainer.gpt2 import Conv1D, GPT2Classifier

ADAPTED = ("c_attn", "c_proj", "c_fc")


class _Adaptable(nn.Linear):
    """A `Conv1D` as the kind of layer that peft knows how to adapt."""

    def __init__(self, layer: Conv1D) -> None:
        super().__init__(*layer.weight.shape)
        self.weight = nn.Parameter(layer.weight.data.T.contiguous())
        self.bias = layer.bias


def _replace(model: nn.Module, old: type[nn.Module], new: Callable[[Any], nn.Module]) -> None:
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, old):
                setattr(module, name, new(child))


def add_adapters(model: GPT2Classifier, rank: int, alpha: int) -> None:
    """Freeze a model but for its head, and add trainable adapters to every linear layer, in place.

    Raises ``TrainerError`` where peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise TrainerError("--trainable lora needs another package: pip install 'spam-edge[lora]'") from error
    _replace(model, Conv1D, _Adaptable)
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(ADAPTED))
    inject_adapter_in_model(config, model)
    model.score.requires_grad_(True)
    model.whole = True  # adapters act in a layer's forward, which reading one token's row of it would pass by


def merge_adapters(model: GPT2Classifier) -> None:
    """Add the adapters to the weights they adapt, in place: a plain model is left."""
    from peft.tuners.lora import Linear

    def merged(layer: Linear) -> Conv1D:
        layer.merge()
        base = cast(nn.Linear, layer.get_base_layer())
        plain = Conv1D(base.in_features, base.out_features)
        plain.weight.data.copy_(base.weight.data.T)
        plain.bias.data.copy_(base.bias.data)
        return plain

    _replace(model, Linear, merged)
    model.whole = False
