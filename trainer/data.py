"""Labelled messages: read or downloaded, balanced, split, and turned into ids."""

from __future__ import annotations

import hashlib
import logging
import random
import re
import zipfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from runtime.errors import InputError
from runtime.records import read_records
from runtime.spec import END_OF_TEXT, ClassifierSpec
from runtime.tokenizer import encode
from trainer.errors import TrainerError
from trainer.evaluation.protocols import grouped_split, near_repeat_groups
from trainer.recipe import Groups

log = logging.getLogger(__name__)

SMS_URL = "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip"
"""T. A. Almeida, J. M. Gomez Hidalgo, A. Yamakami, "Contributions to the Study of SMS Spam Filtering: New Collection
and Results", ACM DocEng 2011, doi:10.24432/C5CC84, CC BY 4.0."""
SMS_ARCHIVE_SHA256 = "1587ea43e58e82b14ff1f5425c88e17f8496bfcdb67a583dbff9eefaf9963ce3"
SMS_NAME = "sms"
"""What the collection is called where a file might be named."""
SMS_MEMBER = "SMSSpamCollection"
SMS_SHA256 = "7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d"

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


def read_messages(
    *paths: Path, text_column: str = "text", label_column: str = "label", spam_label: str = "spam"
) -> tuple[Messages, tuple[str, str]]:
    """Read labelled files one after the other: TSV, CSV, JSONL or Parquet, or the SMS collection's ``label<TAB>text``.

    Returns:
        The messages, label 1 being spam, and the two labels' names, spam last.

    Raises:
        InputError: a file is missing, broken or empty, a column is missing, a text is empty, or there are not two
            labels in all files together.
    """
    texts: list[str] = []
    labels: list[str] = []
    themes: list[str] = []
    first: dict[str, str] = {}  # where each label stands first
    for path in paths:
        before = len(texts)
        for place, text, label, fields in _labelled_rows(path, text_column, label_column):
            texts.append(text)
            labels.append(label)
            themes.append(str(fields.get(THEME_COLUMN) or "").strip())
            first.setdefault(label, place)
        if len(texts) == before:
            raise InputError(f"{path}: there is no message in it")
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
    messages = Messages(tuple(texts), tuple(int(name == spam_label) for name in labels), tuple(themes))
    return messages, (ham_label, spam_label)


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


def data_files(sources: Iterable[str]) -> list[Path]:
    """The files that a recipe's ``data`` stands for: ``sms`` is downloaded, a folder is the labelled files in it."""
    return [path for name in sources for path in ([download_sms()] if name == SMS_NAME else labelled_files(Path(name)))]


def download_sms() -> Path:
    """Path of the SMS Spam Collection in the user's cache, downloaded once from the UCI repository.

    The archive and the file in it are checked by SHA-256. Raises ``TrainerError`` where it cannot be had whole; nothing
    is left then.
    """
    import pooch

    folder = Path(pooch.os_cache("spam-edge"))
    target = folder / SMS_MEMBER
    if target.is_file() and hashlib.sha256(target.read_bytes()).hexdigest() == SMS_SHA256:
        return target
    log.info("downloading the SMS Spam Collection to %s", folder)
    archive = folder / "sms-spam-collection.zip"
    try:
        pooch.retrieve(SMS_URL, f"sha256:{SMS_ARCHIVE_SHA256}", fname=archive.name, path=folder)
        with zipfile.ZipFile(archive) as opened:
            content = opened.read(SMS_MEMBER)
        if hashlib.sha256(content).hexdigest() != SMS_SHA256:
            raise ValueError(f"{SMS_MEMBER} in the archive does not have the expected SHA-256")
        target.with_suffix(".part").write_bytes(content)
        target.with_suffix(".part").replace(target)
    except Exception as error:
        import requests

        if not isinstance(error, (OSError, ValueError, KeyError, zipfile.BadZipFile, requests.RequestException)):
            raise
        raise TrainerError(
            f"the SMS Spam Collection cannot be downloaded from {SMS_URL}: {error}; "
            "download it by hand and give its path to --data"
        ) from error
    finally:
        archive.unlink(missing_ok=True)
        target.with_suffix(".part").unlink(missing_ok=True)
    return target


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


@dataclass(frozen=True)
class Tokens:
    """Ids of many messages in one array: a million messages take some 100 MB."""

    ids: NDArray[np.int32]
    """(tokens,) of all messages, end to end."""
    ends: NDArray[np.int64]
    """(messages,) where each one stops in ``ids``."""

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(messages,) tokens in each."""
        return np.diff(self.ends, prepend=0)

    def followed_by(self, other: Tokens) -> Tokens:
        """These messages and then the others."""
        return Tokens(np.concatenate([self.ids, other.ids]), np.concatenate([self.ends, other.ends + len(self.ids)]))

    def fingerprint(self) -> str:
        """SHA-256 over all ids and where messages end."""
        return hashlib.sha256(self.ids.tobytes() + self.ends.tobytes()).hexdigest()

    def take(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Ids int64 (tokens,) of these messages end to end, and their lengths int64 (messages,)."""
        starts = [self.ends[i - 1] if i else 0 for i in indices]
        parts = [self.ids[start : self.ends[i]] for start, i in zip(starts, indices, strict=True)]
        return torch.from_numpy(np.concatenate(parts).astype(np.int64)), torch.tensor([len(part) for part in parts])


def tokenize(texts: Sequence[str], spec: ClassifierSpec) -> Tokens:
    """Ids of messages as the runtime makes them: cut, and extended where the padding counts as text."""
    limit = spec.pad_length or spec.context_length
    ids, ends = array("i"), np.zeros(len(texts), dtype=np.int64)
    for place, text in enumerate(texts):
        one = encode(text, limit)[0]
        ids.extend(one)
        ids.extend([END_OF_TEXT] * (spec.pad_length - len(one)))
        ends[place] = len(ids)
    return Tokens(np.frombuffer(ids, dtype=np.int32) if ids else np.zeros(0, dtype=np.int32), ends)


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
