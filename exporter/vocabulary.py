"""GPT-2's vocabulary in the two forms that other tokenizers read, made from the one that the runtime ships."""

from __future__ import annotations

from base64 import b64decode
from functools import cache
from itertools import pairwise
from typing import Any

from runtime.spec import END_OF_TEXT
from runtime.tokenizer import VOCABULARY

END_OF_TEXT_NAME = "<|endoftext|>"


def printable_bytes() -> list[str]:
    """A printable character for each byte, as OpenAI's files spell tokens: itself, or one from U+0100 up."""
    plain = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return [chr(byte if byte in plain else next(others)) for byte in range(256)]


@cache
def ranks() -> dict[bytes, int]:
    """Id of every token but ``<|endoftext|>``."""
    return {b64decode(token): rank for rank, token in enumerate(VOCABULARY.read_bytes().split()[::2])}


def vocabulary() -> dict[str, int]:
    """``vocab.json``: id of every token, spelled."""
    letters = printable_bytes()
    tokens = {"".join([letters[byte] for byte in token]): rank for token, rank in ranks().items()}
    return {**tokens, END_OF_TEXT_NAME: END_OF_TEXT}


def merges() -> list[tuple[str, str]]:
    """``merges.txt``: the pair that each longer token is made of, in the order of the ids, spelled."""
    letters = printable_bytes()
    pairs = [halves(token, rank) for token, rank in ranks().items() if len(token) > 1]
    return [tuple("".join([letters[byte] for byte in half]) for half in pair) for pair in pairs]  # type: ignore[misc]


def halves(token: bytes, rank: int) -> tuple[bytes, bytes]:
    """The pair that was merged into this token: what byte-pair encoding makes of it by the merges before."""
    known = ranks()
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        found = [known.get(left + right, rank) for left, right in pairwise(parts)]
        place = min(range(len(found)), key=found.__getitem__)
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts[0], parts[1]


def tokenizer_json(special: bool = False) -> dict[str, Any]:
    """``tokenizer.json``, as Hugging Face's tokenizers and onnxruntime-extensions read it.

    Without ``special`` there are no special tokens: ``<|endoftext|>`` spelled out in a message is text like any other.
    """
    end = {"id": END_OF_TEXT, "content": END_OF_TEXT_NAME, "single_word": False, "lstrip": False, "rstrip": False}
    added = [{**end, "normalized": False, "special": True}]
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": "",
        "end_of_word_suffix": "",
        "fuse_unk": False,
        "vocab": vocabulary(),
        "merges": [" ".join(pair) for pair in merges()],
    }
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added if special else [],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": model,
    }


def tokenizer_config(context: int = 1024) -> dict[str, Any]:
    """``tokenizer_config.json``."""
    return {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False, "model_max_length": context}
