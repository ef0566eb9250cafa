"""Labelled messages: read or downloaded, balanced, split, and turned into ids."""

from __future__ import annotations

import hashlib
import logging
import random
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from runtime.encoding import encode_message
from runtime.errors import InputError
from runtime.records import read_records
from runtime.spec import ClassifierSpec
from trainer.errors import TrainerError

log = logging.getLogger(__name__)

SMS_URL = "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip"
"""T. A. Almeida, J. M. Gomez Hidalgo, A. Yamakami, "Contributions to the Study of SMS Spam Filtering: New Collection
and Results", ACM DocEng 2011, doi:10.24432/C5CC84, CC BY 4.0."""
SMS_ARCHIVE_SHA256 = "1587ea43e58e82b14ff1f5425c88e17f8496bfcdb67a583dbff9eefaf9963ce3"
SMS_MEMBER = "SMSSpamCollection"
SMS_SHA256 = "7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d"

FEWEST = 10
"""Messages a class needs, so that a tenth of them is one."""


@dataclass(frozen=True)
class Messages:
    """Texts and the index of each one's label."""

    texts: tuple[str, ...]
    labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Iterable[int]) -> Messages:
        """The messages at these places, in this order."""
        indices = list(indices)
        return Messages(tuple(self.texts[i] for i in indices), tuple(self.labels[i] for i in indices))

    def followed_by(self, other: Messages) -> Messages:
        """These messages and then the others."""
        return Messages(self.texts + other.texts, self.labels + other.labels)

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
    """What a model is trained, chosen and judged on; no message is in two of them."""

    train: Messages
    validation: Messages
    test: Messages
    unused_ham: Messages
    """Ham that balancing left out: a large free test of false positives."""


def read_messages(
    path: Path, *, text_column: str = "text", label_column: str = "label", spam_label: str = "spam"
) -> tuple[Messages, tuple[str, str]]:
    """Read a labelled file: TSV, CSV, JSONL or Parquet, or the SMS collection's own ``label<TAB>text``.

    Returns:
        The messages, label 1 being spam, and the two labels' names, spam last.

    Raises:
        InputError: the file is missing or broken, a column is missing, a text is empty, or there are not two labels.
    """
    texts, names, rows = [], [], []
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
        texts.append(text)
        names.append(str(name).strip())
        rows.append(record.row)
    counts = Counter(names)
    found = ", ".join(f"{name!r} ({count})" for name, count in counts.most_common(5))
    if not counts:
        raise InputError(f"{path}: there is no message in it")
    if len(counts) > 2:
        third = [*counts][2]
        raise InputError(f"{path}: row {rows[names.index(third)]}: a third label {third!r}; there must be two: {found}")
    if spam_label not in counts:
        raise InputError(f"{path}: no message is labelled {spam_label!r}, but {found}: name it with --spam-label")
    if len(counts) < 2:
        raise InputError(f"{path}: every message is labelled {spam_label!r}: there must be two labels")
    ham_label = next(name for name in counts if name != spam_label)
    return Messages(tuple(texts), tuple(int(name == spam_label) for name in names)), (ham_label, spam_label)


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


def split(messages: Messages, seed: int, *, balance: bool = True) -> Splits:
    """Balance (as many ham as spam, the rest left out), shuffle, and split 70/10/20, all from one seed.

    Raises ``TrainerError`` where a class is too small.
    """
    by_label = [[i for i, label in enumerate(messages.labels) if label == which] for which in (0, 1)]
    for name, indices in zip(("other", "spam"), by_label, strict=True):
        if len(indices) < FEWEST:
            raise TrainerError(
                f"there are {len(indices)} messages of the {name} class: at least {FEWEST} are needed to split them"
            )
    draw = random.Random(seed)
    unused: list[int] = []
    if balance:
        size = min(map(len, by_label))
        for indices in by_label:
            draw.shuffle(indices)
        unused = sorted(by_label[0][size:])
        by_label = [indices[:size] for indices in by_label]
    chosen = sorted(by_label[0] + by_label[1])
    draw.shuffle(chosen)
    train, validation = int(len(chosen) * 0.7), int(len(chosen) * 0.7) + int(len(chosen) * 0.1)
    parts = chosen[:train], chosen[train:validation], chosen[validation:], unused
    splits = Splits(*map(messages.take, parts))
    for name, part in {"training": splits.train, "validation": splits.validation, "test": splits.test}.items():
        if len(set(part.labels)) < 2:
            raise TrainerError(
                f"the {name} set of {len(part)} has one class only: give more messages or another --seed"
            )
    return splits


def folded(text: str) -> str:
    """A text with case, digits and spacing folded: what two copies from one campaign have in common."""
    return re.sub(r"\s+", " ", re.sub(r"\d+", "0", text.casefold())).strip()


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
    """Ids of messages as the runtime makes them."""
    ids, ends = bytearray(), np.zeros(len(texts), dtype=np.int64)
    for place, text in enumerate(texts):
        (row,) = encode_message(text, spec).rows
        ids += row.tobytes()
        ends[place] = len(ids) // row.itemsize
    return Tokens(np.frombuffer(ids, dtype=np.uint16).astype(np.int32), ends)


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
