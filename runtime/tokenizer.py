"""GPT-2's byte-pair encoding, from the vocabulary shipped beside this file: no network, ever.

The published split pattern and ranks (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"),
run by tiktoken. There are no special tokens: ``<|endoftext|>`` spelled out in a message is seven ordinary ids.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import tiktoken

from runtime.spec import END_OF_TEXT

VOCABULARY = Path(__file__).with_name("gpt2.tiktoken")
SPLIT_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

PART = 8192
"""Texts longer than this many characters are encoded in parts, so that only what fills the context is encoded."""

LONGEST_RUN = 128 * 1024
"""A part never exceeds this many characters. No token of the vocabulary is longer than 128 bytes, so a part this long
fills a context of 1,024 tokens by itself; and tiktoken overflows its stack on a million blanks before a letter."""

# No pre-token of the split pattern holds a blank after something that is not one, so a cut there changes no id.
_SAFE_CUT = re.compile(r"(?<=\S)[ \n\t\r]")


def encode(text: str, limit: int | None = None) -> tuple[list[int], bool]:
    """Turn ``text`` into at most ``limit`` ids, and tell whether it had more.

    An empty text is the single id 50256. Lone surrogates are read as U+FFFD, as tiktoken does. The ids are those of
    tiktoken's ``gpt2`` for every text whose runs without a blank stay under 122,880 characters; a longer run is
    encoded in pieces, which can change the ids where the pieces meet.

    Args:
        text: The message.
        limit: Context length in tokens; None for all ids.

    Returns:
        The ids, at least one, and True where the text was cut.
    """
    if not text:
        return [END_OF_TEXT], False
    encoding = _encoding()
    if len(text) <= PART:
        ids = encoding.encode_ordinary(text)
    else:
        ids = []
        for part in _parts(text):
            ids += encoding.encode_ordinary(part)
            if limit is not None and len(ids) > limit:
                break
    return (ids[:limit], True) if limit is not None and len(ids) > limit else (ids, False)


def _parts(text: str) -> Iterator[str]:
    """Cut a long text where that changes no id; a run without such a place at ``LONGEST_RUN`` characters."""
    start = 0
    while start < len(text):
        if len(text) - start <= PART:
            end = len(text)
        elif cut := _SAFE_CUT.search(text, start + PART, start + LONGEST_RUN):
            end = cut.start()
        else:
            end = min(start + LONGEST_RUN, len(text))
        yield text[start:end]
        start = end


def token_bytes() -> list[bytes]:
    """The 50,257 tokens as bytes, in the order of their ids; the last one, ``<|endoftext|>``, is no text: empty."""
    return [*map(a2b_base64, VOCABULARY.read_bytes().split()[::2]), b""]


@cache
def _encoding() -> tiktoken.Encoding:
    """Read the vocabulary at its first use, in about a tenth of a second; its ranks are its line numbers."""
    ranks = {token: rank for rank, token in enumerate(token_bytes()[:END_OF_TEXT])}
    return tiktoken.Encoding("gpt2", pat_str=SPLIT_PATTERN, mergeable_ranks=ranks, special_tokens={})
