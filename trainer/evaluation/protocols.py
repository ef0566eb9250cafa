"""How data sets are divided so that a figure means something: near repeats stay together, or whole themes stay out.

Spam comes in campaigns: the same text with another number, name or link. A random split puts one copy into training and
another into the test set, and then measures memory.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Groups = Literal["none", "near-repeats"]
"""Messages that a split may be asked to keep together."""
Places = NDArray[np.int64]
"""One whole number for each message."""

GRAM = 9
"""Characters that two messages have in common wherever they are counted as sharing something."""
SHARED = 0.5
"""Two messages are near repeats when they share more than this of the shorter one's distinct 9-grams."""
FEWEST_GRAMS = 16
"""Messages of fewer distinct 9-grams (24 characters) repeat only what is equal to them when folded: "ok thanks" is no
campaign, and stands in messages that have nothing else in common."""
NEIGHBOURS = 128
"""Of a 9-gram that many messages hold, each message looks at so many others on either side, in alphabetical order."""
MORE = 4
"""Of a message's 9-grams, one in so many is looked up besides the rarer half."""
CANDIDATES = 256
"""Messages that one is compared with at most, those first that share most of its rarest 9-grams."""


def folded(text: str) -> str:
    """A text with case, digits and spacing folded: what two copies from one campaign have in common."""
    return re.sub(r"\s+", " ", re.sub(r"\d+", "0", text.casefold())).strip()


def near_repeat_groups(texts: Sequence[str]) -> Places:
    """The group of near repeats that each message belongs to, int64 (messages,), numbered by first appearance.

    Two messages are near repeats when they are equal once `folded`, or share more than `SHARED` of the shorter one's
    distinct 9-grams; a group is what such pairs connect. The search is an inverted index with prefix filtering
    (Chaudhuri et al. 2006): a pair shares one of the rarer half of the shorter message's 9-grams. Only for 9-grams
    that more than twice `NEIGHBOURS` messages hold, and beyond `CANDIDATES`, may a pair be missed.
    Time and memory grow about linearly: some 30 bytes a character.
    """
    forms = [folded(text) for text in texts]
    distinct = {form: place for place, form in enumerate(sorted(set(forms)))}
    parents = _connect(list(distinct))
    roots = [_root(parents, distinct[form]) for form in forms]
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(root, len(numbers)) for root in roots], dtype=np.int64)


def _connect(forms: Sequence[str]) -> list[int]:
    """A forest over distinct folded texts, in alphabetical order, in which near repeats have one root."""
    parents = list(range(len(forms)))
    per_form = [_grams(form) for form in forms]
    sizes = np.array([len(grams) for grams in per_form], dtype=np.int64)
    ends = np.cumsum(sizes)
    if not len(forms) or not ends[-1]:
        return parents
    grams = np.concatenate(per_form)
    del per_form
    # the inverted index: for each 9-gram that several texts hold, those texts in order
    order = np.argsort(grams, kind="stable")
    grams = grams[order]
    begins = np.flatnonzero(np.concatenate([[True], grams[1:] != grams[:-1]]))
    held_by = np.diff(np.append(begins, len(grams))).astype(np.int32)
    del grams
    owner = np.repeat(np.arange(len(forms), dtype=np.int32), sizes)[order]
    identity = np.empty(len(order), dtype=np.int32)
    identity[order] = np.repeat(np.arange(len(begins), dtype=np.int32), held_by)
    del order
    for place in range(len(forms)):
        size = int(sizes[place])
        mine = identity[ends[place] - size : ends[place]]
        counts = held_by[mine]
        shared = np.flatnonzero(counts > 1)
        # the rarer half contains those that no other text holds
        prefix = (size + 1) // 2 - (size - len(shared))
        if size < FEWEST_GRAMS or prefix <= 0:
            continue
        rising = shared[np.argsort(counts[shared], kind="stable")]
        # with some more of the 9-grams than the rarer half, as many more must be shared: far fewer texts are candidates
        seen = int(np.searchsorted(counts[rising], 2 * NEIGHBOURS, side="right"))
        more = max(0, min(seen, prefix + size // MORE) - prefix)
        rarest = rising[: prefix + more]
        hits = _holders(owner, begins[mine[rarest]], counts[rarest], place)
        found, often = np.unique(hits, return_counts=True)
        found, often = found[often > more], often[often > more]
        for other in found[np.argsort(-often, kind="stable")[: CANDIDATES + 1]].tolist():
            theirs = int(sizes[other])
            if theirs < FEWEST_GRAMS or _root(parents, other) == _root(parents, place):
                continue
            if _common(mine, identity[ends[other] - theirs : ends[other]]) > SHARED * min(size, theirs):
                first, second = sorted((_root(parents, place), _root(parents, other)))
                parents[second] = first
    return parents


def _grams(form: str) -> NDArray[np.uint64]:
    """Hashes of the distinct 9-grams of a text, sorted; of a shorter text there are none."""
    letters = np.frombuffer(form.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    count = len(letters) - GRAM + 1
    if count <= 0:
        return np.zeros(0, dtype=np.uint64)
    hashes = np.zeros(count, dtype=np.uint64)
    for place in range(GRAM):
        hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + letters[place : place + count]
        hashes ^= hashes >> np.uint64(29)
    return np.unique(hashes)


def _holders(
    owner: NDArray[np.int32], begins: NDArray[np.int64], counts: NDArray[np.int32], place: int
) -> NDArray[np.int32]:
    """Texts that hold some 9-grams, each as often as it holds one; of common ones the neighbours of ``place`` only."""
    parts = []
    for begin, count in zip(begins.tolist(), counts.tolist(), strict=True):
        holders = owner[begin : begin + count]
        if count > 2 * NEIGHBOURS:
            at = int(np.searchsorted(holders, place))
            holders = holders[max(0, at - NEIGHBOURS) : at + NEIGHBOURS + 1]
        parts.append(holders)
    return np.concatenate(parts)


def _common(first: NDArray[np.int32], second: NDArray[np.int32]) -> int:
    """How many values two sorted arrays of distinct ones share."""
    if len(first) > len(second):
        first, second = second, first
    at = np.minimum(np.searchsorted(second, first), len(second) - 1)
    return int((second[at] == first).sum())


def _root(parents: list[int], place: int) -> int:
    while parents[place] != place:
        parents[place] = parents[parents[place]]
        place = parents[place]
    return place


LARGEST_GROUP = 0.05
"""Share of a part that a group of near repeats may be."""


def grouped_split(labels: ArrayLike, groups: ArrayLike, shares: Sequence[float], seed: int) -> Places:
    """The part that each message goes to, int64 (messages,), from 0: no group is in two parts, class shares are kept.

    Large groups are placed first, each where most is missing; the many of one message then fill what is left, so that a
    part has its share of every class to about one message unless a group is larger than a part. A group that would be
    more than `LARGEST_GROUP` of the smallest part goes to the largest: a part that is mostly one campaign says nothing
    of the others.

    Args:
        labels: class of each message.
        groups: group of each message.
        shares: share of the messages that each part gets; they sum to 1.
        seed: what chance depends on.
    """
    classes, label = np.unique(np.asarray(labels), return_inverse=True)
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    counts = np.zeros((len(names), len(classes)), dtype=np.int64)
    np.add.at(counts, (group, label), 1)
    totals = counts.sum(axis=0)
    wanted = [share / sum(shares) for share in shares]
    missing = [[share * total for total in totals.tolist()] for share in wanted]
    order = list(range(len(names)))
    random.Random(seed).shuffle(order)
    order.sort(key=lambda name: -int(counts[name].sum()))
    weights = [1 / total for total in totals.tolist()]
    chosen = np.zeros(len(names), dtype=np.int64)
    largest = max(range(len(wanted)), key=wanted.__getitem__)
    most = LARGEST_GROUP * min(share for share in wanted if share) * len(label)
    for name in order:
        row = counts[name].tolist()
        need = [
            sum(
                count * weight * left / share if share else -np.inf
                for count, weight, left in zip(row, weights, part, strict=True)
            )
            for part, share in zip(missing, wanted, strict=True)
        ]
        best = largest if 1 < most < sum(row) else max(range(len(need)), key=need.__getitem__)
        missing[best] = [left - count for left, count in zip(missing[best], row, strict=True)]
        chosen[name] = best
    return chosen[group]


def grouped_folds(labels: ArrayLike, groups: ArrayLike, k: int, seed: int) -> Places:
    """The fold of cross-validation, 0 to k - 1, that tests each message, int64 (messages,); see `grouped_split`."""
    return grouped_split(labels, groups, [1 / k] * k, seed)


def leave_out(values: Sequence[str], held_out: Collection[str]) -> tuple[Places, Places]:
    """Places of the messages to learn from, and of those to test on: the ones whose value is held out.

    Args:
        values: what each message has in some column: its theme, its language, its data set.
        held_out: values of which no message may be learned from.

    Raises:
        ValueError: no message has one of these values.
    """
    tested = np.array([value in held_out for value in values], dtype=bool)
    if absent := sorted(set(held_out) - set(values)):
        raise ValueError(f"no message has {', '.join(map(repr, absent))}")
    return np.flatnonzero(~tested).astype(np.int64), np.flatnonzero(tested).astype(np.int64)
