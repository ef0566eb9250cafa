"""What training needs of messages besides reading them: the SMS Spam Collection, and texts as ids."""

from __future__ import annotations

import hashlib
import logging
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from runtime.encoding import encode_message
from runtime.spec import ClassifierSpec
from trainer.errors import TrainerError
from trainer.evaluation.labelled import CHANNEL_COLUMN, Dataset, labelled_files

log = logging.getLogger(__name__)

SMS_URL = "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip"
"""T. A. Almeida, J. M. Gomez Hidalgo, A. Yamakami, "Contributions to the Study of SMS Spam Filtering: New Collection
and Results", ACM DocEng 2011, doi:10.24432/C5CC84, CC BY 4.0."""
SMS_ARCHIVE_SHA256 = "1587ea43e58e82b14ff1f5425c88e17f8496bfcdb67a583dbff9eefaf9963ce3"
SMS_NAME = "sms"
"""What the collection is called where a file might be named."""
SMS_MEMBER = "SMSSpamCollection"
SMS_SHA256 = "7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d"


SMS_CHANNEL = "sms"
"""What kind of messages the collection's are; its file has no column that says so."""
SMALLEST_CHANNEL = 0.01
"""Share of the messages from which a channel is one that a model is trained for."""


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


def channels(dataset: Dataset, paths: Sequence[Path]) -> tuple[str, ...]:
    """Kinds of messages that a model of these data is for: the channels with a hundredth of the messages or more.

    Args:
        dataset: what `read_dataset` gave with the column ``channel``.
        paths: the files that it was read from.

    Returns:
        In alphabetical order; none where a file does not say of what kind its messages are.
    """
    counts: Counter[str] = Counter()
    start = 0
    for path, count in zip(paths, dataset.counts, strict=True):
        values = dataset.columns[CHANNEL_COLUMN][start : start + count]
        start += count
        if not any(values):
            if hashlib.sha256(path.read_bytes()).hexdigest() != SMS_SHA256:
                return ()
            values = (SMS_CHANNEL,) * count
        counts.update(values)
    return tuple(sorted(name for name, count in counts.items() if name and count >= SMALLEST_CHANNEL * start))


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
