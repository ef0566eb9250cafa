"""Weights to start from: OpenAI's from the Hugging Face hub, a file, or random ones."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from trainer.errors import TrainerError
from trainer.gpt2 import SHAPES, GPT2Classifier, GPT2Config

log = logging.getLogger(__name__)

WEIGHTS_FILE = "model.safetensors"


@dataclass(frozen=True)
class Release:
    """Pretrained weights on the hub, pinned."""

    repository: str
    revision: str
    sha256: str | None
    """Of ``model.safetensors``; where it is None, the hub's own word for the pinned revision is taken."""


RELEASES = {
    "gpt2": Release(
        "openai-community/gpt2",
        "607a30d783dfa663caf39e06633721c8d4cfcd7e",
        "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707",
    ),
    "gpt2-medium": Release("openai-community/gpt2-medium", "6dcaa7a952f72f9298047fd5137cd6e4f05f41da", None),
    "gpt2-large": Release("openai-community/gpt2-large", "32b71b12589c2f8d625668d2335a01cac3249519", None),
    "gpt2-xl": Release(
        "openai-community/gpt2-xl",
        "15ea56dee5df4983c59b2538573817e1667135e2",
        "0f8b28eb05a8075f48b61b6f35332978c74fc7763fa9fb4051a1c30511736a6a",
    ),
}


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _sha256(file)


def _sha256(file: Any) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def download(release: Release) -> Path:
    """Path of a release's weights in the hub's cache, downloaded if they are not there yet.

    Honours ``HF_ENDPOINT``, ``HF_HOME`` and ``HF_HUB_OFFLINE``. Raises ``TrainerError`` where they cannot be had or do
    not have the pinned SHA-256; a file that does not is removed from the cache.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    advice = "connect to the hub once, set HF_ENDPOINT to a mirror, or give --weights a file or `random`"
    try:
        path = Path(huggingface_hub.hf_hub_download(release.repository, WEIGHTS_FILE, revision=release.revision))
    except LocalEntryNotFoundError as error:
        raise TrainerError(
            f"the weights of {release.repository} are neither in the cache nor reachable: {advice}"
        ) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise TrainerError(f"the weights of {release.repository} cannot be downloaded: {error}; {advice}") from error
    expected = release.sha256 or path.resolve().name  # the cache names a large file by the SHA-256 that the hub gave
    if file_sha256(path) != expected:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise TrainerError(
            f"the weights of {release.repository} do not have the expected SHA-256 {expected} and were removed: "
            "run again to download them anew"
        )
    return path


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file or of a checkpoint directory, under the names of `GPT2Classifier`.

    Raises ``TrainerError`` for a path that is neither.
    """
    tensors = read_tensors(path / WEIGHTS_FILE if path.is_dir() else path)
    named = {}
    for name, tensor in tensors.items():
        if name.endswith((".attn.bias", ".attn.masked_bias")) or name == "lm_head.weight":
            continue  # constants of the causal mask, and the head that ours replaces
        named[name if name.startswith(("transformer.", "score.")) else f"transformer.{name}"] = tensor.float()
    return named


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file. Raises ``TrainerError`` where it is missing or broken."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not file.is_file():
        raise TrainerError(f"no weights at {file}: give a safetensors file or a checkpoint directory")
    try:
        return load_file(file)
    except SafetensorError as error:
        raise TrainerError(f"{file} is not a safetensors file, or is cut short: {error}") from error
    except OSError as error:
        raise TrainerError(f"{file} cannot be read: {error.strerror or error}") from error


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file. Raises ``OSError`` where it cannot be written, as Python's own functions do."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(tensors, path, metadata=metadata)
    except SafetensorError as error:
        raise OSError(f"{error}") from error


def load_weights(model: GPT2Classifier, tensors: dict[str, Tensor], source: str, *, head: bool = False) -> None:
    """Put tensors into a model of the same shape; without ``head``, one for the classifier's head is optional.

    Raises ``TrainerError`` with the first tensor that is missing, unknown or of another shape.
    """
    wanted = model.state_dict()
    for name in [*wanted, *tensors]:
        if name not in tensors:
            if name == "score.weight" and not head:
                continue
            raise TrainerError(
                f"{source} has no tensor {name.removeprefix('transformer.')}: is it a GPT-2 of this size?"
            )
        if name not in wanted:
            raise TrainerError(f"{source} has a tensor {name} that this model has not: is it a GPT-2 of this size?")
        if tensors[name].shape != wanted[name].shape:
            if name == "score.weight" and not head:
                continue
            raise TrainerError(
                f"{source} has {name} of shape {tuple(tensors[name].shape)}, this model needs "
                f"{tuple(wanted[name].shape)}: choose --model to fit the weights"
            )
    kept = {name: tensor for name, tensor in tensors.items() if tensor.shape == wanted[name].shape}
    model.load_state_dict(kept, strict=False)


def starting_model(
    shape: str, weights: str, seed: int, config: GPT2Config | None = None, **kwargs: Any
) -> GPT2Classifier:
    """A classifier of a named shape with its starting weights.

    Args:
        shape: a name in `SHAPES`.
        weights: ``pretrained`` (from the hub), ``random``, or the path of a safetensors file or checkpoint directory.
        seed: of the random weights; the head is random in any case unless the file brings one.
        config: another config than the shape's own.
        **kwargs: passed on to `GPT2Classifier`.

    Raises:
        TrainerError: the weights cannot be had, or do not fit.
    """
    model = GPT2Classifier(config or SHAPES[shape], **kwargs)
    model.initialize(seed)
    if weights == "random":
        return model
    if weights == "pretrained":
        if shape not in RELEASES:
            raise TrainerError(f"there are no pretrained weights for {shape}: use --weights random or a path")
        path = download(RELEASES[shape])
    else:
        path = Path(weights)
        _check_heads(path, model.config)
    load_weights(model, read_weights(path), str(path))
    return model


def _check_heads(path: Path, config: GPT2Config) -> None:
    """The number of heads shows in no tensor's shape: where a config stands beside the weights, compare."""
    described = (path if path.is_dir() else path.parent) / "config.json"
    if not described.is_file():
        return
    try:
        heads = json.loads(described.read_text(encoding="utf-8")).get("n_head", config.n_head)
    except (ValueError, AttributeError) as error:
        raise TrainerError(f"{described} is not a model's config: {error}") from error
    if heads != config.n_head:
        raise TrainerError(
            f"{described} has {heads} attention heads, this model has {config.n_head}: choose --model to fit"
        )
