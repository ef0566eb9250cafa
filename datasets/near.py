"""Which messages nearly repeat another: they share a large part of their runs of six characters.

Exact, and of 20,000 messages in some seconds: a product of sparse matrices counts what every two have in common and
touches only those that share a run at all.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

RUN = 6
"""Characters of a run: about a word of English and three words of Chinese, so that few are shared by chance."""
REPEAT = 1 / 3
"""Similarity above which a message repeats another."""
GROUP = 0.2
"""Similarity above which two messages are told apart by small things: the same lure or notice, written anew."""
BLOCK = 2_000
"""Messages that are compared with all others at a time; bounds the memory."""
INVISIBLE = re.compile("[\u00ad\u034f\u061c\u115f\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]")
"""Characters that take no room on a screen: zero-width spaces, joiners, marks of direction, variation selectors."""


class Pair(NamedTuple):
    """Two messages that are alike."""

    later: int
    """Place of the one further down the list."""
    earlier: int
    similarity: float
    """Runs that both have over runs that either has (Jaccard), from 0 to 1."""


def folded(text: str) -> str:
    """A text without what copies of one message differ in: case, digits, spacing, styled and invisible characters."""
    text = INVISIBLE.sub("", unicodedata.normalize("NFKC", text).casefold())
    return re.sub(r"\s+", " ", re.sub(r"\d", "0", text)).strip()


def alike(texts: Sequence[str], least: float) -> list[Pair]:
    """All pairs of texts whose similarity is more than ``least`` (above 0), sorted by their places.

    A text shorter than a run is one run, so that only its exact (folded) repeats are like it.
    """
    if not texts:
        return []
    runs = _runs([folded(text) for text in texts])
    sizes, columns = np.diff(runs.indptr), runs.T.tocsr()
    pairs = []
    for start in range(0, len(texts), BLOCK):
        shared = (runs[start : start + BLOCK] @ columns[:, : start + BLOCK]).tocoo()
        later, earlier, both = shared.row + start, shared.col, shared.data
        found = (earlier < later) & (both > least * (sizes[later] + sizes[earlier] - both))
        for second, first, much in zip(later[found], earlier[found], both[found], strict=True):
            pairs.append(Pair(int(second), int(first), float(much / (sizes[second] + sizes[first] - much))))
    return sorted(pairs)


def _runs(texts: Sequence[str]) -> sparse.csr_matrix:
    """int32 (texts, distinct runs): 1 where a text has a run. Runs are told apart by a hash of 64 bits."""
    encoded = [np.frombuffer(text.ljust(RUN, "\0").encode("utf-32-le", "surrogatepass"), np.uint32) for text in texts]
    lengths = np.array([len(one) for one in encoded])
    characters = np.concatenate(encoded).astype(np.uint64)
    hashes = np.zeros(len(characters), dtype=np.uint64)
    for place in range(RUN):
        hashes = (hashes ^ np.roll(characters, -place)) * np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(29)
    owner = np.repeat(np.arange(len(texts)), lengths)
    inside = np.arange(len(characters)) + RUN <= np.cumsum(lengths)[owner]
    distinct, column = np.unique(hashes[inside], return_inverse=True)
    ones = np.ones(len(column), dtype=np.int32)
    matrix = sparse.csr_matrix((ones, (owner[inside], column)), shape=(len(texts), len(distinct)))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix
