"""The tables of the data card, ``README.md``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby, zip_longest

from collection import Collection
from held_out import PARTS, HeldOut
from messages import LANGUAGES, THEMES
from surfaces import ENOUGH, EXCEPTIONS, POINTS, SURFACES

BEGIN, END = "<!-- tables -->", "<!-- /tables -->"
Table = list[list[str]]
"""Rows of cells, the header first."""


def tables(collection: Collection, held_out: HeldOut) -> str:
    """What the card says in numbers, in Markdown."""
    everything = collection.groups["all"]
    languages = len({message.language for message in collection.messages})
    kinds = len({message.kind for message in collection.messages})
    themes = "; ".join(f"of {label}: {', '.join(names)}" for label, names in held_out.themes.items())
    return "\n\n".join(
        (
            f"{len(everything):,} messages, {everything.spam_share:.1%} of them spam, in {languages} "
            f"languages and of {kinds:,} kinds.",
            markdown(by_file(collection)),
            markdown(by_channel(collection)),
            markdown(by_theme(collection)),
            markdown(by_language(collection)),
            "Share of either class that has a surface, and the channel or language of at least "
            f"{ENOUGH} messages in which the two are furthest apart:",
            markdown(by_surface(collection)),
            f"These may be more than {POINTS} points apart:",
            markdown(
                [
                    ["surface", "in", "points allowed", "why"],
                    *([*where, str(points), why] for where, (points, why) in EXCEPTIONS.items()),
                ]
            ),
            f"Held out are the themes {themes}; the languages "
            f"{', '.join(LANGUAGES[code] for code in held_out.languages)}; and, of the rest, messages by chance:",
            markdown(by_part(collection, held_out)),
        )
    )


def by_file(collection: Collection) -> Table:
    """How many messages of either class a file has, and in which channels and languages."""
    rows = [["file", *THEMES, "channels", "languages"]]
    for file, placed in groupby(collection.placed.items(), key=lambda item: item[0].rsplit(":", 1)[0]):
        messages = [message for _, message in placed]
        languages = [code for code, _ in Counter(message.language for message in messages).most_common()]
        more = f" and {len(languages) - 4} more" if len(languages) > 4 else ""
        channels = Counter(message.channel for message in messages).most_common()
        spam = sum(message.label == "spam" for message in messages)
        rows.append(
            [
                f"`{file}`", f"{len(messages) - spam:,}", f"{spam:,}",
                ", ".join(channel for channel, _ in channels), ", ".join(languages[:4]) + more,
            ]
        )  # fmt: skip
    return rows


def by_channel(collection: Collection) -> Table:
    """How many messages of either class there are in all and in each channel, and how long they are."""
    rows = [["channel", *THEMES, "median characters of ham", "of spam"]]
    for name, group in collection.groups.items():
        if name not in LANGUAGES.values():
            rows.append(
                [name, *(f"{size:,}" for size in group.sizes), *(f"{size:.0f}" for size in group.median_lengths)]
            )
    return rows


def by_theme(collection: Collection) -> Table:
    """How many messages a theme has, the largest first, ham's beside spam's."""
    counts = Counter((message.label, message.theme) for message in collection.messages).most_common()
    columns = [[(theme, f"{count:,}") for (of, theme), count in counts if of == label] for label in THEMES]
    rows = [[*ham, *spam] for ham, spam in zip_longest(*columns, fillvalue=("", ""))]
    return [["theme of ham", "messages", "theme of spam", "messages"], *rows]


def by_language(collection: Collection) -> Table:
    """How many messages of either class a language has, the largest first."""
    codes = {name: code for code, name in LANGUAGES.items()}
    rows = [
        [name, codes[name], *(f"{size:,}" for size in group.sizes)]
        for name, group in collection.groups.items()
        if name in codes
    ]
    return [["language", "code", *THEMES], *rows]


def by_surface(collection: Collection) -> Table:
    """How much of either class has a surface, and where the two are furthest apart."""
    rows = [["surface", *THEMES, "furthest apart in"]]
    everything, *others = collection.groups.items()
    for name in SURFACES:
        shares = {where: group.shares(name) for where, group in others if len(group) >= ENOUGH}
        where = max(shares, key=lambda where: abs(shares[where][0] - shares[where][1]), default=None)
        furthest = f"{where}: {shares[where][0]:.0f}%, {shares[where][1]:.0f}%" if where else ""
        rows.append([name, *(f"{share:.1f}%" for share in everything[1].shares(name)), furthest])
    return rows


def by_part(collection: Collection, held_out: HeldOut) -> Table:
    """How many messages of either class are in each part."""
    counts = Counter((held_out.part(message), message.label) for message in collection.messages)
    return [["part", *THEMES], *([part, *(f"{counts[part, label]:,}" for label in THEMES)] for part in PARTS)]


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table, its header first."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def with_tables(text: str, made: str) -> str:
    """A card with what is between its two markers made anew."""
    return re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n{made}\n{END}", text, flags=re.DOTALL)
