"""What a classifier is besides its weights: the one description that checkpoint, ONNX file and runtime share."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from runtime.errors import ModelError

SCHEMA_VERSION = 2
"""Raised when a change to the fields below would make an older runtime misread a model. Version 2 may have a `Fold`; a
model without one still says 1, and older runtimes serve it."""

END_OF_TEXT = 50256
"""Id of ``<|endoftext|>`` in the GPT-2 vocabulary: the padding, and the whole of an empty message."""

LONGEST_CONTEXT = 1 << 20
"""A file that claims a longer context is broken; believing it would cost all memory."""

PREFIX = "spam_edge."

Padding = Literal["batch", "longest", "context"]
Readout = Literal["last", "first"]
Precision = Literal["fp32", "fp16", "int8"]
Fold = Literal["none", "reader-1"]


@dataclass(frozen=True)
class ClassifierSpec:
    """How messages become ids, which logits are read, and how logits become a verdict.

    In a checkpoint this is the ``spam_edge`` object of ``config.json``; in an ONNX file every field is one entry of
    ``metadata_props``, its key prefixed with ``spam_edge.`` and its value JSON.
    """

    labels: tuple[str, ...] = ("ham", "spam")
    """Names of the classes, in the order of the logits' columns."""
    spam_label: str = "spam"
    """Which of the labels is the positive one."""
    context_length: int = 1024
    """Longest message in tokens; what is beyond is cut."""
    padding: Padding = "batch"
    """``batch``: the last real token is read. ``longest``, ``context``: messages are extended with
    ``<|endoftext|>`` as ordinary tokens (or cut) to ``pad_length`` and position -1 is read."""
    pad_length: int = 0
    """Length in tokens that every message is brought to; 0 with ``padding="batch"``."""
    readout: Readout = "last"
    """Whose logits count: the last token's, or the first's."""
    threshold: float = 0.5
    """A message is spam when its calibrated spam probability is at least this."""
    temperature: float = 1.0
    """Logits are divided by this before the softmax (Guo et al. 2017, "On Calibration of Modern Neural Networks")."""
    fold: Fold = "none"
    """What is done to a text before it becomes ids: nothing, or version 1 of `runtime.fold.fold`."""
    base_model: str = "gpt2"
    """Shape the classifier was made from: gpt2, gpt2-medium, gpt2-large, gpt2-xl or nano."""
    precision: Precision = "fp32"
    """Number format of the weights in the file."""
    channels: tuple[str, ...] = ()
    """Kinds of messages that it was trained on, as ("sms", "mail"); empty where that is not known."""
    data_fingerprint: str = ""
    """SHA-256 over the labelled messages that it was trained, validated and tested on."""
    test_metrics: Mapping[str, Any] = field(default_factory=dict)
    """What the trainer measured on the test set: count, accuracy, precision, recall, f1, roc_auc."""
    checkpoint_sha256: str = ""
    """SHA-256 of the ``model.safetensors`` that an ONNX file was made from."""
    schema_version: int = 1

    def __post_init__(self) -> None:
        """Refuse a description that cannot be served; raises ``ModelError``."""
        if self.fold not in get_args(Fold):
            raise ModelError(
                f"the model folds its texts by {self.fold!r}, this spam-edge knows {', '.join(get_args(Fold))}: "
                "install a newer spam-edge"
            )
        if self.fold != "none":
            object.__setattr__(self, "schema_version", max(2, self.schema_version))
        if self.schema_version > SCHEMA_VERSION:
            raise ModelError(
                f"the model's description has schema version {self.schema_version}, this spam-edge knows up to "
                f"{SCHEMA_VERSION}: install a newer spam-edge"
            )
        problems = [
            (len(self.labels) >= 2 and len(set(self.labels)) == len(self.labels), f"labels {list(self.labels)!r}"),
            (self.spam_label in self.labels, f"spam label {self.spam_label!r} is not one of {list(self.labels)!r}"),
            (0 < self.context_length <= LONGEST_CONTEXT, f"context length {self.context_length}"),
            (all(isinstance(name, str) for name in self.channels), f"channels {list(self.channels)!r}"),
            (self.padding in get_args(Padding), f"padding {self.padding!r}"),
            (self.readout in get_args(Readout), f"readout {self.readout!r}"),
            (
                self.pad_length == 0 if self.padding == "batch" else 0 < self.pad_length <= self.context_length,
                f"pad length {self.pad_length} with padding {self.padding!r}",
            ),
            (self.threshold >= 0, f"threshold {self.threshold}"),
            (self.temperature > 0, f"temperature {self.temperature}"),
        ]
        for fine, what in problems:
            if not fine:
                raise ModelError(f"the model's description is not usable: {what}")

    @property
    def spam_index(self) -> int:
        """Column of the logits that belongs to the spam label."""
        return self.labels.index(self.spam_label)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, as stored in a checkpoint's ``config.json``."""
        return {**dataclasses.asdict(self), "labels": list(self.labels), "channels": list(self.channels)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ClassifierSpec:
        """Read what `to_dict` wrote; fields it does not know are left aside. Raises ``ModelError``."""
        known = {f.name for f in dataclasses.fields(cls)}
        try:
            kept = {name: value for name, value in values.items() if name in known}
            kept["labels"] = tuple(kept["labels"])
            kept["channels"] = tuple(kept.get("channels", ()))
            kept["test_metrics"] = dict(kept.get("test_metrics", {}))
            for name, kind in {
                "temperature": float,
                "threshold": float,
                "context_length": int,
                "pad_length": int,
            }.items():
                if name in kept:
                    kept[name] = kind(kept[name])
            return cls(**kept)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ModelError(f"the model's description is not usable: {error!r}") from error

    def to_props(self) -> dict[str, str]:
        """Entries for an ONNX file's ``metadata_props``."""
        return {PREFIX + name: json.dumps(value) for name, value in self.to_dict().items()}

    @classmethod
    def from_props(cls, props: Mapping[str, str]) -> ClassifierSpec:
        """Read what `to_props` wrote out of all of a file's ``metadata_props``. Raises ``ModelError``."""
        ours = {key.removeprefix(PREFIX): value for key, value in props.items() if key.startswith(PREFIX)}
        if not ours:
            raise ModelError("it has no spam-edge metadata: make it with spam-export")
        try:
            return cls.from_dict({name: json.loads(value) for name, value in ours.items()})
        except (ValueError, RecursionError) as error:
            raise ModelError(f"its metadata is not JSON: {error}") from error
