"""GPT-2 with a classification head.

Radford et al. 2019, "Language Models are Unsupervised Multitask Learners". Parameters have the names and the layout of
Hugging Face's ``GPT2ForSequenceClassification``, so weights go to and fro unchanged.

Two things set it apart from the textbook form, and neither changes a result. All work runs on the real tokens of a
batch, laid end to end as ``(tokens, width)``: only attention sees the messages side by side. And since one token's
logits are read, the last block computes keys and values for every token but all else for that token alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class GPT2Config:
    """Shape of a model."""

    n_layer: int = 12
    """Number of blocks."""
    n_embd: int = 768
    """Width: features a token has between the blocks."""
    n_head: int = 12
    """Attention heads in a block."""
    n_positions: int = 1024
    """Longest message in tokens."""
    vocab_size: int = 50257
    """Tokens that there are."""
    n_labels: int = 2
    """Classes that the head tells apart."""
    dropout: float = 0.0
    """Share of features zeroed in training, after the embeddings, in the attention and on the residual path."""
    layer_norm_epsilon: float = 1e-5
    """Added to the variance in layer normalization."""


SHAPES = {
    "gpt2": GPT2Config(n_layer=12, n_embd=768, n_head=12),
    "gpt2-medium": GPT2Config(n_layer=24, n_embd=1024, n_head=16),
    "gpt2-large": GPT2Config(n_layer=36, n_embd=1280, n_head=20),
    "gpt2-xl": GPT2Config(n_layer=48, n_embd=1600, n_head=25),
    "nano": GPT2Config(n_layer=2, n_embd=64, n_head=4, dropout=0.1),
}
"""The four sizes of the paper, and one that is trained from random weights in seconds."""


@dataclass(frozen=True)
class Packing:
    """Where the real tokens of a ragged batch lie when they are laid end to end."""

    positions: Tensor
    """int64 (tokens,): each token's place in its message."""
    slots: Tensor
    """int64 (batch, longest): the token at each place of each message; 0 where the message is over."""
    places: Tensor
    """int64 (tokens,): the inverse: each token's index in the flattened (batch * longest)."""
    lengths: Tensor
    """int64 (batch,): tokens in each message."""
    ends: Tensor
    """int64 (batch,): the token after each message's last one."""

    @classmethod
    def of(cls, lengths: Tensor) -> Packing:
        """Pack messages of these lengths, int64 (batch,), each at least 1."""
        longest = int(lengths.max())
        ends = lengths.cumsum(0)
        place = torch.arange(longest, device=lengths.device)
        real = place < lengths[:, None]
        slots = torch.where(real, (ends - lengths)[:, None] + place, 0)
        return cls(place.expand_as(real)[real], slots, real.flatten().nonzero()[:, 0], lengths, ends)

    def read(self, readout: str) -> Tensor:
        """int64 (batch,): the token whose logits count, ``"last"`` or ``"first"`` of each message."""
        return self.ends - 1 if readout == "last" else self.ends - self.lengths


class Conv1D(nn.Module):
    """A linear layer whose weight is (in, out), as in OpenAI's code."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width_in, width_out))
        self.bias = nn.Parameter(torch.zeros(width_out))

    def forward(self, x: Tensor) -> Tensor:
        """(tokens, in) to (tokens, out)."""
        return torch.addmm(self.bias, x, self.weight)


class Attention(nn.Module):
    """Causal multi-head self-attention."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.dropout = config.dropout
        self.c_attn = Conv1D(config.n_embd, 3 * config.n_embd)  # queries, keys, values
        self.c_proj = Conv1D(config.n_embd, config.n_embd)

    def heads(self, x: Tensor) -> Tensor:
        """(batch, length, width) to (batch, heads, length, width / heads)."""
        return x.view(*x.shape[:-1], self.n_head, -1).transpose(1, 2)

    def forward(self, x: Tensor, packing: Packing) -> Tensor:
        """(tokens, width) to (tokens, width); a token attends to itself and to what came before it in its message."""
        width = x.shape[1]
        # what stands in unused slots lies to the right of every real query, where causal attention does not look
        q, k, v = self.c_attn(x)[packing.slots].chunk(3, dim=-1)
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(
            self.heads(q), self.heads(k), self.heads(v), dropout_p=dropout, is_causal=True
        )
        return self.c_proj(y.transpose(1, 2).reshape(-1, width)[packing.places])

    def at(self, x: Tensor, rows: Tensor, packing: Packing) -> Tensor:
        """The same for one token a message: (tokens, width) and its row (batch,) to (batch, width)."""
        width = x.shape[1]
        weight, bias = self.c_attn.weight, self.c_attn.bias
        q = torch.addmm(bias[:width], x[rows], weight[:, :width])[:, None]
        k, v = torch.addmm(bias[width:], x, weight[:, width:])[packing.slots].chunk(2, dim=-1)
        seen = packing.positions[rows][:, None] >= torch.arange(packing.slots.shape[1], device=x.device)
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(
            self.heads(q), self.heads(k), self.heads(v), attn_mask=seen[:, None, None], dropout_p=dropout
        )
        return self.c_proj(y.transpose(1, 2).flatten(1))


class MLP(nn.Module):
    """The feed-forward half of a block."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.c_fc = Conv1D(config.n_embd, 4 * config.n_embd)
        self.c_proj = Conv1D(4 * config.n_embd, config.n_embd)

    def forward(self, x: Tensor) -> Tensor:
        """(tokens, width) to (tokens, width)."""
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    """Attention and MLP, each normalized before and added to what went in."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = MLP(config)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, packing: Packing) -> Tensor:
        """(tokens, width) to (tokens, width)."""
        x = x + self.drop(self.attn(self.ln_1(x), packing))
        return x + self.drop(self.mlp(self.ln_2(x)))

    def at(self, x: Tensor, rows: Tensor, packing: Packing) -> Tensor:
        """The same for one token a message: (tokens, width) and its row (batch,) to (batch, width)."""
        y = x[rows] + self.drop(self.attn.at(self.ln_1(x), rows, packing))
        return y + self.drop(self.mlp(self.ln_2(y)))


class GPT2(nn.Module):
    """Embeddings, blocks, and a final norm."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.dropout)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)

    def before(self, ids: Tensor, packing: Packing, blocks: int) -> Tensor:
        """What goes into block number ``blocks`` (from 0): ids (tokens,) to (tokens, width)."""
        x = self.drop(self.wte(ids) + self.wpe(packing.positions))
        for block in self.h[:blocks]:
            x = block(x, packing)
        return x

    def forward(self, ids: Tensor, packing: Packing) -> Tensor:
        """Hidden state of every token: ids (tokens,) to (tokens, width)."""
        return self.ln_f(self.before(ids, packing, len(self.h)))


class GPT2Classifier(nn.Module):
    """GPT-2 whose vocabulary head is replaced by a linear layer to the labels, read at one token."""

    def __init__(self, config: GPT2Config, readout: str = "last") -> None:
        super().__init__()
        self.config = config
        self.readout = readout
        self.whole = False  # compute the last block for every token, though one is read
        self.transformer = GPT2(config)
        self.score = nn.Linear(config.n_embd, config.n_labels, bias=False)

    def initialize(self, seed: int) -> None:
        """Draw random weights as GPT-2's were: N(0, 0.02), residual projections less by sqrt(their number)."""
        generator = torch.Generator().manual_seed(seed)
        residual_std = 0.02 / math.sqrt(2 * self.config.n_layer)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                std = residual_std if name.endswith("c_proj.weight") else 0.02
                nn.init.normal_(parameter, std=std, generator=generator)
            else:
                nn.init.constant_(parameter, 1.0 if ".ln_" in name and name.endswith("weight") else 0.0)

    def classify(self, x: Tensor, packing: Packing) -> Tensor:
        """Logits from what goes into the last block: (tokens, width) to float (batch, labels)."""
        block: Block = self.transformer.h[-1]  # type: ignore[assignment]
        rows = packing.read(self.readout)
        x = block(x, packing)[rows] if self.whole else block.at(x, rows, packing)
        return self.score(self.transformer.ln_f(x))

    def packed(self, ids: Tensor, packing: Packing) -> Tensor:
        """Logits of messages laid end to end: ids int64 (tokens,) to float (batch, labels)."""
        return self.classify(self.transformer.before(ids, packing, len(self.transformer.h) - 1), packing)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Logits of messages side by side, padded on the right.

        Args:
            input_ids: int64 (batch, sequence).
            attention_mask: int64 (batch, sequence), 1 for real tokens, at least one a row; all are real without it.

        Returns:
            float (batch, labels): the logits at each message's last real token (or first, as ``readout`` says).
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        return self.packed(input_ids[attention_mask.bool()], Packing.of(attention_mask.sum(1)))
