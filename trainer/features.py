"""What the frozen blocks make of each message, computed once and kept within bounds.

Without dropout a frozen block is a function: running it again every epoch, as the textbook loop does, gives the same
numbers again. They are kept in memory up to a budget, then in a temporary file, and beyond that computed anew.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import BinaryIO, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

DISK_RESERVE = 1 << 30
"""Bytes of disk that are never taken."""


def batches_by_length(lengths: Sequence[int], indices: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Group messages of like length, at most ``max_tokens`` tokens or one message a group."""
    groups: list[list[int]] = []
    tokens = max_tokens
    for index in sorted(indices, key=lambda i: (lengths[i], i)):
        if tokens + lengths[index] > max_tokens:
            groups.append([])
            tokens = 0
        groups[-1].append(index)
        tokens += int(lengths[index])
    return groups


class FeatureCache:
    """Features (tokens, width) of messages, filled at once and then read in any order.

    Args:
        ends: int64 (messages,), where each message's features stop when all are laid end to end.
        width: features a token has.
        compute: makes the features of messages, float32 (tokens, width) end to end.
        memory: budget in bytes; what does not fit goes to disk.
        disk: budget in bytes of a temporary file, which has no name and so is gone with the process, however it ends;
            by default what is free.
        sharing: processes that do the same and share what is free.
    """

    def __init__(
        self,
        ends: NDArray[np.int64],
        width: int,
        compute: Callable[[Sequence[int]], Tensor],
        memory: int,
        disk: int | None = None,
        sharing: int = 1,
    ) -> None:
        self.ends, self.width, self.compute = ends, width, compute
        self.lengths: list[int] = np.diff(ends, prepend=0).tolist()
        row = 4 * width
        sizes = ends * row
        self.in_memory = int(np.searchsorted(sizes, memory, side="right"))
        first_on_disk = int(sizes[self.in_memory - 1]) if self.in_memory else 0
        self.offset = first_on_disk // row
        self.rows = torch.empty(self.offset, width)
        wanted = int(sizes[-1]) - first_on_disk if len(sizes) else 0
        free = (shutil.disk_usage(tempfile.gettempdir()).free - DISK_RESERVE) // sharing
        disk = max(0, min(wanted, free if disk is None else min(disk, free)))
        self.kept = int(np.searchsorted(sizes, first_on_disk + disk, side="right"))
        self.file = cast(BinaryIO, tempfile.TemporaryFile()) if self.kept > self.in_memory else None  # noqa: SIM115

    def __enter__(self) -> FeatureCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.file:
            self.file.close()

    def _span(self, index: int) -> tuple[int, int]:
        return int(self.ends[index - 1]) if index else 0, int(self.ends[index])

    def fill(self, groups: Sequence[Sequence[int]], computed: Iterable[Tensor] | None = None) -> Iterator[int]:
        """Keep the features of groups of messages; yields how many each time.

        Args:
            groups: places of messages.
            computed: the features of each group, where others make them as well; by default they are computed here.
        """
        for group, features in zip(groups, map(self.compute, groups) if computed is None else computed, strict=True):
            parts = features.cpu().split_with_sizes([self.lengths[index] for index in group])
            for index, part in zip(group, parts, strict=True):
                start, end = self._span(index)
                if index < self.in_memory:
                    self.rows[start:end] = part
                elif self.file:
                    os.pwrite(
                        self.file.fileno(), part.contiguous().numpy().data, (start - self.offset) * 4 * self.width
                    )
            yield len(group)

    def take(self, indices: Sequence[int]) -> Tensor:
        """Features of messages, float32 (tokens, width) end to end."""
        missing = [index for index in indices if index >= self.kept]
        computed: Iterator[Tensor] = iter(())
        if missing:
            computed = iter(self.compute(missing).cpu().split_with_sizes([self.lengths[i] for i in missing]))
        return torch.cat([next(computed) if index >= self.kept else self._kept(index) for index in indices])

    def _kept(self, index: int) -> Tensor:
        start, end = self._span(index)
        if index < self.in_memory:
            return self.rows[start:end]
        assert self.file is not None
        raw = os.pread(self.file.fileno(), (end - start) * 4 * self.width, (start - self.offset) * 4 * self.width)
        return torch.frombuffer(bytearray(raw), dtype=torch.float32).view(-1, self.width)
