"""Groups of near repeats, and divisions that keep them together."""

import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.evaluation import protocols
from trainer.evaluation.protocols import (
    FEWEST_GRAMS,
    GRAM,
    folded,
    grouped_folds,
    grouped_split,
    leave_out,
    near_repeat_groups,
)

CAMPAIGN = "Your parcel is held at the depot because of an unpaid fee of {}. Settle it now at {}."


def made_up(count: int, seed: int) -> list[str]:
    """Messages of which many are near repeats: pieces of a few sentences, joined and changed by chance."""
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcdefgh", k=draw.randint(2, 8))) for _ in range(60)]
    sentences = [" ".join(draw.choices(words, k=draw.randint(3, 12))) for _ in range(count // 3)]
    texts = []
    for _ in range(count):
        parts = draw.choices(sentences, k=draw.choice((1, 1, 2, 3)))
        text = " ".join(parts).split()
        text[draw.randrange(len(text))] = draw.choice(words)
        texts.append(" ".join(text))
    return texts


def by_brute_force(texts: list[str]) -> list[set[int]]:
    """Groups of near repeats by comparing every pair."""
    grams = [{form[at : at + GRAM] for at in range(len(form) - GRAM + 1)} for form in map(folded, texts)]
    groups = [{place} for place in range(len(texts))]
    for one, other in combinations(range(len(texts)), 2):
        fewest = min(len(grams[one]), len(grams[other]))
        alike = fewest >= FEWEST_GRAMS and len(grams[one] & grams[other]) > fewest / 2
        if alike or folded(texts[one]) == folded(texts[other]):
            first, second = (next(group for group in groups if place in group) for place in (one, other))
            if first is not second:
                groups.remove(second)
                first |= second
    return groups


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_those_of_comparing_every_pair(seed: int) -> None:
    texts = made_up(150, seed)
    found = near_repeat_groups(texts)
    expected = by_brute_force(texts)
    assert 10 < len(expected) < 140
    assert {frozenset(np.flatnonzero(found == group).tolist()) for group in set(found.tolist())} == {
        frozenset(group) for group in expected
    }


def test_copies_of_a_campaign_are_one_group_and_other_messages_are_not() -> None:
    texts = [
        CAMPAIGN.format("1.99", "parcel.example"),
        "see you at noon",
        CAMPAIGN.format("2.49", "pay.example/77").upper(),
        "See  you at NOON",
        "",
        CAMPAIGN.format("3", "fees.example"),
        "see you at noon then",
    ]
    groups = near_repeat_groups(texts)
    assert groups.dtype == np.int64
    assert groups.tolist() == [0, 1, 0, 1, 2, 0, 3]
    assert near_repeat_groups([]).shape == (0,)


def test_a_campaign_of_many_copies_is_one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocols, "NEIGHBOURS", 3)
    monkeypatch.setattr(protocols, "CANDIDATES", 5)
    names = ["".join(random.Random(i).choices("abcdefghijklmnop", k=12)) for i in range(200)]
    copies = [CAMPAIGN.format(f"{i}.99", f"{name}.example") for i, name in enumerate(names)]
    assert set(near_repeat_groups(copies).tolist()) == {0}


@given(sizes=st.lists(st.tuples(st.integers(1, 6), st.integers(0, 1)), min_size=1, max_size=80), seed=st.integers(0, 9))
def test_no_group_is_in_two_parts(sizes: list[tuple[int, int]], seed: int) -> None:
    groups = np.repeat(np.arange(len(sizes)), [size for size, _ in sizes])
    labels = np.repeat([label for _, label in sizes], [size for size, _ in sizes])
    parts = grouped_split(labels, groups, (0.7, 0.1, 0.2), seed)
    assert parts.dtype == np.int64 and set(parts.tolist()) <= {0, 1, 2}
    assert all(len(set(parts[groups == group].tolist())) == 1 for group in range(len(sizes)))
    assert (parts == grouped_split(labels, groups, (0.7, 0.1, 0.2), seed)).all()


def test_shares_and_classes_are_kept_and_another_seed_divides_otherwise() -> None:
    draw = np.random.default_rng(1)
    groups = draw.integers(0, 800, 2000)
    labels = (groups % 7 == 0).astype(int)  # a group is of one class, as campaigns are
    shares = (0.7, 0.1, 0.2)
    parts = grouped_split(labels, groups, shares, 1)
    for part, share in enumerate(shares):
        assert (parts == part).mean() == pytest.approx(share, abs=0.005)
        assert labels[parts == part].sum() == pytest.approx(share * labels.sum(), abs=3)
    assert (parts != grouped_split(labels, groups, shares, 2)).mean() > 0.2
    folds = grouped_folds(labels, groups, 5, 1)
    assert np.bincount(folds) == pytest.approx(400, abs=4)
    assert np.bincount(folds, weights=labels) == pytest.approx(labels.sum() / 5, abs=3)


def test_messages_of_held_out_values_are_tested_on_alone() -> None:
    train, test = leave_out(["de", "fr", "de", "", "tr"], {"de", "tr"})
    assert (train.tolist(), test.tolist()) == ([1, 3], [0, 2, 4])
    with pytest.raises(ValueError, match="no message has 'xx'"):
        leave_out(["de"], ["xx"])
