"""The steps of `runtime.fold` that look at words: alphabets of fancy text, mixed scripts, mixed digits."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache, cached_property

from runtime.characters import normal
from runtime.fold_table import Sets, members, odd_digits, read_table, sources

NO_WORD = r"\s!-/:-@\[-`{-~"
LOWER_CASE = "\u0430-\u045f\u03ac-\u03ce"
"""Small letters of the Cyrillic and Greek that are written today."""
SHORTEST = 5
"""Letters of a word that hardly happens to be of look-alikes only."""
INITIALS, FINALS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ", " ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
SPELLED_SYLLABLE = re.compile(rf"([{INITIALS}])([ㅏ-ㅣ])(?<![ㅜㅠㅡ])(?:([{FINALS[1:]}])(?!\3|[ㅏ-ㅣ]))?")
"""A Korean syllable by its letters. Some vowels are crying faces, and a consonant that is repeated laughs."""


class Words:
    """Each step stands behind a pattern that tells whether there is anything for it to do."""

    def __init__(self, far: bool) -> None:
        """For texts with characters of `runtime.fold_table.FAR`, or without."""
        table, sets = read_table(), Sets(far)
        latin = sets.ranges("Latin")
        self.between = sources(table["inside"])
        self.styles = [{member: (letter, script) for member, letter, script in style} for style in table["styles"]]
        between, digits = sets.of(self.between), sets.of(odd_digits())
        styled = sets.of(member for style in self.styles for member, (_, script) in style.items() if script != "Latin")
        self.any = re.compile(f"[{sets.foreign}{digits}{between}{styled}ㅏ-ㅣ]")
        self.styled = re.compile(f"[{styled}]")
        self.between_latin = re.compile(f"(?<=[{latin}])[{between}]+(?=[{latin}])")
        self.foreign = re.compile(f"[{sets.foreign}]")
        self.odd_digit = re.compile(f"[{digits}]")
        self.scripts = Scripts(sets)
        self.numbers = Numbers(sets)

    def fold(self, text: str) -> str:
        """All the steps, in their order."""
        if self.any.search(text):
            if self.styled.search(text):
                text = self._unstyled(text)
            text = SPELLED_SYLLABLE.sub(_syllable, text)
            text = self.between_latin.sub(lambda found: "".join(map(self.between.__getitem__, found[0])), text)
            if foreign := self.foreign.search(text):
                text = self.scripts.fold(text, self.scripts.of[foreign[0]])
            if self.odd_digit.search(text):
                text = self.numbers.fold(text)
        return text

    @cached_property
    def in_style(self) -> list[re.Pattern[str]]:
        """For each alphabet of fancy text the words all of its letters."""
        return [re.compile(f"(?<![^{NO_WORD}])[{Sets(True).of(style)}]+(?![^{NO_WORD}])") for style in self.styles]

    def _unstyled(self, text: str) -> str:
        """Words in an alphabet of fancy text. One that mixes scripts as no language does gives the alphabet away."""
        for style, words in zip(self.styles, self.in_style, strict=True):
            for word in words.findall(text):
                foreign = [letter for letter in word if not letter.isascii()]
                if len(word) > 2 and len(foreign) > 1 and len({style[letter][1] for letter in word}) > 1:
                    plain = {letter: latin for letter, (latin, _) in style.items()}
                    text = words.sub(lambda found: "".join(map(plain.__getitem__, found[0])), text)  # noqa: B023
                    break
        return text


def _syllable(letters: re.Match[str]) -> str:
    """Korean letters in one block."""
    initial, vowel, final = letters.groups(" ")
    return chr(0xAC00 + 28 * (21 * INITIALS.index(initial) + ord(vowel) - ord("ㅏ")) + FINALS.index(final))


class Scripts:
    """Words in the script that they are meant in.

    A letter that looks just like a Latin one is a strong look-alike, one that resembles it a weak one.
    """

    def __init__(self, sets: Sets) -> None:
        table = read_table()
        latin, generic, strong = sets.ranges("Latin"), sets.ranges("generic"), sets.of(sources(table["strong"]))
        word = f"{latin}{sets.foreign}{generic}"
        self.of = {letter: name for name in scripts_but_latin() for letter in members(table["scripts"][name])}
        self.strong, self.weak = sources(table["strong"]), sources(table["weak"])
        self.latin_of = self.strong | self.weak
        self.own: dict[str, dict[str, str]] = table["own"]
        self.latin = re.compile(f"[{latin}]")
        self.mark = re.compile(f"[{generic}]")
        self.border = re.compile(f"[{latin}][{generic}]*[{sets.foreign}]|[{sets.foreign}][{generic}]*[{latin}]")
        self.word = re.compile(f"[{word}]+")
        self.look_alike = re.compile(f"(?<![{word}])[{strong}]+(?![{word}])")
        self.host = re.compile(rf"(?<![{word}])[{strong}]+(?=\.[a-z]{{2}})")
        self.laughter = re.compile("[\u0425\u0445\u0410\u0430]{3,}")
        self.with_ending = re.compile(f"([A-Za-z]{{2,}})[{LOWER_CASE}]+")
        self.three = re.compile("(?<=[0-9])[\u0417\u0437](?=[0-9])")

    def fold(self, text: str, script: str) -> str:
        """Put mixed words into one script, and words all of strong look-alikes in a Latin text into Latin.

        Args:
            text: The text.
            script: That of the first letter that is not Latin.
        """
        others = _but(script).search(text)
        latin = self.latin.search(text)
        if others or (latin and self.border.search(text)):
            for sure in (True, False):  # words of which only the other words tell what they are come last
                written = self._written(text)
                text = self.word.sub(lambda found: self._unmixed(found[0], written, sure), text)  # noqa: B023
            latin = self.latin.search(text)
        text = self.three.sub("3", text)
        if latin:
            text = self.host.sub(lambda found: self._in_latin(found[0]), text)
            if others or not _certain(script).search(text):
                text = self._whole_words(text)
        return text

    def _written(self, text: str) -> Counter[str]:
        """Letters of each script in words that are all in it."""
        written = Counter[str]()
        for word in self.word.findall(text):
            scripts = {self._script(letter) for letter in word}
            if len(scripts) == 1:
                written[scripts.pop()] += len(word)
        return written

    def _script(self, letter: str) -> str:
        return self.of.get(letter, "Latin")

    def _whole_words(self, text: str) -> str:
        """Words of strong look-alikes in Latin, but for scripts that are seen to be written by another letter.

        In scripts with many readers, whole messages can be short words of look-alikes: those stay where Latin letters
        are few, and so does laughter.
        """
        letters = Counter(self.of[letter] for letter in text if letter in self.of)
        certain = {script for script in letters if _certain(script).search(text)}
        living = sum(count for script, count in letters.items() if script in self.own)
        shortest = 1 if len(self.latin.findall(text)) > living else SHORTEST

        def whole(found: re.Match[str]) -> str:
            word = found[0]
            scripts = {self.of[letter] for letter in word}
            short = len(word) < shortest and scripts & self.own.keys()
            stays = scripts & certain or short or self.laughter.fullmatch(word)
            return word if stays else self._in_latin(word)

        return self.look_alike.sub(whole, text)

    def _unmixed(self, word: str, written: Counter[str], sure: bool) -> str:
        """A word whose letters are of several scripts, in the script in which all of them could be.

        Args:
            word: Letters and accents.
            written: Letters of each script in the words of the text that do not mix any.
            sure: Leave a word alone that could be in more scripts than one.
        """
        flat = normal("NFD", word)
        letters = [letter for letter in flat if not self.mark.match(letter)]
        scripts = Counter(map(self._script, letters))
        if len(scripts) < 2:
            return word
        weak = [place for place, letter in enumerate(letters) if letter in self.weak]
        latin_of = self.latin_of if self._weak_count(weak, letters, scripts, written) else self.strong
        alone = {
            self.of[letter]
            for letter, after in zip(flat, flat[1:] + " ", strict=True)
            if letter in self.of and (letter not in latin_of or (letter in self.weak and self.mark.match(after)))
        }
        candidates = alone or scripts.keys() - {"Latin"}
        if len(candidates) > 1:
            latin_text = max(written, key=written.__getitem__, default="Latin") == "Latin"
            return self._in_latin(flat) if latin_text and not alone else word
        (script,) = candidates
        own = self.own.get(script, {})
        fits = all(self.latin_of.get(letter, letter) in own for letter in letters if self._script(letter) != script)
        here = written[script] > written["Latin"]
        ending = self.with_ending.fullmatch(word)
        if fits and here and ending and ending[1].isupper() and len(ending[1]) > 2:
            return word
        if alone:
            formula = script == "Greek" and not here and (len(letters) < 4 or 2 * scripts["Greek"] <= len(letters))
            known = here or any(letter in self.of and letter not in self.latin_of for letter in letters)
            return self._in_own(flat, script) if fits and known and not formula else word
        if not fits:
            return word if here and (weak or ending) else self._in_latin(flat)
        if sure:
            return word
        tie = written[script] == written["Latin"] and scripts[script] > scripts["Latin"]
        return self._in_own(flat, script) if here or tie else self._in_latin(flat)

    def _weak_count(self, weak: list[int], letters: list[str], scripts: Counter[str], written: Counter[str]) -> bool:
        """Whether weak look-alikes at these places stand for Latin letters.

        They do where no Cyrillic is written. Greek ones and others do in words of four letters or more, but not at the
        start or end of a word that is Latin otherwise: that is a symbol, or an ending.
        """
        if not scripts["Greek"] and not written["Cyrillic"]:
            return True
        inside = 0 < max(weak, default=0) < len(letters) - 1
        return len(letters) > 3 and (inside or len(letters) - scripts["Latin"] > 1)

    def _in_latin(self, word: str) -> str:
        """A word in the Latin letters that its letters look like. What looks like I and l is l after a small letter."""
        letters = ""
        for letter in word:
            latin = self.latin_of.get(letter, letter)
            letters += "l" if latin == "I" != letter and "a" <= letters[-1:] <= "z" else latin
        return normal("NFC", letters)

    def _in_own(self, word: str, script: str) -> str:
        """A word in the letters of a script that its letters look like."""
        own = self.own[script]
        stays = {script, None}
        letters = (
            letter
            if self.of.get(letter, None if self.mark.match(letter) else "Latin") in stays
            else own[self.latin_of.get(letter, letter)]
            for letter in word
        )
        return normal("NFC", "".join(letters))


def scripts_but_latin() -> list[str]:
    """Names of the scripts in which whole words can look Latin."""
    return [name for name in read_table()["scripts"] if name != "Latin"]


@cache
def _but(script: str) -> re.Pattern[str]:
    """A letter of another script that can look Latin."""
    return re.compile(f"[{Sets(True).ranges(*(name for name in scripts_but_latin() if name != script))}]")


@cache
def _certain(script: str) -> re.Pattern[str]:
    """A letter of this script that is no strong look-alike."""
    letters = Sets(True).of(members(read_table()["scripts"][script]) - sources(read_table()["strong"]).keys())
    return re.compile(f"[{letters}]" if letters else "(?!)")


class Numbers:
    """Numbers in ASCII digits, where they mix systems of digits or stand in Latin text without their own letters."""

    def __init__(self, sets: Sets) -> None:
        table = read_table()
        digits = sets.of(odd_digits()) + "0-9"
        self.by_look: dict[str, str] = table["digits_by_look"]
        self.letters = dict(table["digits"])
        self.values = {
            chr(ord(zero) + value): (str(value), zero) for zero in ("0", *self.letters) for value in range(10)
        }
        self.latin = re.compile(f"[{sets.ranges('Latin')}]")
        self.run = re.compile(f"[{digits}]+")
        self.number = re.compile(f"[{digits}](?:[.,:/+-]?[{digits}])*")

    def fold(self, text: str) -> str:
        """Digits of two systems side by side are taken for what they look like, one system alone for its values."""
        latin = self.latin.search(text) is not None
        at_home = {"0": True}

        def run(found: re.Match[str]) -> str:
            digits = found[0]
            zeros = {self.values[digit][1] for digit in digits}
            if len(zeros) > 1:
                return "".join(self.by_look.get(digit) or self.values[digit][0] for digit in digits)
            (zero,) = zeros
            if zero not in at_home:
                at_home[zero] = not latin or re.search(f"[{Sets(True).between(self.letters[zero])}]", text) is not None
            return digits if at_home[zero] else "".join(self.values[digit][0] for digit in digits)

        # a digit by itself may be part of a face
        return self.number.sub(lambda found: self.run.sub(run, found[0]) if len(found[0]) > 1 else found[0], text)
