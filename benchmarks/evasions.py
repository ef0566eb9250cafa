"""How spam is respelled so that filters do not know it: each way changes each word of three letters or more by halves.

Models are tested with these. What they may be trained with is in `trainer.augment`, which knows nothing of this.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial

from machine import ROOT

CHANGED = 0.5
"""Probability that a word is changed."""
CYRILLIC = str.maketrans("aceiopxysABCEHIKMOPTX", "асеіорхуѕАВСЕНІКМОРТХ")
GREEK = str.maketrans("aeiouvnt", "αειουνητ")
LEET = str.maketrans("aeiostAEIOST", "431057431057")
ZERO_WIDTH = "\u200b\u200c\u200d\ufeff"

Draw = random.Random
Way = Callable[[str, Draw], str]
"""Changes one word."""


def look_alike(word: str, draw: Draw) -> str:
    """All letters of other alphabets that look the same."""
    return word.translate(CYRILLIC if draw.random() < 0.7 else GREEK)


def zero_width(word: str, draw: Draw) -> str:
    """An invisible character after every other letter."""
    return "".join(letter + (draw.choice(ZERO_WIDTH) if draw.random() < 0.5 else "") for letter in word)


def spaced_out(word: str, draw: Draw) -> str:
    """A blank between all letters."""
    return " ".join(word)


def leet(word: str, draw: Draw) -> str:
    """Digits for most of the letters that look like them."""
    return "".join(letter.translate(LEET) if draw.random() < 0.8 else letter for letter in word)


WAYS: dict[str, Way] = {
    "look-alike letters": look_alike,
    "zero-width characters": zero_width,
    "spaced out": spaced_out,
    "leet": leet,
}
TWO = "two of them at once"
EVASIONS = (*WAYS, TWO)


def evaded(texts: Sequence[str], name: str, seed: int) -> list[str]:
    """Messages as one of `EVASIONS` has them, the same for the same seed."""
    draw = random.Random(f"{name} {seed}")
    ways = list(WAYS.values())
    changed = []
    for text in texts:
        for way in draw.sample(ways, 2) if name == TWO else [WAYS[name]]:
            text = respelled(text, way, draw)
        changed.append(text)
    return changed


def respelled(text: str, way: Way, draw: Draw) -> str:
    """A message with its words changed one way, each by chance."""
    return "".join(
        way(word, draw) if len(re.findall(r"[^\W\d_]", word)) >= 3 and draw.random() < CHANGED else word
        for word in re.split(r"(\s+)", text)
    )


def disguises() -> dict[str, Callable[[str, Draw], str]]:
    """Ways to disguise a whole message, by name: those that the tests know, or else `WAYS`."""
    if (ROOT / "tests" / "disguises.py").is_file():
        sys.path.insert(0, str(ROOT))
        from tests.disguises import DISGUISES

        return dict(DISGUISES)
    return {name: partial(_respelled, way) for name, way in WAYS.items()}


def _respelled(way: Way, text: str, draw: Draw) -> str:
    return respelled(text, way, draw)
