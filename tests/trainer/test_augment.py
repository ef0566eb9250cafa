"""Altered and remixed messages: by chance, but the same chance every time."""

import random
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from trainer.augment import INVISIBLE, altered, disguised, epoch_texts
from trainer.distill import remix, taught
from trainer.evaluation.labelled import Messages
from trainer.spelling import skeleton

ALWAYS = partial(altered, disguise=1)
TEXTS = ["Call 0900 123 456 now and win a prize", "see you at noon", "ok", "Ünïcode 日本語 🎉"]


@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=4), st.integers(0, 100))
def test_no_message_is_lost_and_an_epoch_sees_the_same_every_time(texts: list[str], epoch: int) -> None:
    change = partial(altered, disguise=0.5)
    seen = epoch_texts(texts, epoch, share=1, change=change, seed=1)
    assert len(seen) == len(texts)
    assert all(text.strip() for text in seen)
    assert seen == epoch_texts(texts, epoch, share=1, change=change, seed=1)


def test_every_epoch_sees_other_changes_and_a_share_of_none_sees_none() -> None:
    first, second = (epoch_texts(TEXTS, epoch, share=1, change=ALWAYS, seed=1) for epoch in (0, 1))
    assert first != second
    assert epoch_texts(TEXTS, 0, share=0, change=ALWAYS, seed=1) == TEXTS


def test_about_the_share_that_is_asked_for_is_altered() -> None:
    texts = ["Call 0900 123 456 now and win a prize"] * 2000
    changed = [
        sum(
            a != "" and a != b
            for a, b in zip(texts, epoch_texts(texts, 0, share=share, change=ALWAYS, seed=1), strict=True)
        )
        for share in (0.25, 1)
    ]
    assert 0.2 < changed[0] / 2000 < 0.3 and changed[1] / 2000 > 0.9


@given(st.integers(0, 10_000))
def test_a_disguise_can_be_read(seed: int) -> None:
    """Without what is invisible or stands between letters, most letters are the old ones or look like them."""
    text = "congratulations you have won a holiday"
    plain = "".join(c for c in skeleton(disguised(text, random.Random(seed))) if c not in INVISIBLE + " .-_*")
    assert len(plain) in range(len(text.replace(" ", "")), len(text.replace(" ", "")) + 4)
    alike = {
        "0": "o",
        "1": "il",
        "3": "e",
        "4": "a",
        "5": "s",
        "7": "t",
        "8": "b",
        "9": "g",
        "2": "z",
        "@": "a",
        "$": "s",
        "!": "i",
        "|": "l",
    }
    right = sum(new == old or old in alike.get(new, "") for new, old in zip(plain, text.replace(" ", ""), strict=False))
    assert right > 0.8 * len(plain)


def test_remixed_messages_are_made_of_words_of_the_training_messages() -> None:
    messages = Messages(tuple(TEXTS), (1, 0, 0, 0))
    words = {word for text in TEXTS for word in text.split()}
    remixed = remix(messages, 300, 7)
    assert len(remixed) == 300 and all(remixed)
    assert {word for text in remixed for word in text.split()} <= words
    assert len(set(remixed)) > 100 and set(remixed) - set(TEXTS)
    assert remixed == remix(messages, 300, 7) != remix(messages, 300, 8)
    assert not set(remix(messages, 300, 7, epoch=1)) >= set(remixed)  # every epoch has its own


def test_what_is_taught_follows_the_teachers_and_known_labels_stay() -> None:
    import numpy as np

    targets = taught((1, 0), [np.array([4.0, -9.0])] * 2, [np.array([-1.0, -9.0]), np.array([-3.0, -9.0])])
    assert targets.shape == (4, 2) and np.allclose(targets.sum(1), 1)
    assert targets[0, 1] > 0.9 > 0.1 > targets[1, 1]
    assert np.isclose(targets[2, 1], 1 / (1 + np.exp(-(0.5 * 4 - 0.5 * 2))))
    assert targets[3, 1] < 0.001
