"""Check the written messages and the public sets, and say how even they are.

    python datasets/check.py          check; exit code 1 and a line for each problem where there are any
    python datasets/check.py --card   write the tables of README.md anew, then check

Run it after every change of the messages; ``README.md`` says how to add some.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import card
import held_out
from collection import Collection
from messages import FOLDER, THEMES, read_written
from near import REPEAT
from surfaces import ENOUGH, EVERYWHERE, EXCEPTIONS, POINTS, SURFACES

EVEN = (0.35, 0.65)
"""Share of spam that a channel or language of `SOME` messages may have."""
SOME = 40
ONE_CLASS = 250
"""Messages of one class that a kind may have without any of the other class."""
LONGER = 1.6
"""How many times as long as the other class's a channel's median length may be."""


def repeats(collection: Collection) -> Iterator[str]:
    """Messages that repeat an earlier one, exactly or nearly."""
    for pair in collection.pairs:
        if pair.similarity > REPEAT:
            later, earlier = collection.places[pair.later], collection.places[pair.earlier]
            how = "repeats" if pair.similarity == 1 else f"nearly ({pair.similarity:.0%}) repeats"
            yield f"{later}: {how} {earlier}: leave it out, or write it anew"


def shares_of_classes(collection: Collection) -> Iterator[str]:
    """Channels and languages that are mostly of one class."""
    for name, group in collection.groups.items():
        share = group.spam_share
        if len(group) >= SOME and not EVEN[0] <= share <= EVEN[1]:
            yield f"{name}: {share:.0%} of {len(group)} messages are spam: {EVEN[0]:.0%} to {EVEN[1]:.0%} are allowed"


def kinds_of_one_class(collection: Collection) -> Iterator[str]:
    """Kinds that so many messages of one class have that they are a class's name."""
    labels: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for message in collection.messages:
        labels[message.kind][message.label] += 1
    for kind, counts in labels.items():
        if len(counts) == 1 and counts.total() > ONE_CLASS:
            yield f"kind {kind!r}: all {counts.total()} are {next(iter(counts))}: write some of the other class"


def lengths(collection: Collection) -> Iterator[str]:
    """Groups in which one class's messages are much longer."""
    for name, group in collection.groups.items():
        ham, spam = group.median_lengths
        if len(group) >= ENOUGH and max(ham, spam) > LONGER * min(ham, spam):
            yield f"{name}: the median length is {ham:.0f} for ham and {spam:.0f} for spam"


def surfaces(collection: Collection) -> Iterator[str]:
    """Surfaces that one class has much more often than the other, and exceptions that are not needed any more."""
    needed = set()
    compared = {where: group for where, group in collection.groups.items() if len(group) >= ENOUGH}
    for where, group in compared.items():
        for name in SURFACES:
            ham, spam = group.shares(name)
            exception = next((key for key in ((name, where), (name, EVERYWHERE)) if key in EXCEPTIONS), None)
            if abs(ham - spam) > POINTS and exception:
                needed.add(exception)
            allowed = EXCEPTIONS[exception][0] if exception else POINTS
            if abs(ham - spam) > allowed:
                yield f"{where}: {ham:.0f}% of ham and {spam:.0f}% of spam have: {name}; {allowed} points are allowed"
    for name, where in EXCEPTIONS:
        if (name, where) not in needed and (where in compared or (where == EVERYWHERE and compared)):
            yield f"{where}: the exception for: {name} is not needed any more: delete it"


def sides(collection: Collection, held: held_out.HeldOut) -> Iterator[str]:
    """Messages that are alike and of which only one is held out; messages that ``held_out.json`` does not know."""
    sizes = Counter(place.rsplit(":", 1)[0] for place in collection.places)
    if sizes != held.known:
        yield "held_out.json does not know all messages: run `python datasets/held_out.py`"
    for pair in held_out.split_pairs(collection.messages, collection.pairs, held):
        later, earlier = collection.places[pair.later], collection.places[pair.earlier]
        yield f"{later} is like {earlier}, and one of them is held out: write the new one anew"


CHECKS: tuple[Callable[[Collection], Iterator[str]], ...] = (
    repeats,
    shares_of_classes,
    kinds_of_one_class,
    lengths,
    surfaces,
)


def public_sets(folder: Path) -> Iterator[str]:
    """Files of public sets that are not those of their card, or that hold something else than messages."""
    about_sets = (folder / "README.md").read_text(encoding="utf-8")
    for path in sorted(folder.glob("*.jsonl.gz")):
        content = path.read_bytes()
        rows = [json.loads(line) for line in gzip.decompress(content).decode().removesuffix("\n").split("\n")]
        row = rf"^\| `{path.name}` \| ([\d,]+) \(([\d,]+)\) .* `([0-9a-f]{{64}})` \|$"
        about = re.search(row, about_sets, re.MULTILINE)
        spam = sum(row["label"] == "spam" for row in rows)
        said = (f"{len(rows):,}", f"{spam:,}", hashlib.sha256(content).hexdigest())
        if about is None or about.groups() != said:
            yield f"public/{path.name}: its card should say: {said[0]} ({said[1]}), SHA-256 {said[2]}"
        if len({row["text"] for row in rows}) < len(rows):
            yield f"public/{path.name}: texts are repeated"
        forms = {(tuple(row), row["label"] in THEMES, 0 < len(row["text"]) <= 3_000) for row in rows}
        if forms != {(("label", "text", "theme"), True, True)}:
            yield f"public/{path.name}: a row is not of the card's form"


def main(arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """Check a folder with ``written``, ``public``, ``README.md`` and ``held_out.json``; 1 where there are problems."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--card", action="store_true", help="write the tables of README.md anew first")
    wanted = parser.parse_args(arguments)
    placed, problems = read_written(folder / "written")
    collection, held = Collection(placed), held_out.read_held_out(folder / "held_out.json")
    made, readme = card.tables(collection, held), folder / "README.md"
    if wanted.card:
        readme.write_text(card.with_tables(readme.read_text(encoding="utf-8"), made), encoding="utf-8")
    print(made)
    problems += [problem for check in CHECKS for problem in check(collection)]
    problems += [*sides(collection, held), *public_sets(folder / "public")]
    text = readme.read_text(encoding="utf-8")
    by_hand = card.with_tables(text, "")
    problems += [f"README.md does not say what {name} is" for name in held.known if f"| `{name}` |" not in by_hand]
    if text != card.with_tables(text, made):
        problems.append("README.md has other tables: run `python datasets/check.py --card`")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
