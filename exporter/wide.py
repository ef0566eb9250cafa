"""The wide path as nodes of a graph: the steps of `trainer.wide`, in the same integers.

Characters, shapes and words are flat, message after message, until their lengths are known, then side by side in rows.
All of it is int32 but the sizes of tensors, and the squared lengths, which grow beyond 2**31 in a long message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper

from exporter.builder import GraphBuilder
from trainer.wide import (
    BLANK,
    BLANKS_AFTER,
    COUNTERS,
    FARTHEST,
    MARK,
    MARK_BYTE,
    PAD,
    PLACES,
    POINTS,
    SPACE,
    START,
    WEIGHTS,
    WORD_PRIME,
    Wide,
    characters,
    salts,
    token_table,
    word_factors,
)

INT32, INT64, FLOAT, BOOL = TensorProto.INT32, TensorProto.INT64, TensorProto.FLOAT, TensorProto.BOOL
UINT8 = TensorProto.UINT8
END = 2**31 - 1
"""A bound of Slice beyond any axis."""
ROW_ENDS = 3
"""Columns of filling behind the longest row, so that runs of four and pairs can be read at its end."""


class WideGraph:
    """Adds the wide path to a graph that is being built."""

    def __init__(self, builder: GraphBuilder, wide: Wide) -> None:
        self.builder = builder
        self.wide = wide
        self.config = wide.config

    def op(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output and a name of its own."""
        name = f"wide.{len(self.builder.nodes)}.{operator}"
        return self.builder.node(operator, inputs, name, **attributes)

    def table(self, name: str, values: npt.ArrayLike, dtype: npt.DTypeLike) -> str:
        """A constant table."""
        return self.builder.constant(f"wide.{name}", values, dtype)

    def number(self, value: int) -> str:
        """An int32 scalar."""
        return self.builder.constant(f"int32_{value}", value, np.int32)

    def cast(self, x: str, to: int) -> str:
        """The same values as another type."""
        return self.op("Cast", x, to=to)

    def plus(self, x: str, y: str | int) -> str:
        """x + y, in int32."""
        return self.op("Add", x, y if isinstance(y, str) else self.number(y))

    def times(self, x: str, y: str | int) -> str:
        """x * y, in int32."""
        return self.op("Mul", x, y if isinstance(y, str) else self.number(y))

    def equal(self, x: str, value: int) -> str:
        """Where x is a number."""
        return self.op("Equal", x, self.number(value))

    def below(self, x: str, value: int) -> str:
        """Where x is below a number."""
        return self.op("Less", x, self.number(value))

    def look_up(self, table: str, x: str) -> str:
        """The entries of a table."""
        return self.op("Gather", table, x)

    def sum_so_far(self, x: str) -> str:
        """Running total of flat values."""
        axis = helper.make_tensor("wide.axis", INT32, [], [0])  # CumSum wants a tensor without axes of its own
        return self.op("CumSum", x, self.builder.initializers.setdefault(axis.name, axis).name)

    def part(self, x: str, start: int, end: int, axis: int) -> str:
        """Part of an axis."""
        integers = self.builder.integers
        return self.op("Slice", x, integers(start), integers(end), integers(axis))

    def size(self, x: str, axis: int = 0) -> str:
        """int64 (1,): the length of an axis."""
        return self.op("Shape", x, start=axis, end=axis + 1)

    def full(self, shape: str, value: int, dtype: int = INT32) -> str:
        """A tensor filled with a number."""
        return self.op("ConstantOfShape", shape, value=helper.make_tensor("value", dtype, [1], [value]))

    def joined(self, *parts: str, axis: int = 0) -> str:
        """Tensors end to end along an axis."""
        return self.op("Concat", *parts, axis=axis)

    def indices(self, x: str) -> str:
        """int32: 0, 1, 2, ... along flat values."""
        length = self.op("Squeeze", self.size(x))
        return self.op("Range", self.number(0), self.cast(length, INT32), self.number(1))

    def zero(self, dtype: npt.DTypeLike) -> str:
        """One 0, flat."""
        return self.builder.constant(f"wide.zero_{np.dtype(dtype).name}", [0], dtype)

    def before(self, x: str, dtype: npt.DTypeLike = np.bool_) -> str:
        """For each of flat values the one before it, 0 for the first."""
        return self.joined(self.zero(dtype), self.part(x, 0, -1, 0))

    def build(self, ids: str, mask: str) -> str:
        """Logits, float32 (batch, labels), of int64 ids and mask (batch, sequence)."""
        self.count = self.size(ids)
        text = self.text(ids, mask)
        is_start = self.equal(text, START)
        owner = self.plus(self.sum_so_far(self.cast(is_start, INT32)), -1)
        blocks = [*self.characters(text, owner), self.shapes(text, owner), *self.words(text, owner)]
        return self.label_logits(self.scores(blocks))

    def text(self, ids: str, mask: str) -> str:
        """int32 (characters,): see `trainer.wide.NGrams.text`."""
        integers = self.builder.integers
        one, after = (self.joined(self.count, integers(columns)) for columns in (1, BLANKS_AFTER))
        tokens = self.joined(self.full(one, MARK, INT64), ids, self.full(after, BLANK, INT64), axis=1)
        there = self.joined(self.full(one, 1, INT64), mask, self.full(after, 1, INT64), axis=1)
        flat = integers(-1)
        kept = self.cast(self.op("Reshape", there, flat), BOOL)
        tokens = self.op("Compress", self.op("Reshape", tokens, flat), kept)
        spelled = self.op("Reshape", self.look_up(self.table("bytes", token_table(), np.uint8), tokens), flat)
        bytes_ = self.cast(self.op("Compress", spelled, self.cast(spelled, BOOL)), INT32)

        # a character's bytes; the last blank stays for the characters before it
        ends = [-3, -2, -1, END]
        first, *others = (self.part(bytes_, place, end, 0) for place, end in enumerate(ends))
        second, third, fourth = (self.op("Mod", other, self.number(64)) for other in others)
        upper = self.plus(self.times(second, 64), third)
        two = self.plus(self.plus(self.times(first, 64), second), -192 * 64)
        three = self.plus(self.plus(self.times(first, 4096), upper), -224 * 4096)
        four = self.plus(self.plus(self.times(first, 262144), self.times(upper, 64)), fourth)
        four = self.plus(four, -240 * 262144)
        is_ascii = self.below(first, 128)
        longer = self.op("Where", self.below(first, 224), two, self.op("Where", self.below(first, 240), three, four))
        point = self.op("Mod", self.op("Where", is_ascii, first, longer), self.number(POINTS))
        point = self.op("Max", point, self.number(SPACE))
        point = self.op("Where", self.equal(first, MARK_BYTE), self.number(START), point)
        leads = self.op("Or", is_ascii, self.op("Not", self.below(first, 192)))
        point = self.op("Compress", point, leads)
        blank = self.look_up(self.table("is_blank", characters().is_blank, np.bool_), point)
        again = self.op("And", blank, self.before(blank))
        return self.op("Compress", point, self.op("Or", self.equal(point, START), self.op("Not", again)))

    def side_by_side(self, values: Sequence[str], owner: str, fill: int) -> list[str]:
        """Flat int32 values of messages in rows, (batch, longest + `ROW_ENDS`)."""
        zeros = self.full(self.count, 0)
        ones = self.full(self.size(owner), 1)
        lengths = self.op("ScatterElements", zeros, owner, ones, axis=0, reduction="add")
        starts = self.op("Sub", self.sum_so_far(lengths), lengths)
        place = self.op("Sub", self.indices(owner), self.look_up(starts, owner))
        width = self.plus(self.builder.reduce("ReduceMax", lengths, 0, f"{lengths}.longest", keepdims=True), ROW_ENDS)
        index = self.plus(self.times(owner, width), place)
        shape = self.joined(self.count, self.cast(width, INT64))
        empty = self.full(self.op("Mul", self.count, self.cast(width, INT64)), fill)
        return [self.op("Reshape", self.op("ScatterElements", empty, index, flat, axis=0), shape) for flat in values]

    def further(self, rows: str, places: int) -> str:
        """For each place of rows, (batch, longest), the value so many places further on."""
        return self.part(rows, places, places - ROW_ENDS or END, 1)

    def runs(self, rows: str, sizes: tuple[int, int], name: str) -> list[str]:
        """Hashes of runs of two sizes, int32 (batch, longest) each."""
        hashes, total = [], rows
        for place in range(max(sizes)):
            values = self.further(rows, place)
            total = self.plus(total, self.times(values, WEIGHTS[place])) if place else values
            if place + 1 in sizes:
                hashes.append(self.plus(total, salts()[f"{name}{place + 1}"]))
        return hashes

    def characters(self, text: str, owner: str) -> list[tuple[str, str]]:
        """The blocks of folded and of cased characters: hashes and where they are, (batch, places)."""
        (rows,) = self.side_by_side([text], owner, PAD)
        known = characters()
        blanks = self.look_up(self.table("is_blank", known.is_blank, np.bool_), rows)
        blank, next_blank, third_blank = (self.further(blanks, places) for places in range(3))
        letter, clear = self.op("Not", blank), self.op("Not", next_blank)
        folded = self.look_up(self.table("folded", known.folded, np.int32), rows)
        cased = self.look_up(self.table("cased", known.cased, np.int32), rows)
        inner = [self.op("Or", letter, clear), self.op("And", clear, self.op("Not", third_blank))]
        return [
            (self.joined(*self.runs(folded, (2, 4), "letters"), axis=1), self.joined(*inner, axis=1)),
            (self.joined(*self.runs(cased, (1, 3), "cased"), axis=1), self.joined(letter, clear, axis=1)),
        ]

    def shapes(self, text: str, owner: str) -> tuple[str, str]:
        """The block of shapes: see `trainer.wide.NGrams.shapes`."""
        shape = self.look_up(self.table("shape", characters().shape, np.int32), text)
        again = self.op("Equal", shape, self.before(shape, np.int32))
        small = self.op("Or", self.equal(shape, ord("a")), self.equal(shape, ord("x")))
        third = self.op("And", self.equal(shape, ord("A")), self.before(again))
        keep = self.op("Not", self.op("And", again, self.op("Or", small, third)))
        shape, owner = self.op("Compress", shape, keep), self.op("Compress", owner, keep)
        (rows,) = self.side_by_side([shape], owner, PAD)
        real = self.op("Not", self.equal(rows, PAD))
        hashes = self.runs(self.look_up(self.table("cased", characters().cased, np.int32), rows), (2, 4), "shape")
        return self.joined(*hashes, axis=1), self.joined(self.further(real, 1), self.further(real, 3), axis=1)

    def words(self, text: str, owner: str) -> list[tuple[str, str]]:
        """The blocks of words and of pairs of words: see `trainer.wide.NGrams.words`."""
        known = characters()
        letter = self.look_up(self.table("in_word", known.in_word, np.bool_), text)
        blank = self.look_up(self.table("is_blank", known.is_blank, np.bool_), text)
        goes_on = self.op("And", letter, self.before(letter))
        start = self.op("Not", self.op("Or", blank, goes_on))
        index = self.indices(text)
        first, number = self.op("Compress", index, start), self.sum_so_far(self.cast(start, INT32))
        firsts = self.joined(self.zero(np.int32), first)
        begun = self.look_up(firsts, number)
        place = self.op("Min", self.op("Sub", index, begun), self.number(PLACES))
        value = self.look_up(self.table("letter", known.letter, np.int32), text)
        # what stands before the first word is number 0
        empty = self.full(self.size(firsts), 0)
        hashes = []
        for which, factors in enumerate(word_factors()):
            factor = self.look_up(self.table(f"factors.{which}", factors, np.int32), place)
            summand = self.op("Mod", self.times(value, factor), self.number(WORD_PRIME))
            total = self.op("ScatterElements", empty, number, summand, axis=0, reduction="add")
            hashes.append(self.plus(self.part(total, 1, END, 0), 1))
        is_long = self.op("And", self.look_up(letter, first), self.look_up(letter, self.plus(first, 1)))
        long = self.times(hashes[0], self.cast(is_long, INT32))
        one, two, long = self.side_by_side([*hashes, long], self.look_up(owner, first), 0)
        word, *others = (self.further(one, distance) for distance in range(1 + FARTHEST))
        seconds = [self.further(two, distance) for distance in range(1, 1 + FARTHEST)]
        long = self.further(long, 0)
        there = self.op("Greater", word, self.number(0))
        pairs = [self.plus(self.plus(word, second), salts()["pairs"]) for second in seconds]
        both = [self.op("And", there, self.op("Greater", other, self.number(0))) for other in others]
        return [
            (self.plus(long, salts()["words"]), self.op("Greater", long, self.number(0))),
            (self.joined(*pairs, axis=1), self.joined(*both, axis=1)),
        ]

    def scores(self, blocks: Sequence[tuple[str, str]]) -> str:
        """Scores of the themes, float32 (batch, themes): see `trainer.wide.Wide.forward`."""
        wide, config, builder = self.wide, self.config, self.builder
        hashes, there = (self.joined(*parts, axis=1) for parts in zip(*blocks, strict=True))
        quotient = self.op("Div", hashes, self.number(config.rows))
        row = self.op("Sub", hashes, self.times(quotient, config.rows))
        entry = self.look_up(self.table("entry", self.entries(), np.int32), row)
        known = self.op("And", there, self.op("Equal", self.op("Div", entry, self.number(1 << 16)), quotient))
        # of those that are not known, idf, step and row are 0: all read one row of weights, which is in the cache then
        entry, known_row = (self.op("Where", known, x, self.number(0)) for x in (entry, row))
        step = self.cast(entry, UINT8)
        idf = self.cast(self.cast(self.op("Div", entry, self.number(1 << 8)), UINT8), INT32)

        counters = self.op("Mod", row, self.number(COUNTERS))
        empty = self.full(self.joined(self.count, builder.integers(COUNTERS)), 0)
        count = self.op("ScatterElements", empty, counters, self.cast(known, INT32), axis=1, reduction="add")
        count = self.op("GatherElements", count, counters, axis=1)
        squares = self.op("Mul", self.cast(self.times(idf, idf), INT64), self.cast(count, INT64))
        widths = self.joined(*(self.size(values, 1) for values, _ in blocks))
        parts = [f"{squares}.{number}" for number in range(len(blocks))]
        builder.nodes_out("Split", [squares, widths], parts, axis=1)
        sums = [builder.reduce("ReduceSum", part, 1, f"{part}.sum", keepdims=True) for part in parts]
        length = self.cast(self.joined(*sums, axis=1), FLOAT)
        length = self.op("Sqrt", self.op("Max", length, builder.number(1)))

        # a row of steps for each block, 0 outside of it: one product then has every block's total
        numbers = [
            self.op("Expand", self.builder.constant(f"wide.block.{number}", [[number]], np.int32), shape)
            for number, shape in enumerate(self.joined(builder.integers(1), self.size(v, 1)) for v, _ in blocks)
        ]
        each = self.builder.constant("wide.blocks", np.arange(len(blocks))[:, None], np.int32)
        inside = self.op("Equal", self.joined(*numbers, axis=1), each)
        nothing = self.builder.constant("uint8_0", 0, np.uint8)
        steps = self.op("Where", inside, self.op("Unsqueeze", step, builder.integers(1)), nothing)
        weights = self.look_up(self.table("weight", wide.weight.numpy(), np.int8), known_row)
        totals = self.cast(self.op("MatMulInteger", steps, weights), FLOAT)
        factor = self.op("Div", builder.number(config.scale), length)
        scaled = self.op("Mul", totals, self.op("Unsqueeze", factor, builder.integers(2)))
        total = builder.reduce("ReduceSum", scaled, 1, f"{scaled}.sum", keepdims=False)
        return self.op("Add", total, self.table("bias", wide.bias.numpy(), np.float32))

    def entries(self) -> npt.NDArray[np.int32]:
        """All that is known of each of the table's rows but its weights, int32 (rows,), since one look-up in a large
        table takes as long as many steps of arithmetic: check, idf and step in 16, 8 and 8 bits. A row for no n-gram
        is a number whose upper half is no hash's."""
        check, idf, step = (x.numpy().astype(np.int32) for x in (self.wide.check, self.wide.idf, self.wide.step))
        return np.where(check < 0, np.int32(-(2**31)), check << 16 | idf << 8 | step)

    def label_logits(self, scores: str) -> str:
        """float32 (batch, labels): see `trainer.wide.Wide.label_logits`."""
        config, builder = self.config, self.builder
        sharp = self.op("Mul", scores, builder.number(config.sharpness))
        sums = []
        for label in range(len(config.offsets)):
            chosen = self.op("Gather", sharp, builder.integers(*config.label_themes(label)), axis=1)
            sums.append(builder.reduce("ReduceLogSumExp", chosen, 1, f"{chosen}.sum", keepdims=True))
        gained = self.op("Mul", self.joined(*sums, axis=1), builder.number(config.gain))
        return self.op("Add", gained, self.table("offsets", config.offsets, np.float32))
