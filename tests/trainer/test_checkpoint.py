"""The checkpoint directory as this project and as transformers read it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import GPT2ForSequenceClassification

from runtime.spec import ClassifierSpec
from tests.trainer.test_gpt2 import lively
from trainer.checkpoint import load_checkpoint, read_config, save_model
from trainer.errors import TrainerError


@torch.no_grad()
def test_a_checkpoint_gives_back_what_was_saved(tmp_path: Path) -> None:
    spec = ClassifierSpec(
        labels=("ok", "junk"), spam_label="junk", threshold=0.7, temperature=1.5, base_model="nano", channels=("mail",)
    )
    save_model(tmp_path, lively(), spec)
    loaded = load_checkpoint(tmp_path)
    ids = torch.randint(0, 50257, (2, 9))
    assert torch.equal(loaded(ids), lively()(ids))
    assert loaded.spec == spec


@torch.no_grad()
def test_transformers_reads_the_padded_form_at_position_minus_one(tmp_path: Path) -> None:
    save_model(tmp_path, lively(), ClassifierSpec(padding="longest", pad_length=9))
    ids = torch.full((2, 9), 50256)
    ids[0, :4], ids[1, :7] = 11, 12
    theirs = GPT2ForSequenceClassification.from_pretrained(tmp_path).eval()
    assert theirs.config.id2label == {0: "ham", 1: "spam"}
    torch.testing.assert_close(load_checkpoint(tmp_path)(ids), theirs(ids).logits, atol=1e-5, rtol=0)


def test_a_checkpoint_without_its_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=r"has no config.json; make one with spam-train"):
        load_checkpoint(tmp_path)
    save_model(tmp_path, lively(), ClassifierSpec())
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:-100])
    with pytest.raises(TrainerError, match="cut short"):
        load_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(TrainerError, match="no weights at"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("damage", ["not json", "[]", "{}", '{"spam_edge": {"labels": ["one"]}}'])
def test_a_config_that_is_none_is_refused(tmp_path: Path, damage: str) -> None:
    (tmp_path / "config.json").write_text(damage)
    with pytest.raises(TrainerError, match="does not describe a spam-edge checkpoint"):
        read_config(tmp_path)


def test_a_newer_schema_is_refused_with_what_to_do(tmp_path: Path) -> None:
    save_model(tmp_path, lively(), ClassifierSpec())
    config = json.loads((tmp_path / "config.json").read_text())
    config["spam_edge"]["schema_version"] = 99
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(TrainerError, match="install a newer spam-edge"):
        read_config(tmp_path)


def test_a_spec_survives_both_of_its_forms() -> None:
    spec = replace(ClassifierSpec(), test_metrics={"accuracy": 0.97, "roc_auc": None}, data_fingerprint="ab")
    assert ClassifierSpec.from_dict(spec.to_dict()) == spec
    assert ClassifierSpec.from_props(spec.to_props() | {"other": "x"}) == spec
