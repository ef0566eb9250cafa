"""Packing: messages of similar length go together, and a batch is capped in tokens, not in messages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from runtime.spec import END_OF_TEXT

Ids = npt.NDArray[np.int64]
Row = npt.NDArray[np.uint16]
"""Ids of one message: the vocabulary has 50,257, so two bytes hold one."""


def batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Group messages into batches of at most ``budget`` tokens, padding included.

    Args:
        lengths: Tokens of each message.
        budget: Largest ``rows × longest row`` of a batch. A message longer than that gets a batch of its own.

    Returns:
        Indices into ``lengths``, each exactly once, shortest messages first; equal lengths keep their order.
    """
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if groups and (len(groups[-1]) + 1) * lengths[index] <= budget:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def pad(rows: Sequence[Row]) -> tuple[Ids, Ids]:
    """Lay rows of ids side by side, padded on the right with 50256.

    Returns:
        ``input_ids`` and ``attention_mask`` (1 for a message's own ids), both int64 ``[rows, longest row]``.
    """
    longest = max(map(len, rows))
    ids = np.full((len(rows), longest), END_OF_TEXT, dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, values in enumerate(rows):
        ids[row, : len(values)] = values
        mask[row, : len(values)] = 1
    return ids, mask


def windows(ids: Row, size: int) -> list[Row]:
    """Cut ids into windows of ``size`` that overlap by half; the last one ends where the ids end."""
    last = max(0, len(ids) - size)
    return [ids[start : start + size] for start in (*range(0, last, max(1, size // 2)), last)]
