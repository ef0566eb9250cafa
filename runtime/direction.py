"""Text whose direction is forced, put in the order in which it is displayed."""

from __future__ import annotations

import re
from collections.abc import Iterator

CONTROLS = "\u202a-\u202e\u2066-\u2069"
EMBEDDINGS, ISOLATES, OVERRIDES = "\u202a\u202b\u202d\u202e", "\u2066\u2067\u2068", {"\u202d": "L", "\u202e": "R"}
END_OF_EMBEDDING, END_OF_ISOLATE = "\u202c", "\u2069"
PARAGRAPH = "\n\r\x1c\x1d\x1e\x85\u2029"


class Stretch:
    """What stands from a control to its end: texts and stretches, and the direction forced on the texts, if any."""

    def __init__(self, control: str) -> None:
        self.direction, self.isolate = OVERRIDES.get(control, ""), control in tuple(ISOLATES)
        self.parts: list[str | Stretch] = []


class Display:
    """Carries out directional overrides, as Unicode Standard Annex 9 has displays do it, and drops embeddings.

    Letters that run against the direction forced on them come in the order in which they are seen; letters that run
    with it are read as they stand.
    """

    def __init__(self, right_to_left: str, left_to_right: str, cluster: str, mirrored: str) -> None:
        """Take the letters of either direction as insides of brackets, what stays together, and pairs of brackets."""
        self.pieces = re.compile(f"([{CONTROLS}{PARAGRAPH}])")
        self.right_to_left = re.compile(f"[{right_to_left}]")
        self.against = {
            "R": re.compile(rf"[^{right_to_left}\s](?:[^{right_to_left}]*[^{right_to_left}\s])?"),
            "L": re.compile(f"[{right_to_left}](?:[^{left_to_right}0-9]*[{right_to_left}])?"),
        }
        self.cluster = re.compile(cluster, re.DOTALL)
        self.mirrored = str.maketrans(mirrored, re.sub("(.)(.)", r"\2\1", mirrored))

    def __call__(self, text: str) -> str:
        """The text as displayed, without controls. The end of a paragraph ends all that is open in it."""
        done: list[str] = []
        stack, isolates = [Stretch("")], 0
        for piece in filter(None, self.pieces.split(text)):
            if piece in EMBEDDINGS or piece in ISOLATES:
                inner = Stretch(piece)
                stack[-1].parts.append(inner)
                stack.append(inner)
                isolates += inner.isolate
            elif piece == END_OF_EMBEDDING:
                if len(stack) > 1 and not stack[-1].isolate:
                    stack.pop()
            elif piece == END_OF_ISOLATE:
                while isolates and not stack.pop().isolate:
                    pass
                isolates = max(0, isolates - 1)
            elif piece in PARAGRAPH:
                done += [*self._laid_out(stack[0]), piece]
                stack, isolates = [Stretch("")], 0
            else:
                stack[-1].parts.append(piece)
        return "".join([*done, *self._laid_out(stack[0])])

    def _laid_out(self, stretch: Stretch) -> Iterator[str]:
        """The texts of a stretch in their displayed order. It does not call itself: stretches may nest without end."""
        waiting: list[tuple[str | Stretch, str]] = [(stretch, "")]
        while waiting:
            part, order = waiting.pop()
            if isinstance(part, str):
                yield self._reversed(part) if order == "backwards" else self._with_turned_runs(part, order)
                continue
            texts = [text for text in part.parts if isinstance(text, str)]
            backwards = part.direction == "R" and not any(map(self.right_to_left.search, texts))
            # the last to wait comes first
            parts = part.parts if backwards else part.parts[::-1]
            waiting += [(one, "backwards" if backwards else part.direction) for one in parts]

    def _with_turned_runs(self, text: str, direction: str) -> str:
        """A text in which runs against a direction are reversed."""
        against = self.against.get(direction)
        return against.sub(lambda run: self._reversed(run[0]), text) if against else text

    def _reversed(self, text: str) -> str:
        return "".join(self.cluster.findall(text)[::-1]).translate(self.mirrored)
