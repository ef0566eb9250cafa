"""Make ``runtime/fold.json``, the one table of look-alike, styled and invisible characters, from Unicode's data files.

It is made once, and again when a new version of Unicode is to be known:

    python tools/make_fold_table.py UCD runtime/fold.json

``UCD`` is a folder like https://www.unicode.org/Public/17.0.0/ucd/ (Debian's package ``unicode-data`` holds one) with
``emoji/emoji-sequences.txt`` and ``security/confusables.txt`` in it (ICU's sources hold the latter). What Unicode's
tables do not say stands in the constants below. The table is ASCII, so that neither invisible nor right-to-left
characters confuse whoever reads it. Its parts:

    ranges           sets of characters, as code points in hexadecimal
    scripts          the letters of the scripts in which words can look Latin, and of Latin
    flags            pairs of regional letters that are flags
    plain            for a text, the characters that are it in some style: NFKC's, and styles without a decomposition
    strong, weak     for a Latin letter, those of other scripts that look just like it, and that resemble it
    own              for a script, which of its letters stands for a Latin one in its words
    inside           for a Latin letter, what looks like it where Latin letters stand on both sides
    styles           alphabets of fancy text: their letters, what those stand for, and the scripts they are taken from
    digits           the zeros of systems of digits, and the letters beside which those are at home
    digits_by_look   digits that look like another one
    mirrored         pairs that change places in text that runs backwards
    upside_down      what stands for a character in a text turned on its head; turned: what gives such a text away
"""

from __future__ import annotations

import argparse
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

LETTERS = "abcdefghijklmnopqrstuvwxyz"
STABLE = 13
"""Characters up to this version of Unicode are normalized alike by every supported Python: 3.10 has version 13."""

TWINNED = (
    "Cyrillic", "Greek", "Coptic", "Armenian", "Cherokee", "Lisu", "Canadian_Aboriginal", "Tifinagh", "Deseret",
    "Osage", "Elbasan", "Carian", "Lycian", "Old_Italic", "Runic", "Warang_Citi", "Miao", "Bamum",
)  # fmt: skip
"""Scripts with so many look-alikes of Latin letters that words can be written in them."""

WEAK = {
    "A": "\u0394\u039b\u0414", "E": "\u03a3\u039e\u0404", "F": "\u0492", "H": "\u04a2", "K": "\u049a", "N": "\u0418",
    "O": "\u04e8\u0398", "R": "\u042f", "U": "\u0426", "W": "\u0428\u0429",
    "a": "\u03b1", "b": "\u03b2\u0432\u044c\u042c", "c": "\u04ab", "e": "\u03b5\u0454\u04bd", "h": "\u043d\u04a3",
    "k": "\u03ba\u043a\u049b", "m": "\u043c", "n": "\u03b7\u043f\u0438", "o": "\u03c3\u04e9", "p": "\u03c1",
    "r": "\u0433\u0491\u044f", "s": "\u03c2", "t": "\u03c4\u0442", "u": "\u0446", "v": "\u03bd",
    "w": "\u03c9\u0448\u0461", "x": "\u03c7", "y": "\u03b3\u04b1",
}  # fmt: skip
"""Letters that only resemble a Latin one, or are symbols in formulas: they count where the rest of a word is Latin."""

ALSO = {
    "A": "\u15e9", "C": "\u1455", "E": "\u15f4", "G": "\u161c", "L": "\u053c", "N": "\u144e", "Q": "\u146b",
    "S": "\u1515", "W": "\u15ef", "Z": "\u1614", "f": "\u0493",
}  # fmt: skip
"""Look-alikes that Unicode's table lacks: Canadian syllabics, Armenian L, the f of those who write small capitals."""

STYLED = {"\u2010": "-", "\u2011": "-"}
"""Styles that are neither in NFKC nor in a name: hyphens."""

OWN = {
    "Cyrillic": (
        "ABCEHIJKMOPTXYaceijopxyktm",
        "\u0410\u0412\u0421\u0415\u041d\u0406\u0408\u041a\u041c\u041e\u0420\u0422\u0425\u0423"
        "\u0430\u0441\u0435\u0456\u0458\u043e\u0440\u0445\u0443\u043a\u0442\u043c",
    ),
    "Greek": (
        "ABEZHIKMNOPTYXaeiknopuvxytw",
        "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7"
        "\u03b1\u03b5\u03b9\u03ba\u03b7\u03bf\u03c1\u03c5\u03bd\u03c7\u03b3\u03c4\u03c9",
    ),
    "Armenian": ("LOSUghjnou", "\u053c\u0555\u054f\u054d\u0581\u0570\u0575\u0578\u0585\u057d"),
}
"""Latin letters, and those of a script for which they stand in one of its words."""

LIVING = "\u0131\u0184\u0185\u0192\u0196\u01a6\u01bf\u00fe\u0263\u0269\u026f\u028b\u1e9d\ua7b4"
"""Latin letters that look like others and that people write in their own languages."""

STYLES = (
    "\u20b3\u0e3f\u20b5\u0110\u0246\u20a3\u20b2\u2c67\u0142J\u20ad\u2c60\u20a5\u20a6\xd8\u20b1Q\u2c64\u20b4\u20ae\u0244V"
    "\u20a9\u04fe\u024e\u2c6b",
    "\u5342\u4e43\u531a\u15ea\u4e47\u5343\u13b6\u5344\u4e28\u30d5\u049c\u3125\u722a\u51e0\u3116\u5369\u024a\u5c3a\u4e02\u3112"
    "\u3129\u142f\u5c71\u4e42\u311a\u4e59",
    "\u0e04\u0e52\u03c2\u0e54\u0454\u0166\u0648\u0452\u0e40\u05df\u043a\u026d\u0e53\u0e20\u0e4f\u05e7\u1ee3\u0433\u0e23\u0547"
    "\u0e22\u05e9\u0e2c\u05d0\u05e5\u0579",
    "\u0105\u048d\xe7\u056a\u04bd\u0192\u0581\u0570\xec\u029d\u049f\u04c0\u028d\u0572\u0585\u0584\u0566\u027e\u0282\u0567"
    "\u0574\u0475\u0561\xd7\u057e\u0540",
)
"""Alphabets from a to z of the makers of fancy text that mix scripts: currency signs, Chinese, Thai, Armenian."""

UPSIDE_DOWN = {
    "\u0250": "a", "q": "b", "\u0254": "c", "p": "d", "\u01dd": "e", "\u025f": "f", "\u0183": "g", "\u1d77": "g",
    "\u0265": "h", "\u1d09": "i", "\u0131": "i", "\u027e": "j", "\u017f": "j", "\u029e": "k", "l": "l", "\ua781": "l",
    "\u026f": "m", "u": "n", "o": "o", "d": "p", "b": "q", "\u0279": "r", "s": "s", "\u0287": "t", "n": "u",
    "\u028c": "v", "\u028d": "w", "x": "x", "\u028e": "y", "z": "z", "\u2200": "A", "\U00010412": "B", "\ua4ed": "B",
    "\u0186": "C", "\u15e1": "D", "\u018e": "E", "\u2132": "F", "\u2141": "G", "H": "H", "I": "I", "\u22ca": "K",
    "\ua7b0": "K", "\u2142": "L", "\ua780": "L", "W": "M", "N": "N", "O": "O", "\u0500": "P", "\u1d1a": "R", "S": "S",
    "\u22a5": "T", "\u2534": "T", "\ua7b1": "T", "\u2229": "U", "\u039b": "V", "\u0245": "V", "M": "W", "X": "X",
    "\u2144": "Y", "Z": "Z", "0": "0", "\u0196": "1", "\u21c2": "1", "\u1105": "2", "\u0190": "3", "\u3123": "4",
    "\u03db": "5", "9": "6", "\u3125": "7", "8": "8", "6": "9", "\u02d9": ".", "'": ",", ",": "'", "\xa1": "!",
    "\xbf": "?", "?": "\xbf", "!": "\xa1", "\u214b": "&", "\u203e": "_", "(": ")", ")": "(", " ": " ", "-": "-",
    "$": "$", "%": "%", ":": ":", "/": "/",
}  # fmt: skip
"""What stands for an upright character in a text that is turned on its head, and so is read from its end."""

TURNED = (
    "\u1d1a\u2132\u2141\u2142\u2144\u0250\u025f\u0183\u1d77\u0265\u1d09\u027e\u029e\u026f\u0279\u0287\u028c\u028d\u028e"
)
"""Those of them that no word of a living language is full of."""

INSIDE = {"\u212e": "e", "\u237a": "a", "\u2374": "p", "\u2373": "i"}
"""Symbols that stand for a letter between Latin ones."""

ANNOTATIONS = {0xFFF9, 0xFFFA, 0xFFFB}
"""Invisible, too: what surrounds an annotation."""

GENERIC = "0300-036F 0483-0489 1AB0-1AFF 1DC0-1DFF 20D0-20FF FE20-FE2F"
"""Combining marks of no one script."""

ORTHOGRAPHIC = (
    "0300-0304 0306-030D 030F-0311 0313-0315 031B 0323-0329 032D-032E 0330-0331 0342 0344-0345 0358 0361 0483-0487"
)
"""Those of them that orthographies put on a letter; the others are decoration."""

UNNORMALIZED = {
    *map(chr, range(0xBC, 0xBF)), *map(chr, range(0x2150, 0x2160)), "\u2189",
    *map(chr, range(0x3131, 0x318F)), "\u0e33", "\u0eb3", "\u0587",
}  # fmt: skip
"""What people write and NFKC takes apart: vulgar fractions, which would join the digit before them, lone Korean
letters, which would join into syllables, the Thai and Lao vowel am, the Armenian yev."""

MIRRORED = "()[]{}<>\xab\xbb\u2039\u203a\u2264\u2265"


class Unicode:
    """What the data files say of each code point."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names, self.categories, self.classes = dict[int, str](), dict[int, str](), dict[int, int]()
        self.decompositions, self.numbers = dict[int, str](), dict[int, str]()
        first = 0
        for code, name, category, combining, _, decomposition, _, _, number, *_ in self.rows("UnicodeData.txt"):
            end = int(code, 16)
            if name.endswith("First>"):
                first = end
                continue
            for point in range(first or end, end + 1):
                self.names[point], self.categories[point], self.classes[point] = name, category, int(combining)
            first = 0
            if decomposition:
                self.decompositions[end] = decomposition
            if number and "/" not in number:
                self.numbers[end] = number
        self.scripts = dict(self.values("Scripts.txt"))
        self.extensions = {point: value.split() for point, value in self.values("ScriptExtensions.txt")}
        self.short = {row[1]: row[2] for row in self.rows("PropertyValueAliases.txt") if row[0] == "sc"}  # Arab: Arabic
        self.ages = dict(self.values("DerivedAge.txt"))

    def rows(self, name: str) -> Iterator[list[str]]:
        """The rows of a data file as stripped fields."""
        for line in (self.folder / name).read_text(encoding="utf-8-sig").splitlines():
            if line := line.partition("#")[0].strip():
                yield [field.strip() for field in line.split(";")]

    def values(self, name: str, prefix: tuple[str, ...] = ()) -> Iterator[tuple[int, str]]:
        """Code points of a property file, and their value, of the rows that begin with ``prefix``."""
        for codes, *rest in self.rows(name):
            if tuple(rest[: len(prefix)]) == prefix:
                value = rest[len(prefix)] if len(rest) > len(prefix) else ""
                for point in points(codes):
                    yield point, value

    def having(self, name: str, *prefix: str) -> set[int]:
        """The code points of a property file whose rows begin with ``prefix``."""
        return {point for point, _ in self.values(name, prefix)}

    def of(self, *scripts: str, kinds: str = "L") -> set[int]:
        """Characters of scripts whose category begins with one of these letters."""
        return {
            point
            for point, script in self.scripts.items()
            if script in scripts and self.categories.get(point, "Cn")[0] in kinds
        }

    def compatible(self, point: int) -> str:
        """The full compatibility decomposition of a character."""
        if point not in self.decompositions:
            return chr(point)
        codes = [int(code, 16) for code in re.sub(r"<.*?> ?", "", self.decompositions[point]).split()]
        return "".join(chr(code) if chr(code) in UNNORMALIZED else self.compatible(code) for code in codes)


def points(codes: str) -> range:
    """``0041`` or ``0041..005A`` as code points."""
    first, _, last = codes.replace("-", "..").partition("..")
    return range(int(first, 16), int(last or first, 16) + 1)


def ranges(chosen: Iterable[int]) -> str:
    """Code points as ``41-5A 61``."""
    found: list[list[int]] = []
    for point in sorted(chosen):
        if found and found[-1][1] == point - 1:
            found[-1][1] = point
        else:
            found.append([point, point])
    return " ".join(f"{first:X}" if first == last else f"{first:X}-{last:X}" for first, last in found)


def by_target(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """``(source, target)`` pairs as all sources of each target."""
    table: dict[str, list[str]] = {}
    for source, target in sorted(pairs):
        table.setdefault(target, []).append(source)
    return {target: "".join(table[target]) for target in sorted(table)}


def plain_characters(unicode: Unicode, confusable: dict[str, str]) -> dict[str, str]:
    """Characters that are another one in some style: NFKC's, and styles without a decomposition."""
    plain = dict(STYLED)
    for point in unicode.decompositions:
        flat = unicode.compatible(point)
        normal = unicodedata.normalize("NFC", flat)
        spacing_accent = flat[0] == " " and len(flat) > 1  # to the eye it is no blank with an accent on it
        if normal != unicodedata.normalize("NFC", chr(point)) and not spacing_accent and chr(point) not in UNNORMALIZED:
            plain[chr(point)] = normal
    for point, name in unicode.names.items():
        letter = re.fullmatch(
            r"(?:CROSSED )?NEGATIVE (?:CIRCLED|SQUARED) LATIN CAPITAL LETTER ([A-Z])|"
            r"LATIN LETTER SMALL CAPITAL ([A-Z])",
            name,
        )
        number = re.fullmatch(
            r"(?:DINGBAT )?(?:NEGATIVE CIRCLED|CIRCLED SANS-SERIF|NEGATIVE CIRCLED SANS-SERIF|DOUBLE CIRCLED) "
            r"(?:DIGIT|NUMBER) .*",
            name,
        )
        if letter:
            plain[chr(point)] = letter[1] or letter[2].lower()
        elif number and chr(point) not in plain:
            plain[chr(point)] = unicode.numbers[point]
    latin = unicode.of("Latin")
    for source, target in confusable.items():
        letter_of_old = ord(source) in latin and source not in LIVING and "CLICK" not in unicode.names[ord(source)]
        if letter_of_old and source not in plain and not source.isascii() and target.isalpha():
            plain[source] = target
    while changed := {
        source: new
        for source, target in plain.items()
        if (new := "".join(plain.get(letter, letter) for letter in target)) != target
    }:
        plain |= changed
    return plain


def look_alikes(unicode: Unicode, confusable: dict[str, str], plain: dict[str, str]) -> dict[str, dict[str, str]]:
    """Letters that look like Latin ones, by how much and where."""
    letters = {chr(point) for point in unicode.of(*TWINNED)}
    weak = {source: target for target, sources in WEAK.items() for source in sources}
    capital_i = {
        source
        for source, target in confusable.items()
        if target == "l" and source in letters and unicode.categories[ord(source)] != "Ll"
    }
    strong = {
        source: "I" if source in capital_i else target
        for source, target in (confusable | {source: target for target, source in ALSO.items()}).items()
        if source in letters - weak.keys() - plain.keys()
        and target.isalpha()
        and unicode.categories[ord(source)] != "Lm"
    }
    inside = {
        source: target
        for source, target in confusable.items()
        if target.isalpha()
        and target not in "li"
        and source not in letters | plain.keys()
        and not source.isascii()
        and (
            unicode.scripts[ord(source)] not in ("Latin", "Han", "Katakana", "Common")
            or unicode.categories[ord(source)] == "Nd"
        )
    } | INSIDE
    return {name: by_target(alike.items()) for name, alike in (("strong", strong), ("weak", weak), ("inside", inside))}


def character_sets(unicode: Unicode) -> dict[str, str]:
    """Sets of characters, as ranges."""
    ignorable = unicode.having("DerivedCoreProperties.txt", "Default_Ignorable_Code_Point") | ANNOTATIONS
    marks = {
        point for point, category in unicode.categories.items() if category in ("Mn", "Me") or unicode.classes[point]
    } - ignorable
    generic = {point for codes in GENERIC.split() for point in points(codes)} & marks
    orthographic = {point for codes in ORTHOGRAPHIC.split() for point in points(codes)}
    stable = {point for point, age in unicode.ages.items() if float(age) <= STABLE}
    changing = unicode.having("DerivedNormalizationProps.txt", "NFC_QC") | {
        point for point, order in unicode.classes.items() if order
    }
    shaping = {
        unicode.scripts[point]
        for point, kind in unicode.values("extracted/DerivedJoiningType.txt")
        if kind in ("D", "R", "L")
    } | {
        unicode.scripts[point]
        for kind in ("Virama", "Invisible_Stacker", "Pure_Killer")
        for point in unicode.having("IndicSyllabicCategory.txt", kind)
    }
    bidi = "extracted/DerivedBidiClass.txt"
    emoji = {
        int(codes.split()[0], 16)
        for codes, style, *_ in unicode.rows("emoji/emoji-variation-sequences.txt")
        if style == "emoji style"
    }
    sets = {
        "new": set(range(0x110000)) - stable,
        "unstable": changing & stable,
        "ignorable": ignorable,
        "joining": unicode.of(*shaping - {"Common", "Inherited"}, kinds="LM"),
        "unspaced": unicode.having("LineBreak.txt", "SA"),
        "pictures": unicode.having("emoji/emoji-data.txt", "Extended_Pictographic"),
        "two_styles": emoji - set(range(0x80)),
        "marks": marks,
        "generic": generic,
        "decoration": generic - orthographic,
        "right_to_left": unicode.having(bidi, "R") | unicode.having(bidi, "AL"),
    }
    return {name: ranges(chosen) for name, chosen in sets.items()}


def digits_at_home(unicode: Unicode, plain: dict[str, str]) -> list[list[str]]:
    """The zero of each system of digits, and the letters of the scripts that it is used with."""
    digits = []
    for point, category in sorted(unicode.categories.items()):
        if category == "Nd" and unicode.numbers[point] == "0" and point > 0x7F and chr(point) not in plain:
            owners = [unicode.short[name] for name in unicode.extensions.get(point, [])] or [unicode.scripts[point]]
            digits.append([chr(point), ranges(unicode.of(*owners))])
    return digits


def main() -> None:
    """Read the files, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ucd", type=Path, help="folder with UnicodeData.txt, emoji/ and security/")
    parser.add_argument("out", type=Path, help="the table to write")
    arguments = parser.parse_args()
    unicode = Unicode(arguments.ucd)
    header = (arguments.ucd / "security/confusables.txt").read_text(encoding="utf-8-sig")
    confusable = {
        chr(int(source, 16)): chr(int(target, 16))
        for source, target, _ in unicode.rows("security/confusables.txt")
        if " " not in source and " " not in target and chr(int(target, 16)).isascii()
    }
    plain = plain_characters(unicode, confusable)
    table = {
        "about": "Made by tools/make_fold_table.py from the Unicode Character Database and Unicode's confusables; "
        "their licence is in UNICODE-LICENSE.",
        "unicode": header.partition("Version: ")[2].split()[0],
        "ranges": character_sets(unicode),
        "scripts": {name: ranges(unicode.of(name)) for name in ("Latin", *TWINNED)},
        "flags": [
            "".join(chr(int(code, 16) - 0x1F1E6 + 65) for code in codes.split())
            for codes, kind, *_ in unicode.rows("emoji/emoji-sequences.txt")
            if kind == "RGI_Emoji_Flag_Sequence"
        ],
        "plain": by_target(plain.items()),
        **look_alikes(unicode, confusable, plain),
        "own": {script: dict(zip(*pair, strict=True)) for script, pair in OWN.items()},
        "styles": [
            [[member, letter, unicode.scripts[ord(member)]] for member, letter in zip(members, LETTERS, strict=True)]
            for members in STYLES
        ],
        "digits": digits_at_home(unicode, plain),
        "digits_by_look": {
            source: target
            for source, target in sorted(confusable.items())
            if target.isdigit() and unicode.categories[ord(source)] == "Nd" and source not in plain
        },
        "mirrored": MIRRORED,
        "upside_down": UPSIDE_DOWN,
        "turned": TURNED,
    }
    lines = json.dumps(table, separators=(",", ":")).replace('],"', '],\n"').replace("},", "},\n")
    arguments.out.write_text(lines + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
