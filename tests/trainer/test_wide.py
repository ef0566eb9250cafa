"""The wide path: which n-grams a message has, and what they say."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from runtime.tokenizer import encode
from tests.trainer.fitted import Fitted
from tests.trainer.slow_wide import Ngram, hostile_ids, is_cut, packed, slow_ngrams
from trainer.evaluation.labelled import read_messages
from trainer.wide import BLOCKS, COUNTERS, NGrams, Wide, WideConfig, characters, salts, word_factors

HOSTILE = hostile_ids()
NGRAMS = NGrams()
TEXTS = [
    "WIN £1,000 now!! call 0800-555 or visit http://a.co/x_1?y=Z",
    "Hi",
    "I'll be there at 7, ok?  see   you\tthere\n",
    "ÀÉÎ naïve Straße ﬁn ½ ² ＦＲＥＥ",
    "恭喜您中奖了 今天 日本語テキスト",
    "Здравствуйте, вы выиграли ПРИЗ",
    "สวัสดีครับ कृपया مرحبا שלום",
    "👩‍👩‍👧 🎉🎉 a🎉b \u200b\u00a0x",
    "iPhone15PROmax AAAbbbCCC aaaa1111 ..... !!!",
    "w" * 40 + " " + "w" * 41 + "-" + "v" * 31,
]


def hashes_of(*messages: list[int]) -> list[list[list[int]]]:
    """For each message, and in it for each block, the hashes of its n-grams in order."""
    blocks = NGRAMS.hashes(*packed(messages))
    return [[block.values[row][block.there[row]].tolist() for block in blocks] for row in range(len(messages))]


def check(text: str, known: dict[Ngram, int], hashes: list[list[int]]) -> None:
    """Compare the hashes of a text with its n-grams: as many, and for each n-gram the hash that is known of it."""
    for name, found, ngrams in zip(BLOCKS, hashes, slow_ngrams(text), strict=True):
        assert len(found) == len(ngrams), (name, text)
        for ngram, value in zip(ngrams, found, strict=True):
            assert known.setdefault(ngram, value) == value, (name, ngram, text)


def test_a_message_has_the_same_ngrams_alone_and_among_any_others() -> None:
    names = list(HOSTILE)
    alone = {name: hashes_of(HOSTILE[name])[0] for name in names}
    for order in (names, names[::-1], names[1::2] + names[::2]):
        for name, hashes in zip(order, hashes_of(*(HOSTILE[name] for name in order)), strict=True):
            assert hashes == alone[name], name
    assert not any(alone["empty"]) and not any(alone["blanks"]) and all(alone["random ids, 40"])


@torch.no_grad()
def test_a_message_has_the_same_logits_to_the_bit_alone_and_among_any_others(fitted: Fitted) -> None:
    messages = [*HOSTILE.values(), *(encode(text)[0] for text in fitted.messages.texts[:60])]
    alone = torch.cat([fitted.wide(*packed([ids])) for ids in messages])
    assert torch.isfinite(alone).all()
    assert torch.equal(fitted.wide(*packed(messages)), alone)
    assert torch.equal(fitted.wide(*packed(messages[::-1])).flip(0), alone)
    for start in range(0, len(messages), 7):
        some = slice(start, start + 7)
        assert torch.equal(fitted.wide(*packed(messages[some])), alone[some])


def test_no_hash_leaves_31_bits() -> None:
    known, salt = characters(), salts()
    most = {"letters2": 3, "letters4": 15, "cased1": 1, "cased3": 7, "shape2": 3, "shape4": 15}
    for name, weights in most.items():
        assert weights * int(max(known.folded.max(), known.cased.max())) + salt[name] < 2**31
    summands = int(known.letter.max()) * int(word_factors().max())
    assert summands < 2**31
    for block in NGRAMS.hashes(*packed([*HOSTILE.values()])):
        assert int(block.values.min()) >= 0 and int(block.values.max()) < 2**31


def test_the_blocks_are_those_of_a_plain_reading_of_the_text() -> None:
    known: dict[Ngram, int] = {}
    for text, hashes in zip(TEXTS, hashes_of(*(encode(text)[0] for text in TEXTS)), strict=True):
        check(text, known, hashes)
    assert len(set(known.values())) == len(known)


LETTERS = st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("aabAB01 .-_'\t\u00a0é中ｱﬁ🎉𠀀"))


@given(st.text(LETTERS, max_size=60), st.text(LETTERS, max_size=20))
def test_the_blocks_of_any_text_are_those_of_a_plain_reading(text: str, other: str) -> None:
    known: dict[Ngram, int] = {}
    texts = [text, f"{other} {text} {text}"]
    for one, hashes in zip(texts, hashes_of(*(encode(one)[0] for one in texts)), strict=True):
        check(one, known, hashes)


def test_of_thousands_of_real_messages_the_same_ngrams_have_the_same_hash_and_hardly_any_others(
    sms_collection: Path,
) -> None:
    texts = [text for text in read_messages(sms_collection)[0].texts[:3000] if not is_cut(text)]
    known: dict[Ngram, int] = {}
    for start in range(0, len(texts), 100):
        some = texts[start : start + 100]
        for text, hashes in zip(some, hashes_of(*(encode(text)[0] for text in some)), strict=True):
            check(text, known, hashes)
    assert len(known) > 100_000
    assert len(known) - len(set(known.values())) < len(known) / 2000
    for name in BLOCKS:
        own = [value for ngram, value in known.items() if ngram[0] == name]
        assert len(own) - len(set(own)) <= len(own) / 2000, name


def test_words_differ_by_any_of_their_first_31_letters_and_pairs_by_their_order() -> None:
    def block(name: str, text: str) -> list[int]:
        return hashes_of(encode(text)[0])[0][BLOCKS.index(name)]

    long = "".join(chr(97 + place % 26) for place in range(40))
    changed = [long[:place] + "é" + long[place + 1 :] for place in range(40)]
    hashes = {block("words", text)[0] for text in [long, *changed]}
    assert len(hashes) == 32 and block("words", changed[31]) == block("words", long)
    assert set(block("pairs", "one two")).isdisjoint(block("pairs", "two one"))
    (pair,) = block("pairs", "a d")
    assert pair in block("pairs", "a b c d") and pair not in block("pairs", "a b b c d")


def test_hashes_stay_what_they_are() -> None:
    """Tables that were fitted and files that were exported hold these numbers: a change makes them worthless."""
    digest = hashlib.sha256()
    for message in hashes_of(*(encode(text)[0] for text in TEXTS)):
        for block in message:
            digest.update(np.array(block, "<i8").tobytes())
    assert digest.hexdigest() == "e7574acb5a2ef71c5cbce5a7978c858a54a12659369a7baa4a41d51007228883"


def slow_scores(wide: Wide, ids: list[int]) -> list[float]:
    """Scores of the themes in float64, from the sums that the docstrings state."""
    counts = [Counter(block) for block in hashes_of(ids)[0]]
    rows = wide.config.rows
    known = [{value: n for value, n in block.items() if wide.check[value % rows] == value // rows} for block in counts]
    together: Counter[int] = Counter()
    for block in known:
        for value, times in block.items():
            together[value % rows % COUNTERS] += times
    scores = wide.bias.double()
    for block in known:
        places = [value % rows for value in block]
        idf, step, weight = (tensor[places].double() for tensor in (wide.idf, wide.step, wide.weight))
        often = torch.tensor([*block.values()]).double()
        shared = torch.tensor([together[place % COUNTERS] for place in places]).double()
        length = math.sqrt(max(1.0, float((often * shared * idf * idf).sum())))
        scores = scores + wide.config.scale / length * ((often * step) @ weight)
    found: list[float] = scores.tolist()
    return found


@torch.no_grad()
def test_scores_are_each_blocks_sum_of_weights_over_its_length(fitted: Fitted) -> None:
    texts = [*fitted.messages.texts[:20], *TEXTS, "free " * 300, ""]
    wide = fitted.wide
    for text in texts:
        ids = encode(text, 1024)[0]
        expected = wide.label_logits(torch.tensor([slow_scores(wide, ids)]))
        torch.testing.assert_close(wide(*packed([ids])), expected, atol=2e-6, rtol=0)


def test_a_labels_logit_is_the_logsumexp_over_its_themes() -> None:
    config = WideConfig(("a", "b", "c"), (0, 1, 0), 1 << 16, sharpness=2.0, gain=3.0, offsets=(0.5, -0.5))
    logits = Wide(config).label_logits(torch.tensor([[0.1, 0.2, 0.3]]))
    ham = 3 * math.log(math.exp(0.2) + math.exp(0.6)) + 0.5
    torch.testing.assert_close(logits, torch.tensor([[ham, 3 * 0.4 - 0.5]]))


CONFIG: dict[str, Any] = {"themes": ["a", "b"], "labels": [0, 1], "rows": 65536, "offsets": [0.0, 0.0]}


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 65535}, {"rows": 2**24 + 1}, {"rows": "many"}, {"labels": [0]}, {"labels": [0, 0]},
        {"labels": [0, 2]}, {"labels": [[0], [1]]}, {"themes": 3}, {"offsets": [0.0]}, {"offsets": None},
        {"gain": math.nan}, {"scale": "1"}, {"sharpness": None}, {"colour": "red"},
    ],
    ids=str,
)  # fmt: skip
def test_a_config_that_describes_no_wide_path_is_refused(change: dict[str, Any]) -> None:
    assert WideConfig.from_dict(CONFIG).rows == 65536
    with pytest.raises((KeyError, TypeError, ValueError)):
        WideConfig.from_dict(CONFIG | change)


def test_a_config_without_a_field_is_refused() -> None:
    for name in CONFIG:
        with pytest.raises((KeyError, TypeError)):
            WideConfig.from_dict({field: value for field, value in CONFIG.items() if field != name})
