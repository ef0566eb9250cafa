"""The model inside the package: what works right after a base install."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from held_out import MESSAGE, parts
from messages import read_written

from runtime import SpamClassifier
from runtime.model_file import SHIPPED
from tests.disguises import DISGUISES

ROOT = Path(__file__).parents[2]
SPAM = "WINNER!! You have been selected for a £1000 prize. Call 09061701461 now to claim. Txt STOP to end"
HAM = "I'm running late, can you pick up the kids at five? I'll make dinner"


@pytest.fixture(scope="module")
def shipped() -> SpamClassifier:
    return SpamClassifier(threads=1)


def test_it_is_small_and_its_card_is_beside_it() -> None:
    assert SHIPPED.stat().st_size <= 16_000_000
    card = (SHIPPED.parent / "README.md").read_text()
    assert "learn.jsonl" in card and "Thresholds" in card


def test_it_knows_spam_from_ham_with_good_reason(shipped: SpamClassifier) -> None:
    spam, ham = shipped.verdicts([SPAM, HAM])
    assert (spam.label, ham.label) == ("spam", "ham")
    assert spam.score > 0.95 and ham.score < 0.25


def test_it_knows_what_it_is_for(shipped: SpamClassifier) -> None:
    assert {"sms", "mail", "chat", "comment"} <= set(shipped.spec.channels)
    assert shipped.spec.fold == "reader-1"


def test_it_is_right_on_messages_of_today_that_it_never_saw(shipped: SpamClassifier) -> None:
    placed, _ = read_written()
    messages = [message for message in placed.values() if parts([message]) == [MESSAGE]]
    spam = np.array([message.label == "spam" for message in messages])
    called = np.array([verdict.label == "spam" for verdict in shipped.verdicts(message.text for message in messages)])
    assert len(messages) > 1000
    assert called[~spam].mean() < 0.05, "ham called spam"
    assert called[spam].mean() > 0.6, "spam caught"


@pytest.mark.parametrize("style", ["fullwidth", "mathematical_bold", "sans_serif_bold", "circled", "squared"])
def test_styled_letters_change_no_verdict(shipped: SpamClassifier, style: str) -> None:
    texts = [SPAM, HAM]
    styled = [DISGUISES[style](text, random.Random(1)) for text in texts]
    assert styled != texts and shipped.predict(styled) == shipped.predict(texts)


def test_a_text_like_nothing_it_has_seen_is_ham(shipped: SpamClassifier) -> None:
    assert shipped.predict(["ᚠᛇᚻ᛫ᛒᛦᚦ᛫ᚠᚱᚩᚠᚢᚱ", "qzxv jkwq vvxq zzkq", "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ"]) == ["ham"] * 3


@pytest.mark.parametrize(
    "disguise",
    [
        lambda text: text.replace("a", "а").replace("e", "е").replace("o", "о"),  # Cyrillic
        lambda text: text.replace("i", "i\u200b").replace("e", "e\u200d"),
        lambda text: text.replace("prize", "p r i z e").replace("selected", "s e l e c t e d"),
        lambda text: text.replace("e", "3").replace("i", "1").replace("o", "0"),
        str.lower,
    ],
    ids=["look-alike", "zero-width", "spaced", "leet", "lower case"],
)
def test_disguised_spam_is_spam(shipped: SpamClassifier, disguise: object) -> None:
    assert callable(disguise)
    assert shipped.verdict(disguise(SPAM)).label == "spam"


def test_a_message_has_the_same_bits_in_any_company(shipped: SpamClassifier) -> None:
    texts = [SPAM, HAM, "ok", "", "Ok " * 90, "日本語", "see you at 5", SPAM[:40]] * 5
    alone = np.concatenate([shipped.logits([text]) for text in texts])
    assert np.array_equal(shipped.logits(texts), alone)
    assert np.array_equal(shipped.logits(texts[::-1])[::-1], alone)


def test_the_command_needs_no_model(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "SPAM_EDGE_MODEL"}
    done = subprocess.run(
        [Path(sys.executable).parent / "spam-infer", ROOT / "examples" / "inbox.txt", "--format", "jsonl"],
        capture_output=True, text=True, cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == 20
