"""Sets of labelled messages that quality is measured on; those that are not there are left out."""

from __future__ import annotations

import functools
import hashlib
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
from machine import ROOT, sms_path

from trainer.evaluation.protocols import folded, near_repeat_groups

DATASETS = ROOT / "datasets"
KEPT = ROOT / "artifacts" / "benchmarks" / "quality"
"""What takes long to compute."""
LONGEST = 3_000
"""Characters of a text that are read."""


@dataclass(frozen=True)
class Source:
    """A set of labelled messages."""

    path: Path
    domain: str
    """Channel of its messages; of the written ones each has its own."""
    language: str = "en"
    may_train: bool = True
    """Whether a model that ships may have learned from it; the others measure only."""


def _public(name: str, domain: str, language: str = "en") -> Source:
    return Source(DATASETS / "public" / f"{name}.jsonl.gz", domain, language)


def _measuring(name: str, domain: str, language: str = "en") -> Source:
    return Source(sms_path().parent / "corpora" / f"{name}.jsonl", domain, language, may_train=False)


SETS = {
    "sms": Source(sms_path(), "sms"),
    "written": Source(DATASETS / "written", ""),
    "smishing": _public("smishing", "sms"),
    "th_sms": _public("th_sms", "sms", "th"),
    "mt_de": _public("mt_de", "sms", "de"),
    "mt_fr": _public("mt_fr", "sms", "fr"),
    "mt_hi": _public("mt_hi", "sms", "hi"),
    "youtube": _public("youtube", "comment"),
    "spamassassin": _public("spamassassin", "mail"),
    "enron": _public("enron", "mail"),
    "tr_sms": _measuring("tr_sms", "sms", "tr"),
    "sw_sms": _measuring("sw_sms", "sms", "sw"),
    "ar_sms": _measuring("ar_sms", "sms", "ar"),
    "nus_ham": _measuring("nus_ham", "sms"),
    "spamhunter": _measuring("spamhunter", "sms"),
    "ru_telegram": _measuring("ru_telegram", "chat", "ru"),
    "zh_chat": _measuring("zh_chat", "chat", "zh"),
    "zh_mail": _measuring("zh_mail", "mail", "zh"),
    "lingspam": _measuring("lingspam", "mail"),
    "phishpot": _measuring("phishpot", "mail"),
}
ONE_CLASS = ("nus_ham", "spamhunter", "phishpot")
TRANSLATED = ("mt_de", "mt_fr", "mt_hi")
"""The collection in other languages: no training for a test on the collection itself."""

Frame: TypeAlias = pd.DataFrame
"""Messages: text, label (1 for spam), theme, language, channel, part ("train", or what it is held out for), set."""


@functools.cache
def load(name: str) -> Frame:
    """The messages of a set, without exact repeats."""
    source = SETS[name]
    if name == "written":
        sys.path.insert(0, str(DATASETS))
        from held_out import parts
        from messages import read_written

        messages = list(read_written()[0].values())
        frame = pd.DataFrame(map(asdict, messages)).assign(part=parts(messages))
    else:
        from runtime.records import read_records

        rows = [record.fields for record in read_records(source.path, headerless=("label", "text"))]
        frame = pd.DataFrame(rows)[["label", "text"]]
        frame = frame.assign(theme="", language=source.language, channel=source.domain, part="train")
    frame = frame.assign(label=(frame.label == "spam").astype(int), text=frame.text.str[:LONGEST], set=name)
    return frame.drop_duplicates("text", ignore_index=True)


@functools.cache
def groups(name: str) -> np.ndarray:
    """The group of near repeats of each message of a set; slow for mail, so what was found is kept."""
    texts = load(name).text.tolist()
    path = KEPT / f"groups-{hashlib.sha256(repr(texts).encode()).hexdigest()[:16]}.npy"
    if not path.is_file():
        found = near_repeat_groups(texts)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, found)
    return np.load(path)


def training_groups(train: Frame) -> np.ndarray:
    """Groups of near repeats within each set that messages come from."""
    found = np.zeros(len(train), dtype=np.int64)
    for name in train.set.unique():
        mine = (train.set == name).to_numpy()
        group = dict(zip(load(name).text, groups(name), strict=True))
        found[mine] = train.text[mine].map(group) + found.max() + 1
    return found


@functools.cache
def present(may_train: bool | None = None) -> list[str]:
    """Names of the sets that are there; those that may train, those that may not, or all."""
    return [name for name, of in SETS.items() if of.path.exists() and may_train in (None, of.may_train)]


def pool(*names: str) -> Frame:
    """All messages of some sets that may be trained on, those of held-out themes and languages with them."""
    frame = pd.concat([load(name) for name in names], ignore_index=True).drop_duplicates("text", ignore_index=True)
    return frame[frame.part != "held-out-message"].reset_index(drop=True)


def held_out(part: str = "held-out-message") -> Frame:
    """The written messages of one held-out part; none where there are no written messages."""
    written = load("written" if "written" in present() else "sms")
    return written[written.part == part].reset_index(drop=True)


def unknown(test: Frame, train: Frame) -> Frame:
    """Test messages that no training message equals but for case, digits and spacing: sets have drawn on each other."""
    known = set(map(folded, train.text))
    return test[[folded(text) not in known for text in test.text]].reset_index(drop=True)
