"""Starting weights: from a hub on loopback, from files, and what is refused."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file
from transformers import GPT2Config as TheirConfig
from transformers import GPT2LMHeadModel

from tests.trainer.hub import serving
from tests.trainer.test_gpt2 import SMALL, lively
from trainer.errors import TrainerError
from trainer.gpt2 import GPT2Classifier
from trainer.pretrained import load_weights, read_weights, starting_model

DRIVER = """
import json, sys
import trainer.pretrained as pretrained
from trainer.errors import TrainerError
from trainer.gpt2 import SHAPES, GPT2Config

SHAPES["gpt2"] = GPT2Config(n_layer=2, n_embd=32, n_head=4)
pretrained.RELEASES["gpt2"] = pretrained.Release("openai-community/gpt2", "0" * 40, {sha})
try:
    model = pretrained.starting_model("gpt2", "pretrained", seed=1)
    print(json.dumps({{"wte": model.transformer.wte.weight[0, :4].tolist()}}))
except TrainerError as error:
    print(json.dumps({{"error": str(error)}}))
"""


@pytest.fixture(scope="module")
def published() -> tuple[bytes, GPT2LMHeadModel]:
    """A small GPT-2 as OpenAI's is published: names without a prefix, masks of the attention among the tensors."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(TheirConfig(n_layer=2, n_embd=32, n_head=4))
    tensors = {name: tensor.contiguous() for name, tensor in model.transformer.state_dict().items()}
    tensors["h.0.attn.bias"] = torch.ones(1, 1, 1024, 1024)
    return save(tensors), model


def load(tmp_path: Path, address: str, sha: str | None, **environment: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", DRIVER.format(sha=repr(sha))],
        env=os.environ
        | {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
        | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, object] = json.loads(done.stdout)
    return result


PATH = f"/openai-community/gpt2/resolve/{'0' * 40}/model.safetensors"


def test_pretrained_weights_come_from_the_hub_once_and_then_from_its_cache(
    tmp_path: Path, published: tuple[bytes, GPT2LMHeadModel]
) -> None:
    content, theirs = published
    sha = hashlib.sha256(content).hexdigest()
    with serving({PATH: content}) as hub:
        first = load(tmp_path, hub.address, sha)
        assert first["wte"] == pytest.approx(theirs.transformer.wte.weight[0, :4].tolist())
        assert hub.asked.count(f"GET {PATH}") == 1
        load(tmp_path, hub.address, sha)
        assert hub.asked.count(f"GET {PATH}") == 1
        asked = len(hub.asked)
        assert "wte" in load(tmp_path, hub.address, sha, HF_HUB_OFFLINE="1")
        assert len(hub.asked) == asked


@pytest.mark.parametrize("pinned", [True, False])
def test_a_changed_download_is_refused_and_removed(
    tmp_path: Path, published: tuple[bytes, GPT2LMHeadModel], pinned: bool
) -> None:
    content, _ = published
    right = hashlib.sha256(content).hexdigest()
    changed = content[:-1] + bytes([content[-1] ^ 1])
    with serving({PATH: changed}, declared=None if pinned else right) as hub:
        result = load(tmp_path, hub.address, right if pinned else None)
    assert "SHA-256" in str(result["error"])
    assert not list((tmp_path / "hf").rglob("model.safetensors"))


def test_no_hub_and_no_cache_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with serving({}) as hub:
        for environment in ({}, {"HF_HUB_OFFLINE": "1"}):
            error = str(load(tmp_path, hub.address, None, **environment)["error"])
            assert "--weights" in error
            assert "HF_ENDPOINT" in error


def test_weights_come_from_a_file_or_a_checkpoint_folder(tmp_path: Path) -> None:
    model = lively()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    for source in (tmp_path, tmp_path / "model.safetensors"):
        copy = GPT2Classifier(SMALL)
        load_weights(copy, read_weights(source), str(source), head=True)
        assert all(torch.equal(a, b) for a, b in zip(copy.parameters(), model.parameters(), strict=True))


def test_weights_of_another_shape_are_refused_by_name(tmp_path: Path) -> None:
    save_file(lively().state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(TrainerError, match=r"transformer.wte.weight of shape \(50257, 48\).*--model"):
        starting_model("nano", str(tmp_path), seed=1)


def test_another_number_of_heads_is_refused(tmp_path: Path) -> None:
    save_file(lively().state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"n_head": 3}')
    with pytest.raises(TrainerError, match="3 attention heads"):
        starting_model("nano", str(tmp_path), seed=1, config=SMALL)


def test_missing_tensors_are_named(tmp_path: Path) -> None:
    tensors = lively().state_dict()
    del tensors["transformer.h.1.mlp.c_fc.bias"]
    with pytest.raises(TrainerError, match=r"no tensor h.1.mlp.c_fc.bias"):
        load_weights(GPT2Classifier(SMALL), tensors, "it")


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\xff" * 100])
def test_what_is_not_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(TrainerError, match="not a safetensors file"):
        read_weights(tmp_path)


def test_a_path_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="no weights at"):
        read_weights(tmp_path / "nowhere")
