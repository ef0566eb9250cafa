import hashlib
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from runtime import tokenizer
from runtime.tokenizer import LONGEST_RUN, PART, VOCABULARY, encode


@pytest.fixture(scope="module")
def reference() -> Tokenizer:
    """Hugging Face's byte-level BPE with the merges that GPT-2's ranks imply: another program for the same ids."""
    alphabet = byte_alphabet()
    ranks = dict(tokenizer._encoding()._mergeable_ranks)
    names = {"".join(alphabet[b] for b in token): rank for token, rank in ranks.items()}
    merges = []
    for token, _rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) > 1:
            left, right = split_before(token, ranks)
            merges.append(("".join(alphabet[b] for b in left), "".join(alphabet[b] for b in right)))
    tokens = Tokenizer(models.BPE(vocab=names, merges=merges))
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    return tokens


def byte_alphabet() -> dict[int, str]:
    """GPT-2's printable stand-ins for the 256 bytes."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(256) if b not in shown]
    return {b: chr(b) for b in shown} | {b: chr(256 + n) for n, b in enumerate(hidden)}


def split_before(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """The two parts that a token was merged from: what lower ranks alone make of it."""
    rank = ranks[token]
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        pairs = [(ranks.get(a + b, rank), i) for i, (a, b) in enumerate(itertools.pairwise(parts))]
        best, at = min(pairs)
        assert best < rank
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts[0], parts[1]


def test_the_shipped_vocabulary_is_the_published_one() -> None:
    digest = hashlib.sha256(VOCABULARY.read_bytes()).hexdigest()
    assert digest == "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"


def test_ranks_are_line_numbers() -> None:
    assert [int(line.split()[1]) for line in VOCABULARY.read_bytes().splitlines()] == list(range(50256))


def test_ids_equal_an_independent_tokenizer_on_the_collection(messages: list[str], reference: Tokenizer) -> None:
    assert [encode(text, 1024)[0] for text in messages] == [e.ids for e in reference.encode_batch(messages)]


@given(text=st.text(min_size=1))
def test_ids_equal_an_independent_tokenizer_on_any_string(reference: Tokenizer, text: str) -> None:
    assert encode(text)[0] == reference.encode(text).ids


def test_known_ids() -> None:
    assert encode("hello world", 1024) == ([31373, 995], False)


def test_an_empty_text_is_end_of_text() -> None:
    assert encode("", 1024) == ([50256], False)


def test_special_tokens_spelled_out_are_plain_text() -> None:
    assert encode("<|endoftext|>", 1024)[0] == [27, 91, 437, 1659, 5239, 91, 29]


def test_lone_surrogates_are_replacement_characters() -> None:
    assert encode("a\ud800b") == encode("a\ufffdb")


def test_a_pair_of_surrogates_is_the_character_it_spells() -> None:
    assert encode("\ud83d\ude00") == encode("\U0001f600")


def test_what_is_beyond_the_limit_is_cut_and_said() -> None:
    assert encode("a b c", 3) == (encode("a b c")[0], False)
    assert encode("a b c", 2) == (encode("a b c")[0][:2], True)


@given(
    words=st.lists(
        st.one_of(st.text(min_size=1, max_size=12), st.sampled_from(["  ", "\n\n ", "\t", "'s", "\u00a0", "\x1f "])),
        min_size=1,
        max_size=30,
    )
)
def test_encoding_in_parts_changes_no_id(words: list[str]) -> None:
    text = "".join(words) * (PART * 3 // max(1, len("".join(words))) + 1)
    parts = list(tokenizer._parts(text))
    assert "".join(parts) == text
    longest_run = max(map(len, re.split(r"(?<=\S)[ \n\t\r]", text)))
    if longest_run < LONGEST_RUN - PART:
        assert encode(text)[0] == tokenizer._encoding().encode_ordinary(text)


@pytest.mark.parametrize(
    "text",
    ["a" * 10_000_000, "\u0301" * 100_000, " " * 2_000_000 + "a", "\ud800" * 1_000_000, "word " * 2_000_000],
    ids=["one letter", "combining marks", "blanks", "lone surrogates", "words"],
)
def test_giant_texts_fill_the_context_and_no_more(text: str) -> None:
    ids, truncated = encode(text, 1024)
    assert len(ids) == 1024
    assert truncated
    assert ids == encode(text[: LONGEST_RUN * 2], 1024)[0]
