"""The checkpoint directory as this project and as transformers read it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import GPT2ForSequenceClassification

from runtime.spec import ClassifierSpec
from tests.trainer.fitted import Fitted
from tests.trainer.test_gpt2 import lively
from trainer.checkpoint import Classifier, load_checkpoint, read_config, save_model
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


def with_wide(fitted: Fitted) -> Classifier:
    model = lively()
    model.wide = fitted.wide
    return model


@torch.no_grad()
def test_a_checkpoint_keeps_every_bit_of_a_wide_path(fitted: Fitted, tmp_path: Path) -> None:
    model = with_wide(fitted)
    save_model(tmp_path, model, model.spec)
    loaded = load_checkpoint(tmp_path)
    assert loaded.wide is not None and model.wide is fitted.wide
    assert loaded.wide.config == fitted.wide.config
    for name, tensor in fitted.wide.state_dict().items():
        kept = loaded.wide.state_dict()[name]
        assert kept.dtype == tensor.dtype and torch.equal(kept, tensor), name
    ids = fitted.tokens.take([0])[0][None]
    assert torch.equal(loaded(ids), model(ids)) and not torch.equal(loaded(ids), lively()(ids))


@torch.no_grad()
def test_transformers_reads_the_transformer_beside_a_wide_path(fitted: Fitted, tmp_path: Path) -> None:
    save_model(tmp_path, with_wide(fitted), ClassifierSpec())
    theirs, info = GPT2ForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    ids = fitted.tokens.take([0])[0][None]
    torch.testing.assert_close(theirs.eval()(ids).logits, lively()(ids), atol=1e-5, rtol=0)


def test_a_wide_path_may_be_missing_only_if_the_config_says_so(fitted: Fitted, tmp_path: Path) -> None:
    save_model(tmp_path, lively(), ClassifierSpec())
    assert load_checkpoint(tmp_path).wide is None
    save_model(tmp_path, with_wide(fitted), ClassifierSpec())
    file = tmp_path / "wide.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(TrainerError, match=r"wide.safetensors is not a safetensors file, or is cut short"):
        load_checkpoint(tmp_path)
    file.unlink()
    with pytest.raises(TrainerError, match=r"no weights at .*wide.safetensors"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        (lambda tensors: tensors.pop("idf"), "idf"),
        (lambda tensors: tensors.update(check=tensors["check"].int()), "check"),
        (lambda tensors: tensors.update(weight=tensors["weight"][:, :-1].contiguous()), "weight"),
        (lambda tensors: tensors.update(step=tensors["step"][:-1]), "step"),
    ],
    ids=["missing", "of another type", "of fewer themes", "of fewer rows"],
)
def test_a_wide_path_that_its_config_does_not_fit_is_refused(
    fitted: Fitted, tmp_path: Path, damage: Callable[[dict[str, Tensor]], Any], name: str
) -> None:
    save_model(tmp_path, with_wide(fitted), ClassifierSpec())
    tensors = load_file(tmp_path / "wide.safetensors")
    damage(tensors)
    save_file(tensors, tmp_path / "wide.safetensors")
    with pytest.raises(TrainerError, match=f"wide.safetensors has no tensor {name} of the shape in config.json"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 1000}, {"rows": "many"}, {"labels": [0, 0, 0, 0]}, {"themes": ["a"]}, {"offsets": [0.0]},
        {"gain": "large"}, {"scale": float("nan")}, {"colour": "red"},
    ],
    ids=str,
)  # fmt: skip
def test_a_config_of_no_wide_path_is_refused(fitted: Fitted, tmp_path: Path, change: dict[str, Any]) -> None:
    save_model(tmp_path, with_wide(fitted), ClassifierSpec())
    config = json.loads((tmp_path / "config.json").read_text())
    config["spam_edge_wide"] |= change
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(TrainerError, match=r"config.json does not describe a wide path: "):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("wide", [[], 3, "wide", {}, {"themes": ["a"]}], ids=str)
def test_a_wide_path_described_as_something_else_is_refused(tmp_path: Path, wide: object) -> None:
    save_model(tmp_path, lively(), ClassifierSpec())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"spam_edge_wide": wide}))
    with pytest.raises(TrainerError, match=r"config.json does not describe a wide path: "):
        load_checkpoint(tmp_path)


def test_a_config_with_a_table_larger_than_any_memory_is_refused(fitted: Fitted, tmp_path: Path) -> None:
    save_model(tmp_path, with_wide(fitted), ClassifierSpec())
    config = json.loads((tmp_path / "config.json").read_text())
    many = {"rows": 1 << 24, "themes": [""] * 1_000_000, "labels": [0, 1] * 500_000}
    config["spam_edge_wide"] |= many
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(TrainerError, match=r"wide.safetensors has no tensor check of the shape"):
        load_checkpoint(tmp_path)


def test_a_wide_path_to_other_labels_is_refused(fitted: Fitted, tmp_path: Path) -> None:
    save_model(tmp_path, with_wide(fitted), ClassifierSpec())
    config = json.loads((tmp_path / "config.json").read_text())
    config["spam_edge_wide"] |= {"offsets": [0.0, 0.0, 0.0], "labels": [0, 1, 2, 2]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(TrainerError, match=r"config.json describes a wide path to 3 labels"):
        load_checkpoint(tmp_path)
