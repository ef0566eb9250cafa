"""The steps of `runtime.fold` that look at single characters: order, invisible ones, styles, accents."""

from __future__ import annotations

import re
import unicodedata
from functools import cache, cached_property
from typing import Literal

from runtime.direction import CONTROLS, Display
from runtime.fold_table import (
    EMOJI_STYLE,
    REGIONAL,
    REGIONAL_A,
    TAGS,
    ZWJ,
    Sets,
    is_far,
    members,
    odd_digits,
    read_table,
    sources,
)

MOST_MARKS = 10
"""Combining marks on one letter of any script. What is beyond goes first: sorting marks takes quadratic time."""

ZWSP, ZWNJ = "\u200b", "\u200c"
MONGOLIAN_FORMS = "\u180b\u180c\u180d\u180e\u180f"
TAG_NUL = 0xE0000
PARENTHESIZED, NEGATIVE_SQUARED = "\u249c-\u24b5\U0001f110-\U0001f129", "\U0001f170-\U0001f189"
ASCII = "".join(map(chr, range(128)))
TOKEN = re.compile(r"\S+")


class Characters:
    """Each step stands behind a pattern that tells whether there is anything for it to do."""

    def __init__(self, far: bool) -> None:
        """For texts with characters of `runtime.fold_table.FAR`, or without."""
        table, self.sets = read_table(), Sets(far)
        ranges, ignorable = self.sets.ranges, self.sets.ignorable
        self.upright: dict[str, str] = table["upside_down"]
        self.plain = sources(table["plain"])
        self.two_styles = members(table["ranges"]["two_styles"])
        plain, turned = self.sets.of(self.plain), self.sets.of(table["turned"])
        self.any = re.compile(f"[{plain}{turned}{ranges('unstable', 'generic')}{ignorable}{REGIONAL}]")
        self.directed = re.compile(f"[{CONTROLS}]")
        self.turned = re.compile(f"[{turned}]")
        self.hidden = re.compile(f"[{ignorable}{REGIONAL}]")
        self.styled = re.compile(
            f"[{PARENTHESIZED}]{{2,}}|(?:[{NEGATIVE_SQUARED}]{EMOJI_STYLE}?){{2,}}|[{plain}](?!{EMOJI_STYLE})"
        )
        self.unstable = re.compile(f"[{ranges('unstable', 'generic')}]")

    def fold(self, text: str) -> str:
        """All the steps, in their order."""
        if self.any.search(text):
            if self.directed.search(text):
                text = self.displayed(text)
            if self.turned.search(text):
                text = self.upside_down.sub(self._upright, text)
            if self.hidden.search(text):
                text = self.unseen.sub(self._seen, text)
            text = self.styled.sub(self._plain, text)
            if self.unstable.search(text):
                text = self.marks.fold(text)
        return text

    @cached_property
    def displayed(self) -> Display:
        """Undoes what forces a direction."""
        cluster = f"{self.sets.flags}|{self.sets.emoji}|.[{self.sets.ranges('marks')}{self.sets.ignorable}]*"
        left_to_right = self.sets.ranges("Latin") + self.sets.foreign
        return Display(self.sets.ranges("right_to_left"), left_to_right, cluster, read_table()["mirrored"])

    @cached_property
    def upside_down(self) -> re.Pattern[str]:
        """Words of letters that could be upside down."""
        word = f"[{self.sets.of(self.upright.keys() - {' '})}]+"
        return re.compile(rf"(?<!\S){word}(?: +{word})*(?!\S)")

    def _upright(self, found: re.Match[str]) -> str:
        """Words turned upside down, read from their end. Words of ASCII that could be so turn with a whole line."""
        words, start, end = found[0], 0, len(found[0])
        around = found.string[max(0, found.start() - 1) : found.start()] + found.string[found.end() : found.end() + 1]
        if around.strip("\n"):
            start = words.rfind(" ", 0, end - len(words.lstrip(ASCII))) + 1
            end = (words + " ").find(" ", len(words.rstrip(ASCII)))
        run = words[start:end]
        turned = len(self.turned.findall(run))
        if turned < 3 or 3 * turned < sum(self.upright[letter].isalpha() for letter in run):
            return words
        return words[:start] + "".join(self.upright[letter] for letter in reversed(run)) + words[end:]

    @cached_property
    def unseen(self) -> re.Pattern[str]:
        """Runs of what may be invisible, and emoji, in which it is not."""
        return re.compile(
            rf"(?P<emoji>{self.sets.emoji})|(?P<flags>[{REGIONAL}]+)|(?<!\S)(?P<tags>[{TAGS}]+)(?!\S)"
            f"|[{self.sets.ignorable}]+"
        )

    @cached_property
    def flags(self) -> re.Pattern[str]:
        """Flags of countries, one after the other."""
        return re.compile(f"(?:{self.sets.flags})+")

    @cached_property
    def joining(self) -> re.Pattern[str]:
        """A character of a script whose letters join, as invisible ones tell them to."""
        return re.compile(f"[{self.sets.ranges('joining')}]")

    @cached_property
    def unspaced(self) -> re.Pattern[str]:
        """A character of a script without blanks, whose lines break at an invisible one."""
        return re.compile(f"[{self.sets.ranges('unspaced')}]")

    def _seen(self, found: re.Match[str]) -> str:
        """What is to be kept of invisible characters, and what is to be made of the letters of flags and of tags."""
        run, text = found[0], found.string
        if found["emoji"]:
            styled_for_nothing = len(run) == 2 and run[1] == EMOJI_STYLE and run[0] not in self.two_styles
            return run[0] if styled_for_nothing else run
        if found["flags"]:
            return run if self.flags.fullmatch(run) else _shifted(run, ord("A") - REGIONAL_A)
        if found["tags"]:
            return _shifted(run, -TAG_NUL)
        before, after = text[max(0, found.start() - 1) : found.start()], text[found.end() : found.end() + 1]
        if self.joining.match(before):
            for control in run:
                if control == ZWJ or control in MONGOLIAN_FORMS or (control == ZWNJ and self.joining.match(after)):
                    return control
        between_words = ZWSP in run and self.unspaced.match(before) and self.unspaced.match(after)
        return ZWSP if between_words else ""

    def _plain(self, found: re.Match[str]) -> str:
        """A character without its style. Letters in a row are a word: they are no emoji and need no parentheses."""
        if len(found[0]) == 1:
            return self.plain[found[0]]
        return "".join(self.plain[letter].strip("()") for letter in found[0] if letter != EMOJI_STYLE)

    @cached_property
    def marks(self) -> Marks:
        """What is done about combining marks."""
        return Marks(self.sets)


class Marks:
    """Combining marks: normalized, and reduced to what orthographies use."""

    def __init__(self, sets: Sets) -> None:
        marks, generic = sets.ranges("marks"), sets.ranges("generic")
        others = sets.of({*sources(read_table()["inside"]), *odd_digits()})
        based = f"{sets.ranges('Latin')}{sets.foreign}{others}0-9"
        self.endless = re.compile(f"([{marks}]{{{MOST_MARKS}}})[{marks}]+")
        self.repeated = re.compile(rf"([{marks}])\1{{3,}}")
        self.generic = re.compile(f"[{generic}]")
        self.heaped = re.compile(
            f"[{generic}]{{3,}}|(?<![{based}{generic}])(?:[{based}][{generic}]+){{3,}}(?![{based}])"
        )
        self.accent = re.compile(f"(?!(?<=[\u0418\u0438])\u0306)[{generic}]")
        self.decoration = re.compile(f"([0-9#*]\u20e3)|(?<=[{based}{generic}])[{sets.ranges('decoration')}]+")

    def fold(self, text: str) -> str:
        """NFC, with at most two accents on a letter beside the one that is part of it, and without decoration."""
        text = normal("NFC", self.repeated.sub(r"\1", self.endless.sub(r"\1", text)))
        return TOKEN.sub(self._bare, text) if self.generic.search(text) else text

    def _bare(self, found: re.Match[str]) -> str:
        """A word without its accents where they are heaped, or on every letter; the Cyrillic short i keeps its own."""
        word = found[0]
        if not self.generic.search(word):
            return word
        if self.heaped.search(word):
            return normal("NFC", self.accent.sub("", normal("NFD", word)))
        return self.decoration.sub(lambda marks: marks[1] or "", word)


def normal(form: Literal["NFC", "NFD"], text: str) -> str:
    """The normal form of what Unicode 13 had; what is newer, and some Pythons do not know, stays apart."""
    pieces = enumerate(_newer(is_far(text)).split(text))
    return "".join(piece if place % 2 else unicodedata.normalize(form, piece) for place, piece in pieces)


@cache
def _newer(far: bool) -> re.Pattern[str]:
    return re.compile(f"([{Sets(far).ranges('new')}]+)")


def _shifted(text: str, by: int) -> str:
    """A text with its code points moved."""
    return "".join(chr(ord(character) + by) for character in text)
