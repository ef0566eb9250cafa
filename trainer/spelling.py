"""Token embeddings made from spelling while a small model is trained, and plain ones afterwards.

A model that starts from random weights learns only the tokens it sees. Here a token's embedding is the sum of vectors
of what it is spelled with, as in fastText (Bojanowski et al. 2017, "Enriching Word Vectors with Subword Information"),
and of a vector of its own if it is in the training messages. So `` FREE``, ``free`` and ``fr33`` start out alike, and a
token never seen has a meaning. When training is over the sums are computed once for all 50,257 tokens, and a plain
table is left.
"""

from __future__ import annotations

import math
import unicodedata
import zlib
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from runtime.fold import latin_letters
from runtime.tokenizer import token_bytes
from trainer.gpt2 import GPT2Classifier

BUCKETS = 1 << 14
"""Vectors that spelling features are hashed to."""
SPREAD = 0.2
"""Standard deviation of those vectors at the start."""
WAVES = 8
"""Pairs of channels that begin with the position."""
LOOK_BACK = 2
"""Heads of the first block that begin by attending 1, 2, ... tokens back."""

LEET = str.maketrans("0134578@$!|", "oieastbasil")


def skeleton(text: str) -> str:
    """A text in lower case, without accents, letters that look like Latin ones replaced by those."""
    plain = unicodedata.normalize("NFKD", text).translate(_latin_letters())
    return "".join(letter for letter in plain.lower() if not unicodedata.combining(letter))


@lru_cache(maxsize=1)
def _latin_letters() -> dict[int, str]:
    return str.maketrans(latin_letters())


def features(token: bytes) -> list[str]:
    """What a token is spelled with: its skeleton, its character 2- to 4-grams, its case, the shape of its digits."""
    try:
        text = token.decode()
    except UnicodeDecodeError:
        return ["bytes"]
    body = text.lstrip(" ")
    found = ["space" if text.startswith(" ") else "joined"]
    if not body:
        return [*found, f"blank {min(len(text), 3)}"]
    edge = "<" if text.startswith(" ") else ""
    low = skeleton(body)
    if any(letter.isdigit() for letter in low):
        shape = "".join("0" if letter.isdigit() else letter for letter in low)
        found += [f"shape {shape}", f"shape {edge}{shape}", f"word {low}", "digit"]
        found += [f"digits {low[at : at + 2]}" for at in range(len(low) - 1)]
    plain = low.translate(LEET)
    if any(letter.isalpha() for letter in plain):
        found += [f"word {plain}", f"written {low}"]
        whole = edge + plain
        found += [f"gram {whole[at : at + n]}" for n in (2, 3, 4) for at in range(len(whole) - n + 1)]
        if body.isalpha():
            case = "upper" if body.isupper() and len(body) > 1 else "title" if body[0].isupper() else "lower"
            found.append(f"case {case}")
        if len(plain) <= 2:
            found.append("short")
    else:
        found += [f"mark {letter}" for letter in sorted(set(body))] + [f"word {body}"]
    if not body.isascii():
        found.append("not ascii")
    return found


@lru_cache(maxsize=1)
def hashed_features() -> tuple[NDArray[np.int64], ...]:
    """For each token the buckets of its features."""
    return tuple(np.array([zlib.crc32(name.encode()) % BUCKETS for name in features(token)]) for token in token_bytes())


class SpelledEmbedding(nn.Module):
    """A table of embeddings (tokens, width) as the sum of spelling vectors and, for known tokens, one of their own."""

    def __init__(self, vocab_size: int, width: int, known: ArrayLike, generator: torch.Generator) -> None:
        super().__init__()
        known = np.unique(known)
        self.spelling = nn.Parameter(torch.randn(BUCKETS, width, generator=generator) * SPREAD)
        self.own = nn.Parameter(torch.zeros(len(known) + 1, width))  # row 0 stands for all other tokens and stays zero
        self.own_row = np.zeros(vocab_size, dtype=np.int64)
        self.own_row[known] = np.arange(1, len(known) + 1)
        self.counts = np.array([len(one) for one in hashed_features()])
        self.starts = np.cumsum(self.counts) - self.counts
        self.hashed = np.concatenate(hashed_features())

    def rows(self, tokens: NDArray[np.int64]) -> Tensor:
        """Embeddings (count, width) of tokens (count,)."""
        counts = self.counts[tokens]
        offsets = np.cumsum(counts) - counts
        places = np.arange(counts.sum()) + np.repeat(self.starts[tokens] - offsets, counts)
        device = self.spelling.device
        summed = F.embedding_bag(
            torch.from_numpy(self.hashed[places]).to(device),
            self.spelling,
            torch.from_numpy(offsets).to(device),
            mode="sum",
        )
        scale = torch.from_numpy(1 / np.sqrt(counts)).to(device, torch.float32)
        return summed * scale[:, None] + F.embedding(torch.from_numpy(self.own_row[tokens]).to(device), self.own, 0)

    def forward(self, ids: Tensor) -> Tensor:
        """Embeddings (tokens, width) of ids (tokens,)."""
        tokens, inverse = np.unique(ids.cpu().numpy(), return_inverse=True)
        return self.rows(tokens)[torch.from_numpy(inverse).to(ids.device)]


def add_spelling(model: GPT2Classifier, known: ArrayLike, seed: int) -> None:
    """Let a model with random weights learn its token embeddings from spelling, in place.

    Positions begin ten times closer to zero, so that those beyond the longest training message add next to nothing,
    and some heads begin by looking back (see `look_back`).
    """
    config = model.config
    generator = torch.Generator().manual_seed(seed)
    model.transformer.wte = SpelledEmbedding(config.vocab_size, config.n_embd, known, generator)  # type: ignore[assignment]
    model.transformer.wpe.weight.data /= 10
    look_back(model)


@torch.no_grad()
def look_back(model: GPT2Classifier) -> None:
    """Let head number h of the first block, of the first `LOOK_BACK`, begin by attending h + 1 tokens back, in place.

    From random weights a model is long in finding out where the token before is. Here the first channels hold the
    position as waves (Vaswani et al. 2017, section 3.5), which the spelling leaves to them, and those heads begin with
    the rotation that takes each wave h + 1 tokens back. All of it is trained.
    """
    config = model.config
    size, width = config.n_embd // config.n_head, config.n_embd
    waves = min(WAVES, size // 2)
    speed = math.pi / 2 / 2 ** (4 * torch.arange(waves) / (WAVES - 1))
    angle = torch.arange(config.n_positions)[:, None] * speed
    spelled = model.transformer.wte
    assert isinstance(spelled, SpelledEmbedding)
    spelled.spelling[:, : 2 * waves] = 0
    model.transformer.wpe.weight[:, : 2 * waves] = SPREAD * torch.cat([angle.cos(), angle.sin()], 1)
    first: Any = model.transformer.h[0]
    for head in range(min(LOOK_BACK, config.n_head)):
        query, key = (first.attn.c_attn.weight[:, at + head * size :][:, :size] for at in (0, width))
        query.mul_(0.2)
        key.mul_(0.2)
        for wave in range(waves):
            cosine, sine, turn = wave, waves + wave, float(speed[wave]) * (head + 1)
            query[cosine, 2 * wave] += 2 * math.cos(turn)
            query[sine, 2 * wave] += 2 * math.sin(turn)
            query[cosine, 2 * wave + 1] -= 2 * math.sin(turn)
            query[sine, 2 * wave + 1] += 2 * math.cos(turn)
            key[cosine, 2 * wave] += 1
            key[sine, 2 * wave + 1] += 1


@torch.no_grad()
def merge_spelling(model: GPT2Classifier) -> None:
    """Compute the table of token embeddings once, in place: a plain model is left."""
    spelled = model.transformer.wte
    assert isinstance(spelled, SpelledEmbedding)
    table = spelled.rows(np.arange(model.config.vocab_size))
    plain = nn.Embedding(model.config.vocab_size, model.config.n_embd, device=table.device)
    plain.weight.data.copy_(table)
    model.transformer.wte = plain
