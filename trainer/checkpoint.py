"""The checkpoint directory: weights and config as ``transformers`` reads them, and what a classifier is besides."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runtime.errors import ModelError
from runtime.spec import END_OF_TEXT, ClassifierSpec
from trainer.errors import TrainerError
from trainer.gpt2 import GPT2Classifier, GPT2Config, Packing
from trainer.pretrained import WEIGHTS_FILE, load_weights, read_tensors, read_weights, save_tensors
from trainer.wide import Wide, WideConfig

CONFIG_FILE = "config.json"
WIDE_FILE = "wide.safetensors"
"""The table of the wide path, where the model has one; ``config.json`` holds its shape as ``spam_edge_wide``."""


class Classifier(GPT2Classifier):
    """A model together with its description, as a checkpoint holds them."""

    def __init__(self, config: GPT2Config, spec: ClassifierSpec) -> None:
        super().__init__(config, spec.readout)
        self.spec = spec
        self.wide: Wide | None = None
        """The wide path, whose logits are added to the transformer's."""

    def last_token_tensors(self) -> dict[str, Tensor]:
        """The tensors by name, without those of the wide path."""
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("wide.")}

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Logits of messages side by side, as `GPT2Classifier.forward`, those of the wide path included."""
        logits: Tensor = super().forward(input_ids, attention_mask)
        if self.wide is None:
            return logits
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        return logits + self.wide(input_ids[attention_mask.bool()], Packing.of(attention_mask.sum(1)))


def hugging_face_config(config: GPT2Config, spec: ClassifierSpec) -> dict[str, Any]:
    """``config.json``: what ``GPT2ForSequenceClassification.from_pretrained`` needs, and the spec.

    With ``padding="batch"`` Hugging Face's model finds the last token as the last one that is not ``pad_token_id``;
    where padding counts as text, no token is padding, which -1 says.
    """
    return {
        "architectures": ["GPT2ForSequenceClassification"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "n_layer": config.n_layer,
        "n_embd": config.n_embd,
        "n_head": config.n_head,
        "n_positions": config.n_positions,
        "vocab_size": config.vocab_size,
        "layer_norm_epsilon": config.layer_norm_epsilon,
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "attn_pdrop": config.dropout,
        "bos_token_id": END_OF_TEXT,
        "eos_token_id": END_OF_TEXT,
        "pad_token_id": END_OF_TEXT if spec.padding == "batch" else -1,
        "num_labels": config.n_labels,
        "id2label": {str(index): label for index, label in enumerate(spec.labels)},
        "label2id": {label: index for index, label in enumerate(spec.labels)},
        "spam_edge": spec.to_dict(),
    }


def save_model(folder: Path, model: Classifier, spec: ClassifierSpec) -> None:
    """Write ``config.json``, ``model.safetensors`` and, for a model with a wide path, ``wide.safetensors`` into an
    existing folder."""
    described = hugging_face_config(model.config, spec)
    files = {WEIGHTS_FILE: model.last_token_tensors()}
    if model.wide is not None:
        described["spam_edge_wide"] = dataclasses.asdict(model.wide.config)
        files[WIDE_FILE] = model.wide.state_dict()
    config = json.dumps(described, indent=2, ensure_ascii=False)
    (folder / CONFIG_FILE).write_text(config + "\n", encoding="utf-8")
    for name, values in files.items():
        tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in values.items()}
        save_tensors(folder / name, tensors, {"format": "pt"})
        (folder / name).chmod((folder / CONFIG_FILE).stat().st_mode)  # safetensors leaves it to its owner alone


def read_config(folder: Path) -> tuple[GPT2Config, ClassifierSpec]:
    """Shape and description of a checkpoint. Raises ``TrainerError`` where it is not one of ours."""
    file = folder / CONFIG_FILE
    if not file.is_file():
        raise TrainerError(f"no checkpoint at {folder}: it has no {CONFIG_FILE}; make one with spam-train")
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        spec = ClassifierSpec.from_dict(values["spam_edge"])
        names = {field.name for field in dataclasses.fields(GPT2Config)} - {"n_labels", "dropout"}
        config = GPT2Config(
            n_labels=len(spec.labels), dropout=values["resid_pdrop"], **{name: values[name] for name in names}
        )
    except (ValueError, KeyError, TypeError, ModelError) as error:
        raise TrainerError(f"{file} does not describe a spam-edge checkpoint: {error}") from error
    return config, spec


def load_checkpoint(folder: Path) -> Classifier:
    """The classifier in a checkpoint directory, float32, on the CPU, in evaluation mode.

    Raises ``TrainerError`` where it is missing, broken or incomplete.
    """
    config, spec = read_config(folder)
    model = Classifier(config, spec)
    load_weights(model, read_weights(folder), str(folder / WEIGHTS_FILE), head=True)
    model.wide = load_wide(folder, len(spec.labels))
    return model.eval()


def load_wide(folder: Path, labels: int) -> Wide | None:
    """The wide path of a checkpoint, or None where it has none. Raises ``TrainerError`` where it is broken."""
    described = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")).get("spam_edge_wide")
    if described is None:
        return None
    try:
        config = WideConfig.from_dict(described)
        with torch.device("meta"):  # what the tensors must be like, before any memory is taken
            wanted = Wide(config).state_dict()
    except (TypeError, ValueError, KeyError) as error:
        raise TrainerError(f"{folder / CONFIG_FILE} does not describe a wide path: {error}") from error
    if len(config.offsets) != labels:
        raise TrainerError(f"{folder / CONFIG_FILE} describes a wide path to {len(config.offsets)} labels")
    tensors = read_tensors(folder / WIDE_FILE)
    for name, tensor in wanted.items():
        if name not in tensors or tensors[name].shape != tensor.shape or tensors[name].dtype != tensor.dtype:
            raise TrainerError(f"{folder / WIDE_FILE} has no tensor {name} of the shape in {CONFIG_FILE}")
    wide = Wide(config)
    wide.load_state_dict({name: tensors[name] for name in wanted})
    return wide
