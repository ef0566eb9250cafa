"""Labelled messages: read, balanced and split; nothing here needs PyTorch."""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError
from runtime.records import read_records
from trainer.errors import TrainerError
from trainer.evaluation.protocols import Groups, grouped_split, near_repeat_groups

FEWEST = 10
"""Messages a class needs, so that a tenth of them is one."""


@dataclass(frozen=True)
class Messages:
    """Texts and the index of each one's label."""

    texts: tuple[str, ...]
    labels: tuple[int, ...]
    themes: tuple[str, ...] = ()
    """What each message is about, in the words of its file; empty where the file does not say."""

    def __post_init__(self) -> None:
        if not self.themes:
            object.__setattr__(self, "themes", ("",) * len(self.texts))

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Iterable[int]) -> Messages:
        """The messages at these places, in this order."""
        indices = list(indices)
        columns = self.texts, self.labels, self.themes
        return Messages(*(tuple(column[i] for i in indices) for column in columns))  # type: ignore[arg-type]

    def followed_by(self, other: Messages) -> Messages:
        """These messages and then the others."""
        return Messages(self.texts + other.texts, self.labels + other.labels, self.themes + other.themes)

    def without(self, *others: Messages) -> Messages:
        """Those whose text is in none of the others."""
        known = {text for other in others for text in other.texts}
        return self.take(index for index, text in enumerate(self.texts) if text not in known)

    def fingerprint(self) -> str:
        """SHA-256 over every text and label, in order."""
        digest = hashlib.sha256()
        for text, label in zip(self.texts, self.labels, strict=True):
            raw = text.encode("utf-8", "surrogatepass")
            digest.update(f"{label} {len(raw)} ".encode() + raw)
        return digest.hexdigest()


@dataclass(frozen=True)
class Splits:
    """What a model is trained, chosen and tested on; no message is in two of them."""

    train: Messages
    validation: Messages
    test: Messages
    unused_ham: Messages
    """Ham that balancing left out: a large free test of false positives."""


THEME_COLUMN = "theme"
"""Column that may say what a message is about, in free text."""
CHANNEL_COLUMN = "channel"
"""Column that may say what kind of message it is: sms, chat, mail..."""
LABELLED_ENDINGS = tuple(ending + packed for ending in (".jsonl", ".tsv", ".csv") for packed in ("", ".gz"))
"""Files of a folder that hold labelled messages."""


def labelled_files(source: Path) -> list[Path]:
    """A file, or the labelled files of a folder in order of their names. Raises ``InputError`` where it has none."""
    if not source.is_dir():
        return [source]
    found = sorted(path for path in source.iterdir() if path.is_file() and path.name.endswith(LABELLED_ENDINGS))
    if not found:
        raise InputError(f"{source}: there is no file in this folder that ends in {', '.join(LABELLED_ENDINGS)}")
    return found


@dataclass(frozen=True)
class Dataset:
    """Labelled messages with what else their files say of them."""

    messages: Messages
    labels: tuple[str, str]
    """Names of the two labels, spam last."""
    counts: tuple[int, ...]
    """Messages of each file, in order."""
    columns: Mapping[str, tuple[str, ...]]
    """Values by column, one for each message, empty where its file has none."""


def read_messages(
    *paths: Path, text_column: str = "text", label_column: str = "label", spam_label: str = "spam"
) -> tuple[Messages, tuple[str, str]]:
    """Read labelled files one after the other: TSV, CSV, JSONL or Parquet, or the SMS collection's ``label<TAB>text``.

    Returns:
        The messages, label 1 being spam, and the two labels' names, spam last.

    Raises:
        InputError: see `read_dataset`.
    """
    dataset = read_dataset(*paths, text_column=text_column, label_column=label_column, spam_label=spam_label)
    return dataset.messages, dataset.labels


def read_dataset(
    *paths: Path,
    text_column: str = "text",
    label_column: str = "label",
    spam_label: str = "spam",
    columns: Sequence[str] = (),
) -> Dataset:
    """Read labelled files one after the other, as `read_messages` does, and some of their other columns.

    Raises:
        InputError: a file is missing, broken or empty, a column is missing, a text is empty, or there are not two
            labels in all files together.
    """
    texts: list[str] = []
    labels: list[str] = []
    others: dict[str, list[str]] = {name: [] for name in (*columns, THEME_COLUMN)}
    sizes: list[int] = []
    first: dict[str, str] = {}  # where each label stands first
    for path in paths:
        before = len(texts)
        for place, text, label, fields in _labelled_rows(path, text_column, label_column):
            texts.append(text)
            labels.append(label)
            for column, values in others.items():
                value = fields.get(column)
                values.append("" if value is None else str(value).strip())
            first.setdefault(label, place)
        if len(texts) == before:
            raise InputError(f"{path}: there is no message in it")
        sizes.append(len(texts) - before)
    counts = Counter(labels)
    found = ", ".join(f"{name!r} ({count})" for name, count in counts.most_common(5))
    names = ", ".join(map(str, paths))
    if len(counts) > 2:
        third = [*counts][2]
        raise InputError(f"{first[third]}: a third label {third!r}; there must be two: {found}")
    if spam_label not in counts:
        raise InputError(f"{names}: no message is labelled {spam_label!r}, but {found}: name it with --spam-label")
    if len(counts) < 2:
        raise InputError(f"{names}: every message is labelled {spam_label!r}: there must be two labels")
    ham_label = next(name for name in counts if name != spam_label)
    spam = tuple(int(name == spam_label) for name in labels)
    messages = Messages(tuple(texts), spam, tuple(others[THEME_COLUMN]))
    asked = {column: tuple(others[column]) for column in columns}
    return Dataset(messages, (ham_label, spam_label), tuple(sizes), asked)


def _labelled_rows(
    path: Path, text_column: str, label_column: str
) -> Iterator[tuple[str, str, str, Mapping[str, object]]]:
    """Where each row stands, its text, its label, and all of its fields."""
    for record in read_records(path, headerless=(label_column, text_column)):
        for column in (text_column, label_column):
            if column not in record.fields:
                columns = ", ".join(map(str, record.fields))
                raise InputError(
                    f"{path}: row {record.row} has no column {column!r}, but {columns}: name it with a flag"
                )
        text, name = record.fields[text_column], record.fields[label_column]
        if not isinstance(text, str) or not text.strip():
            what = "empty" if text is None or isinstance(text, str) else "not a text"
            raise InputError(f"{path}: row {record.row}: the message in column {text_column!r} is {what}")
        if name is None or not str(name).strip():
            raise InputError(f"{path}: row {record.row}: there is no label in column {label_column!r}")
        yield f"{path}: row {record.row}", text, str(name).strip(), record.fields


def split(
    messages: Messages,
    seed: int,
    *,
    balance: bool = True,
    groups: Groups = "none",
    validation: float = 0.1,
    test: float = 0.2,
) -> Splits:
    """Balance (as many ham as spam, the rest left out), shuffle, and split, all from one seed.

    Args:
        messages: what is split.
        seed: what chance depends on.
        balance: whether ham is left out.
        groups: what must not be parted: with ``near-repeats`` no near repeat of a message is in another part than it
            (see `near_repeat_groups`), the ham left out included.
        validation: share of the messages that is validated on.
        test: share that is tested on; the rest is learned from.

    Raises:
        TrainerError: a class is too small.
    """
    by_label = [[i for i, label in enumerate(messages.labels) if label == which] for which in (0, 1)]
    for name, indices in zip(("other", "spam"), by_label, strict=True):
        if len(indices) < FEWEST:
            raise TrainerError(
                f"there are {len(indices)} messages of the {name} class: at least {FEWEST} are needed to split them"
            )
    shares = round(1 - validation - test, 9), validation, test
    draw = random.Random(seed)
    unused: list[int] = []
    if groups == "near-repeats":
        group = near_repeat_groups(messages.texts)
        if balance:
            by_label[0], unused = _whole_groups(by_label[0], by_label[1], group, draw)
        places = np.array(sorted(by_label[0] + by_label[1]))
        part = grouped_split(np.array(messages.labels)[places], group[places], shares, seed)
        divided = [places[part == which].tolist() for which in range(3)]
        for indices in divided:
            draw.shuffle(indices)
        return _checked_splits(Splits(*map(messages.take, (*divided, unused))))
    if balance:
        size = min(map(len, by_label))
        for indices in by_label:
            draw.shuffle(indices)
        unused = sorted(by_label[0][size:])
        by_label = [indices[:size] for indices in by_label]
    chosen = sorted(by_label[0] + by_label[1])
    draw.shuffle(chosen)
    first = int(len(chosen) * shares[0])
    second = first + int(len(chosen) * validation)
    return _checked_splits(Splits(*map(messages.take, (chosen[:first], chosen[first:second], chosen[second:], unused))))


def _whole_groups(
    ham: Sequence[int], spam: Sequence[int], group: NDArray[np.int64], draw: random.Random
) -> tuple[list[int], list[int]]:
    """As many ham as spam, and the ham left over, in whole groups; groups that hold spam as well come first."""
    members: dict[int, list[int]] = {}
    for place in ham:
        members.setdefault(int(group[place]), []).append(place)
    order = list(members)
    draw.shuffle(order)
    mixed = set(group[list(spam)].tolist())
    order.sort(key=lambda name: name not in mixed)
    kept: list[int] = []
    unused: list[int] = []
    for name in order:
        (kept if name in mixed or len(kept) + len(members[name]) <= len(spam) else unused).extend(members[name])
    return kept, sorted(unused)


def _checked_splits(splits: Splits) -> Splits:
    """The splits. Raises ``TrainerError`` where one has messages of one class only."""
    for name, part in {"training": splits.train, "validation": splits.validation, "test": splits.test}.items():
        if len(set(part.labels)) < 2:
            raise TrainerError(
                f"the {name} set of {len(part)} has one class only: give more messages, another --seed, "
                "or --set groups=none"
            )
    return splits


def repeats(test: Messages, train: Messages, key: Callable[[str], str] = str) -> NDArray[np.bool_]:
    """bool (test messages,): whether a message is in the training set too, as far as ``key`` tells them apart."""
    known = {key(text) for text in train.texts}
    return np.array([key(text) in known for text in test.texts], dtype=bool)


def escape(text: str) -> str:
    r"""A text as one field of a TSV file: tabs, line ends and backslashes become \t, \n, \r and \\."""
    for plain, escaped in {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}.items():
        text = text.replace(plain, escaped)
    return text


def unescape(text: str) -> str:
    """What `escape` was given."""
    named = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}
    return re.sub(r"\\([tnr\\])", lambda match: named[match[1]], text)


def write_split(path: Path, messages: Messages, labels: Sequence[str]) -> None:
    """Write ``label<TAB>text`` lines, the texts through `escape`."""
    lines = [f"{labels[label]}\t{escape(text)}\n" for text, label in zip(messages.texts, messages.labels, strict=True)]
    path.write_bytes("".join(lines).encode("utf-8", "surrogatepass"))


def read_split(path: Path, labels: Sequence[str]) -> Messages:
    """Read what `write_split` wrote."""
    rows = [line.split("\t", 1) for line in path.read_bytes().decode("utf-8", "surrogatepass").split("\n") if line]
    return Messages(tuple(unescape(text) for _, text in rows), tuple(labels.index(name) for name, _ in rows))
