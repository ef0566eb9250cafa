"""The wide path: n-grams of the text, computed from the token ids, each with a weight of its own.

Cheng et al. 2016, "Wide & Deep Learning for Recommender Systems": what a few words or letters say by themselves is left
to a linear model, what takes a context to the transformer, and the logits are added. The ids are turned back into
characters by table look-ups; hashes of runs of characters, words and pairs of words name rows of one table of int8
weights. A message's n-grams are weighted by inverse document frequency and scaled to length 1, block by block, as
TF-IDF is. The weights score *themes* (groups of kinds of spam or of ham) rather than labels, since ham that is about a
parcel has little in common with ham that is about a birthday; a label's logit is the logsumexp over its themes.

Everything up to the final scaling is integer arithmetic, so that every runtime computes the same. All values but the
squared lengths of long messages stay below 2**31: hashes are sums of random numbers that a table holds (tabulation
hashing, Carter and Wegman 1979), without a product that could overflow. `trainer.fit_wide` fits the table,
`exporter.wide` builds the same steps as a graph.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from runtime.spec import END_OF_TEXT
from runtime.tokenizer import token_bytes
from trainer.gpt2 import Packing
from trainer.recipe import FEWEST_ROWS, MOST_ROWS

BLOCKS = ("letters", "cased", "shape", "words", "pairs")
"""Groups of n-grams, each scaled to length 1: runs of 2 and 4 folded characters within words; of 1 and 3 characters as
they stand; of 2 and 4 characters by their kind; words; and pairs of words at most `FARTHEST` apart."""
FARTHEST = 3

BLANK, MARK = 220, END_OF_TEXT + 1
"""Ids put around a message: a blank, and the row of `token_table` that stands for the start of a message."""
BLANKS_AFTER = 4
"""Blanks after a message: a character that is cut off at its end must not read bytes of the next message."""
LONGEST_TOKEN = 16
"""Bytes read of a token: of the 72 longer ones half are runs of one character, and half rare words that lose their
end."""
NO_BYTE, MARK_BYTE = 0, 254
"""No byte here, and the start of a message; neither occurs in UTF-8 without control characters."""

POINTS = 1 << 16
"""Characters told apart; those beyond U+FFFF share the places of others, hardly used ones for emoji."""
START, PAD = 0, 1
"""Characters that are none: the start of a message, and what fills up a batch's rows."""
SPACE = 32
"""The lowest character of a text. Control characters are read as a blank, and so is what would share the place of one:
U+20000, a Chinese character, must not be taken for `START`."""
PLACES = 31
"""Characters of a word that are hashed."""
WORD_PRIME = 16_777_213
"""Below 2**24, so that the hash of a word stays below 2**29 and that of a pair of words, salted, below 2**31."""
WEIGHTS = (1, 2, 4, 8)
"""What the characters of an n-gram are multiplied by: no two sets of places have the same sum, so no rearrangement of
the characters has the same hash by construction."""
IDF_UNIT = 20.0
"""Integers that one unit of inverse document frequency is counted in."""
COUNTERS = 8192
"""Counters of a message in which it is counted how often each of its n-grams stands there. Two that share a counter
make the message's length a little larger, always by the same."""


class Characters(NamedTuple):
    """What is known of each of the `POINTS` characters."""

    folded: NDArray[np.int32]
    """Random number below 2**26 of the character in lower case and compatibility form."""
    cased: NDArray[np.int32]
    """Random number below 2**26 of the character as it is."""
    letter: NDArray[np.int32]
    """Random number below 2**16, again of the folded character, for the hashes of words; 0 for a blank."""
    shape: NDArray[np.int32]
    """The character that stands for all of its kind: a, A, x (a letter without case), 0 (a digit), or itself."""
    is_blank: NDArray[np.bool_]
    in_word: NDArray[np.bool_]
    """Whether it is a letter or digit: words are runs of these, and every other character is a word of its own."""


@lru_cache(maxsize=1)
def token_table() -> NDArray[np.uint8]:
    """The bytes of every token, uint8 (tokens + 1, 16), filled up with `NO_BYTE`; the last row starts a message.

    Control characters are read as blanks, and bytes that no UTF-8 has are left out, so that the marks above are free.
    """
    table = np.full((MARK + 1, LONGEST_TOKEN), NO_BYTE, np.uint8)
    for row, token in enumerate(token_bytes()):
        spelled = [max(byte, SPACE) for byte in token[:LONGEST_TOKEN] if byte < 0xF8]
        table[row, : len(spelled)] = spelled
    table[MARK, 0] = MARK_BYTE
    return table


@lru_cache(maxsize=1)
def characters() -> Characters:
    """Kinds and random numbers of the characters; the same on every machine and for every model."""
    folded, shape = np.arange(POINTS), np.arange(POINTS, dtype=np.int32)
    is_blank, in_word = np.zeros(POINTS, np.bool_), np.zeros(POINTS, np.bool_)
    for point in range(POINTS):
        letter = chr(point)
        if letter.isspace() or point < SPACE:
            folded[point] = shape[point] = SPACE
            is_blank[point] = True
        elif not 0xD800 <= point < 0xE000:
            first = unicodedata.normalize("NFKC", letter).lower()[:1]
            folded[point] = ord(first) if first and ord(first) < POINTS else point
            in_word[point] = letter.isalnum() or letter == "_"
            if in_word[point]:
                case = "a" if letter.islower() else "A" if letter.isupper() else "x"
                shape[point] = ord("0" if letter.isdigit() else case)
    shape[PAD] = PAD
    draw = np.random.Generator(np.random.PCG64(2016))
    random = draw.integers(0, 1 << 26, POINTS, np.int32)
    random[[START, PAD]] = random[SPACE]
    short = draw.integers(1, 1 << 16, POINTS, np.int32)[folded]
    short[is_blank] = 0
    return Characters(random[folded], random, short, shape, is_blank, in_word)


@lru_cache(maxsize=1)
def word_factors() -> NDArray[np.int32]:
    """int32 (2, 32): what the characters of a word are multiplied by, for two hashes; 0 beyond the last place."""
    factors = np.random.Generator(np.random.PCG64(2017)).integers(1 << 14, 1 << 15, (2, PLACES + 1), np.int32)
    factors[:, PLACES] = 0
    return factors


@lru_cache(maxsize=1)
def salts() -> dict[str, int]:
    """A random number below 2**30 for each kind of n-gram, added to its hashes."""
    names = ["letters2", "letters4", "cased1", "cased3", "shape2", "shape4", "words", "pairs"]
    values = np.random.Generator(np.random.PCG64(2018)).integers(0, 1 << 30, len(names)).tolist()
    return dict(zip(names, values, strict=True))


@dataclass(frozen=True)
class WideConfig:
    """Shape of a wide path."""

    themes: tuple[str, ...]
    """Names of the themes, for people."""
    labels: tuple[int, ...]
    """Index of each theme's label."""
    rows: int
    """N-grams that the table has room for, from `trainer.recipe.FEWEST_ROWS` to ``MOST_ROWS``."""
    scale: float = 1.0
    """What the integer scores are multiplied by: the weights' unit."""
    sharpness: float = 2.0
    """Scores of themes are multiplied by this before the logsumexp."""
    gain: float = 1.0
    """The logsumexp is multiplied by this, so that the logits are calibrated (Platt 1999)."""
    offsets: tuple[float, ...] = (0.0, 0.0)
    """Added to the logits, one for each label."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> WideConfig:
        """Read what ``dataclasses.asdict`` gave. Raises ``KeyError``, ``TypeError`` or ``ValueError``."""
        config = cls(**{**values, **{name: tuple(values[name]) for name in ("themes", "labels", "offsets")}})
        if not FEWEST_ROWS <= config.rows <= MOST_ROWS or len(config.labels) != len(config.themes):
            raise ValueError(f"{config.rows} rows, {len(config.themes)} themes and {len(config.labels)} labels")
        if set(config.labels) != set(range(len(config.offsets))):
            raise ValueError("every label needs a theme")
        if not all(map(math.isfinite, (config.scale, config.sharpness, config.gain, *config.offsets))):
            raise ValueError("scale, sharpness, gain and offsets must be finite")
        return config

    def label_themes(self, label: int) -> list[int]:
        """The themes of a label."""
        return [theme for theme, owner in enumerate(self.labels) if owner == label]


class Hashes(NamedTuple):
    """The n-grams of one block of messages laid side by side."""

    values: Tensor
    """int64 (batch, places): hashes below 2**31."""
    there: Tensor
    """bool (batch, places): where there is one."""


def shifted(x: Tensor, places: int, fill: int) -> Tensor:
    """Rows moved to the left, filled up on the right."""
    return torch.nn.functional.pad(x, (0, places), value=fill)[..., places:]


def before(x: Tensor) -> Tensor:
    """For each of flat values the one before it, 0 for the first."""
    return torch.nn.functional.pad(x, (1, 0))[:-1]


class NGrams:
    """Turns ids into the hashes of all n-grams; its tables are constants that live on one device."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.bytes = torch.from_numpy(token_table()).to(device)
        known = characters()
        self.folded, self.cased, self.letter, self.shape = (
            torch.from_numpy(table.astype(np.int64)).to(device) for table in known[:4]
        )
        self.is_blank, self.in_word = (torch.from_numpy(table).to(device) for table in known[4:])
        self.factors = torch.from_numpy(word_factors().astype(np.int64)).to(device)

    def text(self, ids: Tensor, packing: Packing) -> Tensor:
        """int64 (characters,) of messages end to end, each with `START` before it, its blanks run together."""
        count, around = len(packing.lengths), 1 + BLANKS_AFTER
        message = torch.arange(count, device=ids.device)
        tokens = torch.full((len(ids) + count * around,), BLANK, device=ids.device)
        place = torch.arange(len(ids), device=ids.device) + 1
        tokens[place + around * torch.repeat_interleave(message, packing.lengths)] = ids
        tokens[packing.ends - packing.lengths + around * message] = MARK
        found = self.bytes[tokens].flatten()
        byte = found[found != NO_BYTE].long()
        second, third, fourth = (shifted(byte, places, 0) % 64 for places in (1, 2, 3))
        two = (byte - 192) * 64 + second
        three = (byte - 224) * 4096 + second * 64 + third
        four = (byte - 240) * 262144 + second * 4096 + third * 64 + fourth
        point = torch.where(byte < 128, byte, torch.where(byte < 224, two, torch.where(byte < 240, three, four)))
        point = torch.where(byte == MARK_BYTE, START, (point % POINTS).clamp_min(SPACE))
        point = point[(byte < 128) | (byte >= 192)]
        blank = self.is_blank[point]
        return point[(point == START) | ~(blank & before(blank))]

    def hashes(self, ids: Tensor, packing: Packing) -> list[Hashes]:
        """The n-grams of every message, repeats included, one entry for each of `BLOCKS`."""
        text = self.text(ids, packing)
        owner, count = (text == START).cumsum(0) - 1, len(packing.lengths)
        rows = side_by_side(text, owner, count, PAD)
        blank = self.is_blank[rows]
        folded, cased = self.folded[rows], self.cased[rows]
        shapes = self.shapes(text, owner, count)
        shape, real = self.cased[shapes], shapes != PAD
        first, second, long = self.words(text, owner, count)
        word, salt = first > 0, salts()

        def run(values: Tensor, size: int, name: str) -> Tensor:
            """Hashes of runs of ``size`` values."""
            parts = [weight * shifted(values, place, 0) for place, weight in enumerate(WEIGHTS[:size])]
            return sum(parts, torch.tensor(salt[f"{name}{size}"]))

        # a run of characters may begin and end with a blank, which says where the word does
        clear = ~shifted(blank, 1, 1)
        pairs = [
            (first + shifted(second, distance, 0) + salt["pairs"], word & shifted(word, distance, 0))
            for distance in range(1, FARTHEST + 1)
        ]
        return [
            join(
                (run(folded, 2, "letters"), ~blank | clear), (run(folded, 4, "letters"), clear & ~shifted(blank, 2, 1))
            ),
            join((run(cased, 1, "cased"), ~blank), (run(cased, 3, "cased"), clear)),
            join((run(shape, 2, "shape"), shifted(real, 1, 0)), (run(shape, 4, "shape"), shifted(real, 3, 0))),
            Hashes(long + salt["words"], long > 0),
            join(*pairs),
        ]

    def shapes(self, text: Tensor, owner: Tensor, count: int) -> Tensor:
        """int64 (batch, places): the text with one character for each kind of letter and digit, runs of letters cut
        short: one small letter, two capitals."""
        shape = self.shape[text]
        again = shape == before(shape)
        small = (shape == ord("a")) | (shape == ord("x"))
        keep = ~(again & (small | ((shape == ord("A")) & before(again))))
        return side_by_side(shape[keep], owner[keep], count, PAD)

    def words(self, text: Tensor, owner: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Two hashes of each word, int64 (batch, words), from 1 to 2**29, and the first again where the word has two
        letters or more; 0 where there is none. A mark is a word of its own."""
        letter = self.in_word[text]
        start = ~self.is_blank[text] & ~(letter & before(letter))
        first, number = start.nonzero()[:, 0], start.cumsum(0)
        begun = torch.cat([first.new_zeros(1), first])[number]
        place = (torch.arange(len(text), device=text.device) - begun).clamp_max(PLACES)
        hashes = []
        for factor in self.factors:
            summands = self.letter[text] * factor[place] % WORD_PRIME
            # what stands before the first word is number 0; blanks and the starts of messages add nothing
            hashes.append(1 + text.new_zeros(1 + len(first)).index_add(0, number, summands)[1:])
        long = hashes[0] * (letter[first] & letter[first + 1])
        first_hash, second_hash, long_hash = (side_by_side(x, owner[first], count, 0) for x in (*hashes, long))
        return first_hash, second_hash, long_hash


def join(*parts: tuple[Tensor, Tensor]) -> Hashes:
    """N-grams of several kinds side by side."""
    values, there = zip(*parts, strict=True)
    return Hashes(torch.cat(values, 1), torch.cat(there, 1))


def side_by_side(values: Tensor, owner: Tensor, count: int, fill: int) -> Tensor:
    """Flat values of messages in rows, int64 (batch, longest), filled up on the right.

    Args:
        values: int64 (values,), message after message.
        owner: int64 (values,): index of each one's message, rising.
        count: Messages.
        fill: What stands where a message is over.
    """
    lengths = torch.bincount(owner, minlength=count)
    place = torch.arange(len(values), device=values.device) - (lengths.cumsum(0) - lengths)[owner]
    rows = values.new_full((count, max(1, int(lengths.max()))), fill)
    rows[owner, place] = values
    return rows


class Wide(nn.Module):
    """The fitted table as a module: ids to logits. Its tensors are integers and are not trained by gradients."""

    def __init__(self, config: WideConfig) -> None:
        super().__init__()
        self.config = config
        themes = len(config.themes)
        self.register_buffer("check", torch.full((config.rows,), -1, dtype=torch.int16))
        self.register_buffer("idf", torch.zeros(config.rows, dtype=torch.uint8))
        self.register_buffer("step", torch.zeros(config.rows, dtype=torch.uint8))
        self.register_buffer("weight", torch.zeros(config.rows, themes, dtype=torch.int8))
        self.register_buffer("bias", torch.zeros(themes))
        self.check: Tensor
        """int16 (rows,): hash // rows of the n-gram that a row is for, -1 where it is for none."""
        self.idf: Tensor
        """uint8 (rows,): its inverse document frequency in units of 1 / `IDF_UNIT`; 0 where the row is empty."""
        self.step: Tensor
        """uint8 (rows,): what its weights are multiplied by."""
        self.weight: Tensor
        """int8 (rows, themes)."""
        self.bias: Tensor
        """float32 (themes,): scores of a message without any known n-gram."""
        self._ngrams: NGrams | None = None

    def ngrams(self, device: torch.device) -> NGrams:
        """The tables of `NGrams` on a device."""
        if self._ngrams is None or self._ngrams.bytes.device != device:
            self._ngrams = NGrams(device)
        return self._ngrams

    def known(self, block: Hashes) -> tuple[Tensor, Tensor]:
        """The row of each n-gram, int64 (batch, places), and whether the table has it."""
        row = block.values % self.config.rows
        return row, block.there & (self.check[row] == block.values // self.config.rows)

    def forward(self, ids: Tensor, packing: Packing) -> Tensor:
        """Logits, float32 (batch, labels), of messages laid end to end: ids int64 (tokens,)."""
        blocks = self.ngrams(ids.device).hashes(ids, packing)
        row, known = self.known(join(*blocks))
        lengths = squared_lengths(row, known, self.idf[row].long(), [block.values.shape[1] for block in blocks])
        # integers below 2**53, which float64 adds up exactly in any order
        step, weight = (self.step[row].long() * known).double(), self.weight[row].double()
        scores, start = self.bias[None], 0
        for block, length in zip(blocks, lengths, strict=True):
            part = slice(start, start := start + block.values.shape[1])
            total = torch.einsum("bp,bpt->bt", step[:, part], weight[:, part])
            scores = scores + total.float() * (self.config.scale / length.clamp_min(1).float().sqrt())
        return self.label_logits(scores)

    def label_logits(self, scores: Tensor) -> Tensor:
        """Logits (batch, labels) from the themes' scores (batch, themes)."""
        config = self.config
        sums = [
            (config.sharpness * scores[:, config.label_themes(label)]).logsumexp(1)
            for label in range(len(config.offsets))
        ]
        return config.gain * torch.stack(sums, 1) + scores.new_tensor(config.offsets)


def squared_lengths(row: Tensor, known: Tensor, idf: Tensor, widths: Sequence[int]) -> list[Tensor]:
    """The squared length of each message's vector of counts times idf, int64 (batch, 1) for each block.

    Args:
        row: int64 (batch, places): the table's row of each n-gram, repeats included, block after block.
        known: bool (batch, places): which of them count.
        idf: int64 (batch, places).
        widths: Places of each block.
    """
    counters = row % COUNTERS
    count = torch.zeros(len(row), COUNTERS, dtype=torch.int64, device=row.device)
    count.scatter_add_(1, counters, known.long())
    squares = idf * idf * count.gather(1, counters) * known
    return [part.sum(1, keepdim=True) for part in torch.split(squares, list(widths), 1)]


def block_weight() -> float:
    """What each block of length 1 is multiplied by, so that a message's n-grams have length 2**0.5 together."""
    return math.sqrt(2 / len(BLOCKS))
