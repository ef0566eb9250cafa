"""Messages changed at random: what a model should read in the same way, however it is typed."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence

from runtime.fold import look_alikes

INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
"""Zero-width characters and the soft hyphen."""
SCRIPTS = ("Cyrillic", "Greek", "Armenian")
"""Scripts of the letters that Latin ones are replaced by."""
LEET = {"a": "4@", "b": "8", "e": "3", "g": "9", "i": "1!", "l": "1", "o": "0", "s": "5$", "t": "7", "z": "2"}
SEPARATORS = " .-_*"
LETTERS = "abcdefghijklmnopqrstuvwxyz "


def respelled(word: str, table: Mapping[str, str], share: float, draw: random.Random) -> str:
    """A word with a share of its letters replaced by one of those that a table has for them."""
    return "".join(
        draw.choice(table.get(letter) or table.get(letter.lower()) or letter) if draw.random() < share else letter
        for letter in word
    )


def disguised(text: str, draw: random.Random) -> str:
    """A message as filters are evaded: look-alike letters, invisible ones, words spaced out, digits for letters."""
    share = draw.uniform(0.2, 1)
    ways: tuple[Callable[[str], str], ...] = (
        lambda word: respelled(word, look_alikes(*SCRIPTS), share, draw),
        lambda word: respelled(word, LEET, share, draw),
        lambda word: "".join(
            letter + (draw.choice(INVISIBLE) if draw.random() < 0.6 * share else "") for letter in word
        ),
        lambda word: (draw.choice(SEPARATORS) if draw.random() < 0.3 else " ").join(word) if len(word) > 2 else word,
    )
    chosen, changed = draw.choice((*ways, ways[0], None)), draw.uniform(0.15, 1)
    return "".join(
        (chosen or draw.choice(ways))(word) if word.strip() and draw.random() < changed else word
        for word in re.split(r"(\s+)", text)
    )


def mistyped(text: str, share: float, draw: random.Random) -> str:
    """A message in which a share of the characters is lost, or has another one before it."""
    typed = []
    for letter in text:
        chance = draw.random()
        if chance >= share / 3:
            typed.append(draw.choice(LETTERS) + letter if chance < 2 * share / 3 else letter)
    return "".join(typed)


def altered(text: str, draw: random.Random, disguise: float) -> str:
    """A message with words left out, digits drawn anew, its case changed, typing errors, a disguise: each by chance.

    Args:
        text: the message.
        draw: where chance comes from.
        disguise: probability of a disguise.
    """
    if draw.random() < 0.3:
        lost = draw.uniform(0, 0.4)
        text = "".join(word for word in re.split(r"(?<=\s)", text) if draw.random() > lost) or text
    if draw.random() < 0.4:
        anew = draw.uniform(0.1, 1)
        text = re.sub(r"[0-9]", lambda found: draw.choice("0123456789") if draw.random() < anew else found[0], text)
    case = draw.random()
    if case < 0.05:
        text = text.lower()
    elif case < 0.1:
        text = text.upper()
    elif case < 0.15:
        text = " ".join(word.swapcase() if draw.random() < 0.2 else word for word in text.split(" "))
    if draw.random() < 0.15:
        text = mistyped(text, draw.uniform(0.01, 0.06), draw)
    if draw.random() < disguise:
        text = disguised(text, draw)
    return text


def epoch_texts(
    texts: Sequence[str], epoch: int, *, share: float, change: Callable[[str, random.Random], str], seed: int
) -> list[str]:
    """What one epoch sees of messages: a share of them changed. Depends on the arguments alone.

    A message of which nothing would be left stays as it is.
    """
    draw = random.Random(f"{seed} {epoch}")
    seen = (change(text, draw) if draw.random() < share else text for text in texts)
    return [new if new.strip() else text for new, text in zip(seen, texts, strict=True)]
