"""The form of the written messages, and their reader.

``written/*.jsonl`` hold one JSON object a line with the fields of `Message`, all strings.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from pathlib import Path

FOLDER = Path(__file__).parent
WRITTEN = FOLDER / "written"

THEMES = {
    "ham": [
        "people", "comment", "work", "trade", "bank", "community", "official", "travel", "marketing", "bill", "school",
        "appointment", "code", "parcel", "tech",
    ],
    "spam": [
        "sale", "official", "account", "invest", "contact", "romance", "job", "trade", "bank", "prize", "invoice",
        "gambling", "link", "parcel", "loan", "malware", "charity", "extortion", "utility", "religion",
    ],
}  # fmt: skip
"""What a message of either class can be about."""
CHANNELS = ("sms", "mail", "chat", "comment", "form")
LANGUAGES = {
    "af": "Afrikaans", "am": "Amharic", "ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan",
    "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "en": "English", "es": "Spanish", "et": "Estonian",
    "fa": "Persian", "fi": "Finnish", "fr": "French", "gu": "Gujarati", "ha": "Hausa", "he": "Hebrew", "hi": "Hindi",
    "hr": "Croatian", "hu": "Hungarian", "id": "Indonesian", "it": "Italian", "ja": "Japanese", "kn": "Kannada",
    "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian", "ml": "Malayalam", "mr": "Marathi", "ms": "Malay",
    "ne": "Nepali", "nl": "Dutch", "no": "Norwegian", "pa": "Punjabi", "pl": "Polish", "pt": "Portuguese",
    "ro": "Romanian", "ru": "Russian", "si": "Sinhala", "sk": "Slovak", "sl": "Slovenian", "sr": "Serbian",
    "sv": "Swedish", "sw": "Swahili", "ta": "Tamil", "te": "Telugu", "th": "Thai", "tl": "Filipino", "tr": "Turkish",
    "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "yo": "Yoruba", "zh": "Chinese", "zu": "Zulu",
}  # fmt: skip
"""ISO 639-1 codes in use and their names. A message in several languages has that of most of its words."""
LONGEST = 6_000
"""Characters a text may have."""
BROKEN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffd]")
"""Characters that no message has: control characters, lone surrogates, the mark of an undecodable byte."""


@dataclass(frozen=True)
class Message:
    """A labelled message."""

    label: str
    """``ham`` or ``spam``."""
    theme: str
    """One of the `THEMES` of the label."""
    kind: str
    """What sort of message it is, named freely in English; no input of a model, since many kinds are of one class."""
    language: str
    """A code of `LANGUAGES`."""
    channel: str
    """One of `CHANNELS`."""
    text: str
    """A mail's text is its subject, an empty line and the body, or a body alone."""


FIELDS = tuple(field.name for field in fields(Message))


def read_written(folder: Path = WRITTEN) -> tuple[dict[str, Message], list[str]]:
    """All messages of a folder's JSONL files by their place, ``file:line``, and a line for each row that is not one.

    Files are in the order of their names. Raises ``OSError`` where a file cannot be read.
    """
    messages, problems = {}, []
    for path in sorted(folder.glob("*.jsonl")):
        # Bytes, since a text may hold U+2028, at which a string's lines would end too.
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            place = f"{path.name}:{number}"
            try:
                messages[place] = parse(line)
            except ValueError as error:
                problems.append(f"{place}: {error}")
    return messages, problems


def parse(line: bytes) -> Message:
    """The message of a line. Raises ``ValueError`` that says what is wrong with it."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"not JSON in UTF-8: {error}") from error
    if not isinstance(row, dict) or sorted(row) != sorted(FIELDS):
        raise ValueError(f"not an object of the fields {', '.join(FIELDS)}")
    for name, value in row.items():
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{name} is empty or not a string")
    message = Message(**row)
    if message.label not in THEMES:
        raise ValueError(f"label {message.label!r} is neither ham nor spam")
    for name, value, allowed in (
        ("theme", message.theme, THEMES[message.label]),
        ("channel", message.channel, CHANNELS),
        ("language", message.language, LANGUAGES),
    ):
        if value not in allowed:
            raise ValueError(f"{name} {value!r} is not one that {message.label} has: {' '.join(allowed)}")
    if broken := BROKEN.search(message.text):
        raise ValueError(f"the text has the character U+{ord(broken[0]):04X}")
    if len(message.text) > LONGEST:
        raise ValueError(f"the text has {len(message.text):,} characters; at most {LONGEST:,} are allowed")
    return message
