"""The written messages, and what checks and card work out of them once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from messages import LANGUAGES, Message
from near import GROUP, Pair, alike
from numpy.typing import NDArray
from surfaces import SURFACES


@dataclass(frozen=True)
class Collection:
    """The written messages and what is worked out once from them."""

    placed: Mapping[str, Message]
    """By ``file:line``."""

    @cached_property
    def places(self) -> list[str]:
        """``file:line`` of each."""
        return list(self.placed)

    @cached_property
    def messages(self) -> list[Message]:
        """The messages alone."""
        return list(self.placed.values())

    @cached_property
    def pairs(self) -> list[Pair]:
        """Those that are more alike than `near.GROUP`."""
        return alike([message.text for message in self.messages], GROUP)

    @cached_property
    def spam(self) -> NDArray[np.bool_]:
        """(messages,): whether it is spam."""
        return np.array([message.label == "spam" for message in self.messages], dtype=bool)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(messages,): characters of each."""
        return np.array([len(message.text) for message in self.messages], dtype=np.int64)

    @cached_property
    def having(self) -> dict[str, NDArray[np.bool_]]:
        """By surface, (messages,): whether each message has it."""
        texts = [message.text for message in self.messages]
        return {name: np.array(list(map(has, texts)), dtype=bool) for name, has in SURFACES.items()}

    @cached_property
    def groups(self) -> dict[str, Group]:
        """All messages, those of each channel and those of each language, the largest first."""
        places = defaultdict(list)
        for place, message in enumerate(self.messages):
            for name in ("all", message.channel, LANGUAGES[message.language]):
                places[name].append(place)
        groups = {name: Group(self, np.array(those)) for name, those in places.items()}
        return dict(sorted(groups.items(), key=lambda group: -len(group[1])))


@dataclass(frozen=True)
class Group:
    """Some of the messages. What is said of ham and spam is in this order."""

    collection: Collection
    places: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.places)

    @cached_property
    def classes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places of its ham and of its spam."""
        spam = self.collection.spam[self.places]
        return self.places[~spam], self.places[spam]

    @property
    def sizes(self) -> tuple[int, int]:
        """How many are ham and spam."""
        ham, spam = self.classes
        return len(ham), len(spam)

    @property
    def spam_share(self) -> float:
        """From 0 to 1."""
        return self.sizes[1] / len(self)

    @property
    def median_lengths(self) -> tuple[float, float]:
        """Median characters of ham and spam; 0 where there is none."""
        ham, spam = (float(np.median(self.collection.lengths[those])) if len(those) else 0.0 for those in self.classes)
        return ham, spam

    def shares(self, surface: str) -> tuple[float, float]:
        """Per cent of ham and of spam that have a surface; 0 where there is none."""
        having = self.collection.having[surface]
        ham, spam = (100 * float(having[those].mean()) if len(those) else 0.0 for those in self.classes)
        return ham, spam
