import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from runtime.batching import batches, pad, windows

lengths = st.lists(st.integers(1, 1024), max_size=200)


@given(lengths, st.integers(1, 8192))
def test_every_message_is_in_exactly_one_batch(lengths: list[int], budget: int) -> None:
    assert sorted(index for group in batches(lengths, budget) for index in group) == list(range(len(lengths)))


@given(lengths, st.integers(1, 8192))
def test_no_batch_exceeds_the_budget_but_for_a_single_long_message(lengths: list[int], budget: int) -> None:
    for group in batches(lengths, budget):
        assert len(group) == 1 or len(group) * max(lengths[index] for index in group) <= budget


@given(lengths, st.integers(1, 8192))
def test_batches_hold_neighbours_in_length(lengths: list[int], budget: int) -> None:
    ordered = [lengths[index] for group in batches(lengths, budget) for index in group]
    assert ordered == sorted(lengths)


@given(st.lists(st.lists(st.integers(0, 50256), min_size=1, max_size=40), min_size=1, max_size=20))
def test_padding_is_on_the_right_and_masked(rows: list[list[int]]) -> None:
    ids, mask = pad([np.array(row, dtype=np.uint16) for row in rows])
    assert ids.dtype == mask.dtype == np.int64
    for row, own, real in zip(rows, ids, mask, strict=True):
        assert own[: len(row)].tolist() == row
        assert set(own[len(row) :].tolist()) <= {50256}
        assert real.tolist() == [1] * len(row) + [0] * (len(own) - len(row))


@given(st.integers(1, 500), st.integers(1, 64))
def test_windows_cover_every_id_and_overlap_by_half(count: int, size: int) -> None:
    parts = windows(np.arange(count, dtype=np.uint16), size)
    assert {i for part in parts for i in part.tolist()} == set(range(count))
    assert all(len(part) == min(size, count) for part in parts)
    assert len({int(part[0]) for part in parts}) == len(parts)
    assert all(after[0] - before[0] <= max(1, size // 2) for before, after in itertools.pairwise(parts))
