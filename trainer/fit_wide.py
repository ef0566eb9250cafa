"""Fits the table of the wide path: ridge regression on the themes, solved for all of them at once.

Ridge regression rather than gradient steps, since it has one solution, which depends on no order, no rate and no seed.
The dual problem ``(X X' + ridge) v = y`` is solved by conjugate gradients (Hestenes and Stiefel 1952) on the sparse
matrix of n-grams, whose memory grows with the text and not with the square of the messages.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch import Tensor

from trainer.data import Tokens
from trainer.features import batches_by_length
from trainer.gpt2 import Packing
from trainer.wide import BLOCKS, COUNTERS, IDF_UNIT, NGrams, Wide, WideConfig, block_weight

TOKENS_AT_ONCE = 16384
"""Tokens whose n-grams are computed at once."""
LARGEST_STEP = 127
"""Products of two bytes are added in pairs to 16 bits on CPUs without VNNI: 2 * 127 * 127 still fits."""
USUAL_GAIN = 12.0
"""What the log-odds of a wide path, a difference of logsumexps of scores around -1, have to be multiplied by."""
PRECONDITIONED = 256
"""Directions in which the problem is solved at once."""
TOLERANCE = 0.03
"""Conjugate gradients stop when no residual is longer than this share of its target."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Counts:
    """The n-grams of many messages in one block: each once a message, with how often it stands there."""

    message: Ints
    hash: Ints
    count: Ints


def count_ngrams(tokens: Tokens, report: Callable[[int], None] = lambda done: None) -> list[Counts]:
    """The n-grams of messages, one entry for each of `trainer.wide.BLOCKS`.

    Args:
        tokens: The messages.
        report: Called with the number of messages done since the last call.
    """
    ngrams, found = NGrams(), [[] for _ in BLOCKS]  # type: tuple[NGrams, list[list[Ints]]]
    for group in batches_by_length(tokens.lengths.tolist(), range(len(tokens)), TOKENS_AT_ONCE):
        ids, lengths = tokens.take(group)
        for keys, block in zip(found, ngrams.hashes(ids, Packing.of(lengths)), strict=True):
            message, place = block.there.nonzero(as_tuple=True)
            keys.append(torch.tensor(group)[message].numpy() << 31 | block.values[message, place].numpy())
        report(len(group))
    counts = []
    for keys in found:
        key, count = np.unique(np.concatenate(keys), return_counts=True)
        counts.append(Counts(key >> 31, key & (2**31 - 1), count.astype(np.int64)))
    return counts


def assign_rows(counts: Sequence[Counts], wide: Wide, messages: int) -> None:
    """Give each row of the table to that of its n-grams which matters most; the others are not known.

    An n-gram matters by the messages that it is in, and in a long one, where it is one of many, less than in a short.
    """
    rows = wide.config.rows
    sizes = [np.bincount(block.message, minlength=messages) for block in counts]
    shares = [1 / np.sqrt(size[block.message]) for size, block in zip(sizes, counts, strict=True)]
    values, place = np.unique(np.concatenate([block.hash for block in counts]), return_inverse=True)
    spread = np.bincount(place)
    order = np.argsort(np.bincount(place, np.concatenate(shares)), kind="stable")
    owner, df = np.full(rows, -1), np.zeros(rows)
    owner[values[order] % rows] = values[order]  # of several for one row the last one stays
    df[values[order] % rows] = spread[order]
    used = owner >= 0
    idf = np.where(used, np.rint(IDF_UNIT * (np.log((1 + messages) / (1 + df)) + 1)), 0).clip(0, 255)
    wide.check.copy_(torch.from_numpy(np.where(used, owner // rows, -1).astype(np.int16)))
    wide.idf.copy_(torch.from_numpy(idf.astype(np.uint8)))


@dataclass(frozen=True)
class Design:
    """The matrix of n-grams (messages, n-grams in use) and its transpose, sparse and float64.

    In float32 conjugate gradients take twice the steps, since the n-grams that all messages share make the problem
    badly conditioned.
    """

    forward: Tensor
    backward: Tensor
    rows: Ints
    """Rows of the table that the columns stand for."""


def design_matrix(counts: Sequence[Counts], wide: Wide, messages: int) -> Design:
    """What the n-grams of each message count for, as `trainer.wide.Wide` weighs them."""
    rows, idf = wide.config.rows, wide.idf.numpy().astype(np.float64)
    total = csr_matrix((messages, rows))
    known = [_known(block, wide) for block in counts]
    shared = _shared_counts(known)
    for block, together in zip(known, shared, strict=True):
        weight = block.times * idf[block.row]
        length = np.sqrt(np.bincount(block.message, block.times * together * idf[block.row] ** 2, minlength=messages))
        value = block_weight() * weight / length[block.message]
        total = total + csr_matrix((value, (block.message, block.row)), shape=total.shape)
    used = np.unique(total.indices)
    column = np.zeros(rows, np.int64)
    column[used] = np.arange(len(used))
    compact = csr_matrix((total.data, column[total.indices], total.indptr), shape=(messages, len(used)))
    return Design(_sparse(compact), _sparse(compact.T.tocsr()), used)


class _Known(NamedTuple):
    """The n-grams of a block that the table has."""

    message: Ints
    row: Ints
    times: Ints


def _known(block: Counts, wide: Wide) -> _Known:
    row, check = np.divmod(block.hash, wide.config.rows)[::-1]
    keep = wide.check.numpy()[row] == check
    return _Known(block.message[keep], row[keep], block.count[keep])


def _shared_counts(blocks: Sequence[_Known]) -> list[Ints]:
    """How often each n-gram stands in its message as `trainer.wide.squared_lengths` counts, int64 for each block."""
    keys = [block.message * COUNTERS + block.row % COUNTERS for block in blocks]
    counters, places = np.unique(np.concatenate(keys), return_inverse=True)
    totals = np.bincount(places, np.concatenate([block.times for block in blocks]), len(counters)).astype(np.int64)
    return np.split(totals[places], np.cumsum([len(key) for key in keys])[:-1])


def _sparse(matrix: csr_matrix) -> Tensor:
    starts, columns = (torch.from_numpy(part.astype(np.int64)) for part in (matrix.indptr, matrix.indices))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse", UserWarning)  # "in beta state" since 2021
        return torch.sparse_csr_tensor(starts, columns, torch.from_numpy(matrix.data), matrix.shape)


class Preconditioner:
    """An approximate inverse of ``X X' + ridge``, exact on the directions in which ``X X'`` is largest.

    Randomized Nystroem preconditioning (Frangella, Tropp and Udell 2021): n-grams that most messages share make a few
    directions thousands of times as long as the others, and conjugate gradients would take a step or more for each.
    """

    def __init__(self, design: Design, ridge: float, rank: int) -> None:
        messages = design.forward.shape[0]
        draw = torch.Generator().manual_seed(0)
        probes = torch.randn(messages, min(rank, messages), generator=draw, dtype=torch.float64)
        probes = torch.linalg.qr(probes).Q
        images = design.forward @ (design.backward @ probes)
        shift = 1e-10 * float(images.norm())
        images += shift * probes
        root = torch.linalg.cholesky(probes.T @ images)
        self.directions, lengths, _ = torch.linalg.svd(
            torch.linalg.solve_triangular(root.T, images, upper=True, left=False), full_matrices=False
        )
        values = (lengths**2 - shift).clamp_min(0)
        self.factors = (values[-1] + ridge) / (values + ridge) - 1

    def __call__(self, x: Tensor) -> Tensor:
        """Apply it to float64 (messages, problems)."""
        return x + self.directions @ (self.factors[:, None] * (self.directions.T @ x))


def solve(design: Design, target: Tensor, ridge: float, most: int, report: Callable[[int], None]) -> Tensor:
    """Dual weights of ridge regressions by preconditioned conjugate gradients.

    Args:
        design: X.
        target: float64 (messages, problems).
        ridge: Penalty; a message has length 2**0.5.
        most: Largest number of steps.
        report: Called with 1 after each step.

    Returns:
        float64 (messages, problems).
    """
    precondition = Preconditioner(design, ridge, PRECONDITIONED)
    residual = target.clone()
    solution = torch.zeros_like(residual)
    direction = scaled = precondition(residual)
    product = (residual * scaled).sum(0)
    first = residual.norm(dim=0).clamp_min(1e-30)
    for _ in range(most):
        image = design.forward @ (design.backward @ direction) + ridge * direction
        stride = product / (direction * image).sum(0).clamp_min(1e-30)
        solution += stride * direction
        residual -= stride * image
        report(1)
        if bool((residual.norm(dim=0) < TOLERANCE * first).all()):
            break
        scaled = precondition(residual)
        former, product = product, (residual * scaled).sum(0)
        direction = scaled + product / former.clamp_min(1e-30) * direction
    return solution


def quantize(wide: Wide, rows: Ints, weights: Tensor) -> Wide:
    """A module with the weights, float64 (rows, themes) of the table's rows ``rows``, as int8 with a step a row."""
    scaled = weights * wide.idf[torch.from_numpy(rows)].float()[:, None] * block_weight()
    largest = scaled.abs().amax(1)
    scale = float(largest.max()) / (127 * LARGEST_STEP) or 1.0
    step = (largest / (127 * scale)).ceil().clamp(1, LARGEST_STEP)
    fitted = Wide(replace(wide.config, scale=scale))
    fitted.load_state_dict(wide.state_dict())
    fitted.step[rows] = step.to(torch.uint8)
    fitted.weight[rows] = (scaled / (step * scale)[:, None]).round().to(torch.int8)
    return fitted


def regress(design: Tensor, labels: Tensor, expected: Sequence[float], spread: Sequence[float]) -> list[float]:
    """Logistic regression with normal priors, by Newton's method.

    Args:
        design: float64 (messages, coefficients).
        labels: 0 or 1, (messages,).
        expected: What the coefficients are thought to be,
        spread: and the standard deviations of that.
    """
    target, prior = labels.double(), torch.tensor(expected, dtype=torch.float64)
    precision = torch.tensor(spread, dtype=torch.float64) ** -2

    def loss(values: Tensor) -> float:
        likelihood = F.binary_cross_entropy_with_logits(design @ values, target, reduction="sum")
        return float(likelihood + (precision * (values - prior) ** 2).sum() / 2)

    values = prior.clone()
    for _ in range(50):
        probability = torch.sigmoid(design @ values)
        curvature = (design * (probability * (1 - probability))[:, None]).T @ design + torch.diag(precision)
        gradient = design.T @ (probability - target) + precision * (values - prior)
        step = torch.linalg.solve(curvature, gradient)
        # the problem is convex, but where most probabilities are near 0 or 1 a whole step leads far beyond its minimum
        most = loss(values) * (1 + 1e-9)
        while loss(values - step) > most:
            step /= 2
        values -= step
    return [float(value) for value in values]


def log_odds(logits: Tensor) -> Tensor:
    """float64 (messages,) of logits (messages, 2)."""
    return logits[:, 1].double() - logits[:, 0].double()


def join_paths(deep: Tensor, wide: Tensor, labels: Sequence[int]) -> tuple[float, float, float]:
    """How much the logits of the transformer and of the wide path are to count, and what is added to the log-odds.

    Found by logistic regression on messages that neither has learned from, which also calibrates the sum (Platt 1999).
    With few of them the transformer counts for a quarter, and the wide path as much as it usually does.

    Args:
        deep: Logits of the transformer, float32 (messages, 2).
        wide: Logits of the wide path, float32 (messages, 2).
        labels: Of the messages.
    """
    design = torch.stack([log_odds(deep), log_odds(wide), torch.ones(len(deep), dtype=torch.float64)], 1)
    of_deep, of_wide, offset = regress(design, torch.tensor(labels), (0.25, USUAL_GAIN, 0.0), (0.5, USUAL_GAIN, 5.0))
    return max(of_deep, 0.0), max(of_wide, 0.0), offset


@torch.no_grad()
def wide_logits(wide: Wide, tokens: Tokens) -> Tensor:
    """Logits of the wide path, float32 (messages, 2)."""
    logits = torch.empty(len(tokens), len(wide.config.offsets))
    for group in batches_by_length(tokens.lengths.tolist(), range(len(tokens)), TOKENS_AT_ONCE // 4):
        ids, lengths = tokens.take(group)
        logits[group] = wide(ids, Packing.of(lengths))
    return logits


def fit_wide(
    tokens: Tokens,
    labels: Sequence[int],
    themes: Sequence[str],
    *,
    rows: int,
    ridge: float,
    steps: int = 100,
    report: Callable[[str, int, int], None] = lambda phase, done, total: None,
) -> tuple[Wide, Tensor]:
    """Fit a wide path; its logits are not calibrated yet (see `join_paths`).

    Args:
        tokens: Messages.
        labels: Of each message, 0 or 1.
        themes: Of each message, any words; messages of different labels have different themes whatever their names.
        rows: Rows of the table.
        ridge: Penalty of the ridge regression.
        steps: Most steps of conjugate gradients.
        report: Called with the phase, how much of it is done, and of how much.

    Returns:
        The module, and what its weights say of the messages before they become int8: logits, float32 (messages, 2).
    """
    count = len(labels)
    done = {"n-grams": 0, "solving": 0}

    def advance(phase: str, total: int) -> Callable[[int], None]:
        def add(more: int) -> None:
            done[phase] += more
            report(phase, done[phase], total)

        return add

    names = sorted(set(zip(labels, themes, strict=True)))
    index = {name: place for place, name in enumerate(names)}
    wide = Wide(WideConfig(tuple(theme for _, theme in names), tuple(label for label, _ in names), rows))
    counts = count_ngrams(tokens, advance("n-grams", count))
    assign_rows(counts, wide, count)
    design = design_matrix(counts, wide, count)
    del counts
    theme = torch.tensor([index[name] for name in zip(labels, themes, strict=True)])
    target = F.one_hot(theme, len(names)).double() * 2 - 1
    mean = target.mean(0)
    wide.bias.copy_(mean)
    dual = solve(design, target - mean, ridge, steps, advance("solving", steps))
    report("solving", steps, steps)
    weights = design.backward @ dual
    return quantize(wide, design.rows, weights), wide.label_logits(design.forward @ weights + mean).float()
