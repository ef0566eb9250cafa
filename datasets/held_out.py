"""Which messages are met in testing only: ``held_out.json``, how it is made, and its reader.

    python datasets/held_out.py --write FOLDER

writes ``FOLDER/learn.jsonl``, what a shipped model learns from, written and public, and ``FOLDER/held-out.jsonl``.

    python datasets/held_out.py

adds to ``held_out.json`` what messages that are new need; it moves none of those that were there. Where the file is
missing, it is made: two themes of either class and four small languages are drawn.

Three questions need three answers, so a message is ``train`` or one of

- ``held-out-theme``: of a theme that is never trained on when new kinds of messages are the question;
- ``held-out-language``: of a language that is never trained on when new languages are the question;
- ``held-out-message``: of the same themes and languages as the others; never trained on, by a shipped model neither.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from messages import FOLDER, THEMES, Message, read_written
from near import GROUP, Pair, alike

HELD_OUT = FOLDER / "held_out.json"
TRAIN, THEME, LANGUAGE, MESSAGE = PARTS = ("train", "held-out-theme", "held-out-language", "held-out-message")

SEED = 2026
SHARE = 0.06
"""Of the messages of other themes and languages: what is held out."""
SMALL = range(40, 131)
"""Messages of a language that is small, but enough to measure on."""


@dataclass(frozen=True)
class HeldOut:
    """What is held out."""

    themes: Mapping[str, Sequence[str]]
    """Themes by label."""
    languages: Sequence[str]
    known: Mapping[str, int]
    """Messages of each file, from its start, when they were last looked at; those beyond are new."""
    decided: Mapping[str, str]
    """Parts of the messages, by `digest`, that go with a message like them and not by their own digest."""

    def part(self, message: Message) -> str:
        """One of `PARTS`."""
        if message.theme in self.themes[message.label]:
            return THEME
        if message.language in self.languages:
            return LANGUAGE
        name = digest(message.text)
        return self.decided.get(name, MESSAGE if int(name, 16) < SHARE * 16 ** len(name) else TRAIN)


def digest(text: str) -> str:
    """The first 16 hexadecimal digits of a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_held_out(path: Path = HELD_OUT) -> HeldOut:
    """What a file holds."""
    return HeldOut(**json.loads(path.read_text(encoding="utf-8")))


def parts(messages: Iterable[Message], path: Path = HELD_OUT) -> list[str]:
    """The part of each message, in order."""
    held_out = read_held_out(path)
    return [held_out.part(message) for message in messages]


def drawn(messages: Iterable[Message]) -> HeldOut:
    """Two themes of either class and four small languages, by chance."""
    draw = random.Random(SEED)
    themes = {label: sorted(draw.sample(sorted(names), 2)) for label, names in THEMES.items()}
    sizes = Counter(message.language for message in messages)
    languages = sorted(draw.sample(sorted(name for name, size in sizes.items() if size in SMALL), 4))
    return HeldOut(themes, languages, {}, {})


def split_pairs(messages: Sequence[Message], pairs: Iterable[Pair], held_out: HeldOut) -> list[Pair]:
    """The pairs that are more alike than `GROUP` and of which a model that ships would train on one only."""
    held = [held_out.part(message) == MESSAGE for message in messages]
    return [pair for pair in pairs if pair.similarity > GROUP and held[pair.later] != held[pair.earlier]]


def extended(placed: Mapping[str, Message], pairs: Iterable[Pair], held_out: HeldOut) -> HeldOut:
    """The same with what new messages need so that those that are alike are on one side.

    The sides of known messages, and of those of a held-out theme or language, which a model that ships trains on, are
    settled. Messages that are alike, the most alike first, form a group unless it would have two settled sides; a group
    takes its settled side, or that of its first message where it has none.

    Args:
        placed: messages by ``file:line``.
        pairs: those of them that are alike, from `near.alike`.
    """
    places, messages = [place.rsplit(":", 1) for place in placed], list(placed.values())
    own = [held_out.part(message) for message in messages]
    known = [int(line) <= held_out.known.get(name, 0) for name, line in places]
    settled = [
        TRAIN if part in (THEME, LANGUAGE) else part if old else None for part, old in zip(own, known, strict=True)
    ]
    first = list(range(len(messages)))

    def group(place: int) -> int:
        while first[place] != place:
            first[place] = place = first[first[place]]
        return place

    for pair in sorted(pairs, key=lambda pair: -pair.similarity):
        low, high = sorted((group(pair.later), group(pair.earlier)))
        sides = {settled[low], settled[high]} - {None}
        if pair.similarity > GROUP and len(sides) < 2:
            first[high] = low
            settled[low] = next(iter(sides), None)
    decided = dict(held_out.decided)
    for place, message in enumerate(messages):
        side = settled[group(place)] or own[group(place)]
        if own[place] in (TRAIN, MESSAGE) and own[place] != side:
            decided[digest(message.text)] = side
    counts = Counter(name for name, _ in places)
    return replace(held_out, known=dict(sorted(counts.items())), decided=dict(sorted(decided.items())))


def write_parts(folder: Path, messages: Sequence[Message]) -> None:
    """Write the messages that a shipped model learns from, the public ones after the written ones, and those that are
    held out from it. A public message has its channel for a theme, and so for a channel too."""
    written = [asdict(message) for message in messages]
    held = [part == MESSAGE for part in parts(messages)]
    public = [
        {"channel": row["theme"], **row}
        for path in sorted((FOLDER / "public").glob("*.jsonl.gz"))
        for row in map(json.loads, gzip.decompress(path.read_bytes()).splitlines())
    ]
    files = {
        "learn.jsonl": [row for row, out in zip(written, held, strict=True) if not out] + public,
        "held-out.jsonl": [row for row, out in zip(written, held, strict=True) if out],
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in files.items():
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / name).write_text(lines, encoding="utf-8")


def main() -> None:
    """Bring ``held_out.json`` up to date, or write what it parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="Write both parts into this folder.")
    arguments = parser.parse_args()
    placed, problems = read_written()
    if problems:
        raise SystemExit("\n".join(problems))
    messages = list(placed.values())
    if arguments.write:
        write_parts(arguments.write, messages)
        return
    held_out = read_held_out() if HELD_OUT.exists() else drawn(messages)
    held_out = extended(placed, alike([message.text for message in messages], GROUP), held_out)
    HELD_OUT.write_text(json.dumps(asdict(held_out), indent=1) + "\n", encoding="utf-8")
    print(dict(Counter(map(held_out.part, messages))))


if __name__ == "__main__":
    main()
