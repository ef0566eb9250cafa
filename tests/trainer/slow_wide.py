"""The n-grams of the wide path, said a second time: plainly, slowly, over a text's characters instead of ids.

Beside it ids that few programs survive: texts of no text, ids that are no text, characters cut in two.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from runtime.spec import END_OF_TEXT
from runtime.tokenizer import encode, token_bytes
from trainer.gpt2 import Packing
from trainer.wide import FARTHEST, PLACES

BMP = 1 << 16
LONGEST_TOKEN = 16

Ngram = tuple[object, ...]


@cache
def is_blank(letter: str) -> bool:
    return letter.isspace() or letter < " "


@cache
def in_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_"


@cache
def folded(letter: str) -> str:
    first = unicodedata.normalize("NFKC", letter).lower()[:1]
    return " " if is_blank(letter) else first if first and ord(first) < BMP else letter


@cache
def kind(letter: str) -> str:
    if is_blank(letter):
        return " "
    if not in_word(letter):
        return letter
    return "0" if letter.isdigit() else "a" if letter.islower() else "A" if letter.isupper() else "x"


def characters_of(text: str) -> list[str]:
    """A blank, the text, a blank; of several blanks the first."""
    plain = [" " if letter < " " else chr(max(32, ord(letter) % BMP)) for letter in text]
    kept = [" "]
    for letter in [*plain, " "]:
        if not (is_blank(letter) and is_blank(kept[-1])):
            kept.append(letter)
    return kept


def runs(letters: Sequence[str], size: int) -> list[Ngram]:
    return [tuple(letters[start : start + size]) for start in range(len(letters) - size + 1)]


def spaced_words(letters: Sequence[str]) -> list[list[str]]:
    """What stands between blanks, with the blanks around it."""
    blanks = [place for place, letter in enumerate(letters) if is_blank(letter)]
    return [list(letters[start : end + 1]) for start, end in itertools.pairwise(blanks)]


def words_of(letters: Sequence[str]) -> list[str]:
    """Runs of letters and digits, and every other character by itself."""
    words = []
    for joined, group in itertools.groupby(letters, in_word):
        together = "".join(group)
        words += [together] if joined else [letter for letter in together if not is_blank(letter)]
    return words


def slow_ngrams(text: str) -> list[list[Ngram]]:
    """The n-grams of each block, repeats included, in the order in which they are hashed, each with its kind."""
    letters = characters_of(text)
    between = spaced_words(letters)
    low = [[folded(letter) for letter in word] for word in between]
    shapes = "".join(
        one * (min(len(list(same)), {"a": 1, "x": 1, "A": 2}.get(one, len(text) + 2)))
        for one, same in itertools.groupby(map(kind, letters))
    )
    words = words_of(letters)
    hashed = ["".join(map(folded, word[:PLACES])) for word in words]
    pairs = [pair for distance in range(1, FARTHEST + 1) for pair in zip(hashed, hashed[distance:], strict=False)]

    def named(name: str, *parts: list[Ngram]) -> list[Ngram]:
        return [(name, len(ngram), *ngram) for part in parts for ngram in part]

    def within(words: list[list[str]], size: int) -> list[Ngram]:
        return [run for word in words for run in runs(word, size)]

    single: list[Ngram] = [(letter,) for letter in letters if not is_blank(letter)]
    return [
        named("letters", within(low, 2), within(low, 4)),
        named("cased", single, within(between, 3)),
        named("shape", runs(shapes, 2), runs(shapes, 4)),
        named("words", [(key,) for word, key in zip(words, hashed, strict=True) if len(word) > 1]),
        named("pairs", list(pairs)),
    ]


@cache
def long_tokens() -> frozenset[int]:
    return frozenset(token for token, spelled in enumerate(token_bytes()) if len(spelled) > LONGEST_TOKEN)


def is_cut(text: str) -> bool:
    """Whether a token of the text is longer than what is read of one."""
    return not long_tokens().isdisjoint(encode(text)[0])


def packed(messages: Sequence[Sequence[int]]) -> tuple[Tensor, Packing]:
    """Messages end to end."""
    return torch.tensor([token for ids in messages for token in ids]), Packing.of(torch.tensor([*map(len, messages)]))


def hostile_ids() -> dict[str, list[int]]:
    """Messages as ids, by what they are; none is longer than 1,024."""
    draw = np.random.default_rng(0)
    by_byte = {spelled[0]: token for token, spelled in enumerate(token_bytes()) if len(spelled) == 1}
    bytes_ = [*by_byte.values()]

    def of_bytes(*values: int) -> list[int]:
        return [by_byte[value] for value in values]

    return {
        "empty": encode("")[0],
        "end of text, nine times": [END_OF_TEXT] * 9,
        "blanks": encode("  \n\t \r\n ")[0],
        "one letter": encode("a")[0],
        "one mark": encode("!")[0],
        "1,024 tokens of one letter": [*encode("a")[0] * 1024],
        "1,024 tokens of many letters": encode("a" * 20_000, 1024)[0],
        "CJK without a blank": encode("恭喜您中奖了请立即点击链接领取奖金" * 40, 1024)[0],
        "emoji": encode("👩‍👩‍👧🎉🏴󠁧󠁢󠁥󠁮󠁧󠁿1️⃣" * 30, 1024)[0],
        "control characters": encode("a\0b\1\2\x1b[31m\x7f\x85\u200b\ufeff")[0],
        "NUL": encode("\0" * 50)[0],
        "START and PAD": encode("𠀀 𐀀 𐀁a\U000e0001b 𠀁")[0],
        "the first byte of two": of_bytes(0x61, 0xC3),
        "the first bytes of four": encode("win 🎉")[0][:-1],
        "first bytes and letters": of_bytes(0xC0, 0x40, 0xE0, 0x40, 0x40, 0xF0, 0x40, 0x40, 0x40),
        "overlong NUL": of_bytes(0xC0, 0x80, 0xE0, 0x80, 0x80, 0xF0, 0x80, 0x80, 0x80),
        "continuations": of_bytes(*[0x80, 0xBF] * 20),
        "every byte": bytes_,
        "every byte backwards": bytes_[::-1],
        **{f"random bytes, {count}": draw.choice(bytes_, count).tolist() for count in (1, 2, 3, 17, 300)},
        **{f"random ids, {count}": draw.integers(0, END_OF_TEXT + 1, count).tolist() for count in (1, 2, 5, 40, 300)},
        "random ids, the whole context": draw.integers(0, END_OF_TEXT + 1, 1024).tolist(),
    }
