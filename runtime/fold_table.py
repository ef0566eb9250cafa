"""What `runtime.fold` knows of characters: ``fold.json``, and its sets of characters as parts of patterns."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("fold.json")

EMOJI_STYLE, ZWJ = "\ufe0f", "\u200d"
REGIONAL_A = 0x1F1E6
REGIONAL, TAGS, TONES = "\U0001f1e6-\U0001f1ff", "\U000e0020-\U000e007e", "\U0001f3fb-\U0001f3ff"
PICTURES = "\U0001f000-\U0001f0ff\U0001f300-\U0001f3fa\U0001f400-\U0001faff"
"""Blocks of emoji beyond the basic plane, without the squared letters."""
FAR = re.compile(
    "[\U00010000-\U0001efff\U0001f100-\U0001f1e5\U0001f200-\U0001f2ff\U0001fb00-\U0001ffff\U0002f800-\U0002fa1f]"
)
"""What a fold may change beyond the basic plane, but for tags and the letters that flags are made of."""


@cache
def read_table() -> dict[str, Any]:
    """``fold.json``, read once; ``tools/make_fold_table.py`` says what its parts are."""
    table: dict[str, Any] = json.loads(TABLE.read_text(encoding="ascii"))
    return table


def is_far(text: str) -> bool:
    """Whether a text has characters of `FAR`."""
    return FAR.search(text) is not None


def sources(by_target: dict[str, str]) -> dict[str, str]:
    """``{"a": "xy"}`` as ``{"x": "a", "y": "a"}``."""
    return {source: target for target, some in by_target.items() for source in some}


def points(ranges: str) -> Iterator[range]:
    """``41-5A 61`` as code points."""
    for part in ranges.split():
        first, _, last = part.partition("-")
        yield range(int(first, 16), int(last or first, 16) + 1)


def members(ranges: str) -> set[str]:
    """``41-5A 61`` as characters."""
    return {chr(point) for part in points(ranges) for point in part}


def odd_digits() -> list[str]:
    """Decimal digits that are not ASCII."""
    return [chr(ord(zero) + value) for zero, _ in read_table()["digits"] for value in range(10)]


@dataclass(frozen=True)
class Sets:
    """Sets of characters as the insides of a pattern's brackets.

    Patterns that know characters beyond the basic plane are ten times slower, and few texts have any but emoji: there
    are patterns for both kinds of text.
    """

    far: bool
    """Whether the texts have characters of `FAR`."""

    @cached_property
    def last(self) -> int:
        """The last code point that matters."""
        return sys.maxunicode if self.far else 0xFFFF

    def ranges(self, *names: str) -> str:
        """Sets by their names in the table."""
        table = read_table()
        return "".join(self.between((table["ranges"] | table["scripts"])[name]) for name in names)

    def between(self, ranges: str) -> str:
        """The characters of ``41-5A 61``."""
        spans = [(part[0], min(part[-1], self.last)) for part in points(ranges) if part[0] <= self.last]
        return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in spans)

    def of(self, characters: Iterable[str]) -> str:
        """These characters; neighbours become a range, which compiles faster."""
        spans: list[list[int]] = []
        for point in sorted(map(ord, characters)):
            if spans and point == spans[-1][1] + 1:
                spans[-1][1] = point
            else:
                spans.append([point, point])
        return self.between(" ".join(f"{first:X}-{last:X}" for first, last in spans))

    @cached_property
    def ignorable(self) -> str:
        """Characters that are not seen. Few of them stand beyond the basic plane, so they are always in."""
        return Sets(True).ranges("ignorable")

    @cached_property
    def foreign(self) -> str:
        """Letters of all scripts in which whole words can look Latin."""
        return self.ranges(*(name for name in read_table()["scripts"] if name != "Latin"))

    @cached_property
    def flags(self) -> str:
        """Flags as alternatives."""
        return "|".join(
            "".join(chr(ord(letter) - 65 + REGIONAL_A) for letter in flag) for flag in read_table()["flags"]
        )

    @cached_property
    def emoji(self) -> str:
        """Emoji and their sequences as alternatives, flags of countries aside."""
        picture = f"[{self.ranges('pictures')}{PICTURES}]{EMOJI_STYLE}?[{TONES}]?"
        return f"[0-9#*]{EMOJI_STYLE}?\u20e3|\U0001f3f4[{TAGS}]+\U000e007f|{picture}(?:{ZWJ}{picture})*"
