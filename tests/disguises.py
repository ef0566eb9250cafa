"""Ways in which a sentence is disguised, so that a reader reads it as before and a program does not.

Each takes a text and chance. A style that has no sign for a character leaves it; one that has only capital or only
small letters leaves words of others.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from string import ascii_lowercase, ascii_uppercase, digits

Disguise = Callable[[str, random.Random], str]

NAMED = dict(zip(digits, ("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE"), strict=True))


def spelled(text: str, signs: Mapping[str, str]) -> str:
    return "".join(signs.get(letter, letter) for letter in text)


def whole_words(text: str, signs: Mapping[str, str], fewest: int = 1) -> str:
    """Words of which every letter has a sign."""

    def word(found: re.Match[str]) -> str:
        return spelled(found[0], signs) if len(found[0]) >= fewest and set(found[0]) <= signs.keys() else found[0]

    return re.sub(r"[A-Za-z]+", word, text)


def between(text: str, characters: str, draw: random.Random) -> str:
    """Up to three of these characters after each letter or digit."""
    return re.sub(r"[A-Za-z0-9]", lambda found: found[0] + "".join(draw.choices(characters, k=draw.randrange(4))), text)


def signs(*names: str) -> dict[str, str]:
    """The signs whose names are these with ``CAPITAL A`` or ``DIGIT ONE`` in the place of ``{}``."""
    found: dict[str, str] = {}
    for letter in ascii_uppercase + ascii_lowercase + digits:
        kind = "DIGIT" if letter in NAMED else "CAPITAL" if letter.isupper() else "SMALL"
        for name in names:
            try:
                sign = unicodedata.lookup(name.format(f"{kind} {NAMED.get(letter, letter.upper())}"))
            except KeyError:
                continue
            found.setdefault(letter, sign)
    return found


def styled(*names: str) -> Disguise:
    table = signs(*names)
    assert len(table) >= 23

    def disguise(text: str, draw: random.Random) -> str:
        return spelled(text, table)

    return disguise


def alphabet(letters: str, others: str) -> dict[str, str]:
    return dict(zip(letters, others, strict=True))


mathematical_bold = styled("MATHEMATICAL BOLD {}")
mathematical_italic = styled("MATHEMATICAL ITALIC {}")
mathematical_bold_italic = styled("MATHEMATICAL BOLD ITALIC {}")
script = styled("MATHEMATICAL SCRIPT {}", "SCRIPT {}")
bold_script = styled("MATHEMATICAL BOLD SCRIPT {}")
fraktur = styled("MATHEMATICAL FRAKTUR {}", "BLACK-LETTER {}")
bold_fraktur = styled("MATHEMATICAL BOLD FRAKTUR {}")
double_struck = styled("MATHEMATICAL DOUBLE-STRUCK {}", "DOUBLE-STRUCK {}")
sans_serif = styled("MATHEMATICAL SANS-SERIF {}")
sans_serif_bold = styled("MATHEMATICAL SANS-SERIF BOLD {}")
sans_serif_italic = styled("MATHEMATICAL SANS-SERIF ITALIC {}")
sans_serif_bold_italic = styled("MATHEMATICAL SANS-SERIF BOLD ITALIC {}")
monospace = styled("MATHEMATICAL MONOSPACE {}")


def fullwidth(text: str, draw: random.Random) -> str:
    return "".join(chr(ord(letter) + 0xFEE0) if letter != " " else "\u3000" for letter in text)


def _letters(table: Mapping[str, str]) -> Disguise:
    def disguise(text: str, draw: random.Random) -> str:
        return whole_words(text, table)

    return disguise


def _code_points(first: int, letters: str) -> dict[str, str]:
    return {letter: chr(first + place) for place, letter in enumerate(letters)}


circled = _letters(_code_points(0x24B6, ascii_uppercase) | _code_points(0x24D0, ascii_lowercase))
negative_circled = _letters(_code_points(0x1F150, ascii_uppercase))
squared = _letters(_code_points(0x1F130, ascii_uppercase))
negative_squared = _letters(_code_points(0x1F170, ascii_uppercase))
outlined = _letters(_code_points(0x1CCD6, ascii_uppercase))
superscript = _letters(
    alphabet("ABDEGHIJKLMNOPRTUVW", "ᴬᴮᴰᴱᴳᴴᴵᴶᴷᴸᴹᴺᴼᴾᴿᵀᵁⱽᵂ")
    | alphabet("abcdefghijklmnoprstuvwxyz", "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ")
)
small_capitals = _letters(alphabet("abcdefghijklmnopqrstuvwxyz", "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡxʏᴢ"))


def negative_squared_as_emoji(text: str, draw: random.Random) -> str:
    return re.sub("[\U0001f170-\U0001f189]", lambda found: found[0] + "\ufe0f", negative_squared(text, draw))


def subscript(text: str, draw: random.Random) -> str:
    return spelled(text, alphabet("aehijklmnoprstuvx", "ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ"))


def parenthesized(text: str, draw: random.Random) -> str:
    return whole_words(text, _code_points(0x249C, ascii_lowercase) | _code_points(0x1F110, ascii_uppercase), fewest=2)


def regional_letters(text: str, draw: random.Random) -> str:
    """Kept apart, as they are where they should not become flags."""
    return whole_words(text, {a: b + "\u200b" for a, b in _code_points(0x1F1E6, ascii_uppercase).items()})


def tag_letters(text: str, draw: random.Random) -> str:
    return re.sub(r"(?<!\S)\w+(?!\S)", lambda word: "".join(chr(0xE0000 + ord(letter)) for letter in word[0]), text)


def upside_down(text: str, draw: random.Random) -> str:
    turned = alphabet("abcdefghijklmnopqrstuvwxyz", "ɐqɔpǝɟƃɥᴉɾʞlɯuodbɹsʇnʌʍxʎz")
    turned |= alphabet("ACDEFGKLMPRTUVWY", "∀ƆᗡƎℲ⅁⋊⅂WԀᴚ⊥∩ΛM⅄")
    return spelled(text[::-1], turned | alphabet("12345679.,!", "ƖᄅƐㄣϛ9ㄥ6˙'¡"))


CYRILLIC = alphabet("ABCEHIJKMOPSTXYaceijopsxyhdqw", "АВСЕНІЈКМОРЅТХУасеіјорѕхуһԁԛԝ")
GREEK = alphabet("ABEZHIKMNOPTXYo", "ΑΒΕΖΗΙΚΜΝΟΡΤΧΥο")
ARMENIAN = alphabet("OSULnouhgq", "ՕՏՍԼոօսհցզ")
CHEROKEE = alphabet("ABCDEGHJKLMPRSTVWZ", "ᎪᏴᏟᎠᎬᏀᎻᎫᏦᏞᎷᏢᎡᏚᎢᏙᎳᏃ")
LISU = alphabet("ABCDEFGHIJKLMNOPRSTUVWXYZ", "ꓮꓐꓚꓓꓰꓝꓖꓧꓲꓙꓗꓡꓟꓠꓳꓑꓣꓢꓔꓴꓦꓪꓫꓬꓜ")
CANADIAN = alphabet("ABCDEFHJLNPQRSUVWZ", "ᗩᗷᑕᗪᗴᖴᕼᒍᒪᑎᑭᑫᖇᔕᑌᐯᗯᘔ")


def _some(table: Mapping[str, str], share: float) -> Disguise:
    def disguise(text: str, draw: random.Random) -> str:
        return "".join(table.get(letter, letter) if draw.random() < share else letter for letter in text)

    return disguise


cyrillic_letters = _some(CYRILLIC, 0.7)
all_cyrillic_letters = _some(CYRILLIC, 1)
greek_letters = _some(GREEK, 1)
armenian_letters = _some(ARMENIAN, 1)
cherokee_letters = _some(CHEROKEE, 1)
lisu_letters = _some(LISU, 1)
canadian_syllabics = _some(CANADIAN, 1)


def many_scripts(text: str, draw: random.Random) -> str:
    tables = (CYRILLIC, GREEK, ARMENIAN, CHEROKEE)
    return "".join(draw.choice(tables).get(letter, letter) for letter in text)


def _invisible(characters: Iterable[str]) -> Disguise:
    known = "".join(characters)

    def disguise(text: str, draw: random.Random) -> str:
        return between(text, known, draw)

    return disguise


zero_width_spaces = _invisible("\u200b")
joiners = _invisible("\u200c\u200d")
soft_hyphens = _invisible("\xad")
variation_selectors = _invisible("\ufe00\ufe01\ufe0e\ufe0f\U000e0100\U000e01ef")
grapheme_joiners = _invisible("\u034f")
invisible_operators = _invisible("\u2060\u2061\u2062\u2063\u2064")
hangul_fillers = _invisible("\u115f\u1160\u3164\uffa0")
tags_between = _invisible(map(chr, range(0xE0020, 0xE007F)))
byte_order_marks = _invisible("\ufeff")
direction_marks = _invisible("\u200e\u200f\u061c")
mongolian_selectors = _invisible("\u180b\u180c\u180d\u180e")


def override(text: str, draw: random.Random) -> str:
    return f"\u202e{text[::-1]}\u202c"


def override_without_end(text: str, draw: random.Random) -> str:
    half = len(text) // 2
    return f"{text[:half]}\u202e{text[half:][::-1]}"


def override_words(text: str, draw: random.Random) -> str:
    return re.sub(r"\w+", lambda word: f"\u202e{word[0][::-1]}\u202c", text)


def nested_overrides(text: str, draw: random.Random) -> str:
    """Backwards but for a part that is put forwards again."""
    a, b = len(text) // 3, 2 * len(text) // 3
    return f"\u202e{text[b:][::-1]}\u202d{text[a:b]}\u202c{text[:a][::-1]}\u202c"


def embeddings(text: str, draw: random.Random) -> str:
    pairs = ("\u202a\u202c", "\u202b\u202c", "\u2066\u2069", "\u2067\u2069", "\u2068\u2069")

    def inside(word: re.Match[str]) -> str:
        start, end = draw.choice(pairs)
        return start + word[0] + end

    return re.sub(r"\w+", inside, text)


def zalgo(text: str, draw: random.Random) -> str:
    marks = [chr(point) for point in range(0x300, 0x370) if point != 0x34F]
    return re.sub(r"[A-Za-z]", lambda found: found[0] + "".join(draw.choices(marks, k=draw.randrange(4, 30))), text)


def _marked(marks: str) -> Disguise:
    def disguise(text: str, draw: random.Random) -> str:
        return re.sub(r"[A-Za-z0-9]", lambda found: found[0] + draw.choice(marks), text)

    return disguise


struck_through = _marked("\u0335\u0336\u0337\u0338")
underlined = _marked("\u0332\u0333\u0347")
enclosed = _marked("\u20dd\u20de\u20e0\u0489")
letters_above = _marked("\u0363\u0364\u0365\u036f")


def keycap_letters(text: str, draw: random.Random) -> str:
    return re.sub(r"[A-Za-z]", lambda found: found[0] + "\u20e3", text)


def currency_letters(text: str, draw: random.Random) -> str:
    return whole_words(text, alphabet(ascii_lowercase, "₳฿₵ĐɆ₣₲ⱧłJ₭Ⱡ₥₦Ø₱QⱤ₴₮ɄV₩ӾɎⱫ"), fewest=4)


def chinese_strokes(text: str, draw: random.Random) -> str:
    return whole_words(text, alphabet(ascii_lowercase, "卂乃匚ᗪ乇千Ꮆ卄丨ﾌҜㄥ爪几ㄖ卩Ɋ尺丂ㄒㄩᐯ山乂ㄚ乙"))


def thai_letters(text: str, draw: random.Random) -> str:
    return whole_words(text, alphabet(ascii_lowercase, "ค๒ς๔єŦﻮђเןкɭ๓ภ๏קợгรՇยשฬאץչ"))


def odd_digits(text: str, draw: random.Random) -> str:
    """A system of digits for each number, and in one number two."""
    zeros = (0x660, 0x6F0, 0x966, 0xE50, 0x1D7CE)

    def number(found: re.Match[str]) -> str:
        zero = draw.choice(zeros)
        return "".join(chr(zero + int(digit)) for digit in found[0])

    return re.sub(r"\d{2,}", number, text)


def circled_digits(text: str, draw: random.Random) -> str:
    return spelled(text, alphabet("0123456789", "⓪①②③④⑤⑥⑦⑧⑨"))


def negative_circled_digits(text: str, draw: random.Random) -> str:
    return spelled(text, alphabet("0123456789", "⓿❶❷❸❹❺❻❼❽❾"))


def odd_blanks(text: str, draw: random.Random) -> str:
    return re.sub(" ", lambda _: draw.choice("\xa0\u2002\u2003\u2009\u202f\u205f\u3000"), text)


def non_breaking_hyphens(text: str, draw: random.Random) -> str:
    return text.replace("-", "\u2011")


DISGUISES: dict[str, Disguise] = {
    name: value
    for name, value in dict(globals()).items()
    if callable(value)
    and getattr(value, "__module__", "") == __name__
    and not name.startswith("_")
    and name not in ("spelled", "whole_words", "between", "signs", "styled", "alphabet")
}
"""All of them by their names."""
