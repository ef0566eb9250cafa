"""The cache of what the frozen blocks make of the messages."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.features import FeatureCache, batches_by_length

WIDTH = 3


class Frozen:
    """Features that tell which message and token they are, and how often they were computed."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = lengths
        self.computed = [0] * len(lengths)

    def one(self, index: int) -> torch.Tensor:
        return (index + torch.arange(self.lengths[index])[:, None] / 1000).expand(-1, WIDTH)

    def __call__(self, indices: Sequence[int]) -> torch.Tensor:
        for index in indices:
            self.computed[index] += 1
        return torch.cat([self.one(index) for index in indices])


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=40),
    memory=st.integers(0, 4000),
    disk=st.integers(0, 4000),
    data=st.data(),
)
def test_features_are_right_wherever_they_are_kept(
    lengths: list[int], memory: int, disk: int, data: st.DataObject
) -> None:
    frozen = Frozen(lengths)
    with FeatureCache(np.cumsum(lengths), WIDTH, frozen, memory, disk) as cache:
        assert sum(cache.fill(batches_by_length(lengths, range(cache.kept), 64))) == cache.kept
        wanted = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=10))
        assert torch.equal(cache.take(wanted), torch.cat([frozen.one(index) for index in wanted]))
        assert cache.rows.nbytes <= memory
        kept_on_disk = sum(lengths[cache.in_memory : cache.kept]) * 4 * WIDTH
        assert kept_on_disk <= disk
        for index in range(cache.kept):
            assert frozen.computed[index] == 1


def test_nothing_is_left_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    lengths = [10] * 50
    with FeatureCache(np.cumsum(lengths), WIDTH, Frozen(lengths), memory=1000, disk=10_000) as cache:
        list(cache.fill(batches_by_length(lengths, range(cache.kept), 64)))
        assert cache.in_memory < cache.kept == 50
        assert not list(tmp_path.iterdir())  # even while it is in use


@given(lengths=st.lists(st.integers(1, 50), min_size=1, max_size=60), budget=st.integers(1, 120))
def test_batches_hold_every_message_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = batches_by_length(lengths, range(len(lengths)), budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or sum(lengths[index] for index in batch) <= budget for batch in batches)
