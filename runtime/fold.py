"""A text as its reader reads it: one way to write each letter, and nothing that cannot be seen.

What is typed to get past a filter looks to its reader like what it stands for: letters of other scripts and styles,
invisible characters, heaps of accents, text that runs backwards. `fold` undoes that, and leaves alone what people
really write in any script. Spaced-out words and digits for letters are left to the model.

All it knows of characters stands in ``fold.json``, made by ``tools/make_fold_table.py``, so that every version of
Python folds alike. Python's own tables are asked for NFC and NFD alone, and only of characters that Unicode 13 had.
"""

from __future__ import annotations

from functools import cache
from string import ascii_letters

from runtime.characters import Characters
from runtime.fold_table import is_far, members, read_table, sources
from runtime.words import Words

MOST_PASSES = 8
"""What one pass makes, another may go on with. A text that people write needs one, and one more to see that."""


def fold(text: str) -> str:
    """A text as it is read: its NFKC, but for what a reader sees differently.

    Emoji, spacing accents, vulgar fractions, lone Korean letters, the Thai and Lao vowel am and the Armenian yev stay
    as they are; so do line breaks. Folding again changes nothing. The time is linear in the length; a text of ASCII
    comes back at once.

    Args:
        text: Any string.

    Returns:
        The folded text; empty only where nothing in it can be seen.
    """
    for _ in range(MOST_PASSES):
        if text.isascii():
            break
        characters, words = _steps(is_far(text))
        before, text = text, words.fold(characters.fold(text))
        if text == before:
            break
    return text


@cache
def _steps(far: bool) -> tuple[Characters, Words]:
    """The table is read, and patterns compiled, at the first text that needs them."""
    return Characters(far), Words(far)


@cache
def look_alikes(*scripts: str) -> dict[str, str]:
    """For each Latin letter that has any, the letters of some scripts that look like it.

    Args:
        scripts: Unicode's names of scripts, for example ``Cyrillic``.
    """
    table = read_table()
    letters = set().union(*(members(table["scripts"][script]) for script in scripts))
    alike = {letter: table["strong"].get(letter, "") + table["weak"].get(letter, "") for letter in ascii_letters}
    found = {letter: "".join(other for other in others if other in letters) for letter, others in alike.items()}
    return {letter: others for letter, others in found.items() if others}


@cache
def latin_letters() -> dict[str, str]:
    """The Latin letter that a letter of another script or style looks like."""
    table = read_table()
    alike = sources(table["weak"]) | sources(table["strong"]) | sources(table["plain"])
    return {other: letter for other, letter in alike.items() if len(letter) == 1 and letter in ascii_letters}
