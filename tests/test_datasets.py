"""The messages in ``datasets/`` are as their card says, and the check finds what is not."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

import check
import held_out
import pytest
from collection import Collection
from held_out import LANGUAGE, MESSAGE, THEME, TRAIN, HeldOut
from messages import FIELDS, Message, parse, read_written
from near import GROUP, alike, folded
from surfaces import EXCEPTIONS, SURFACES


def text(number: int) -> str:
    """A text of its own for each number: like no other."""
    draw = random.Random(number)
    return " ".join("".join(draw.choices("abcdefghijklmnoprstuvyz", k=draw.randint(3, 9))) for _ in range(9))


def message(number: int = 0, **changed: str) -> Message:
    fields = {"label": "ham", "theme": "work", "kind": "note", "language": "en", "channel": "chat"}
    return Message(**{**fields, "text": text(number), **changed})


def spam(number: int, **changed: str) -> Message:
    return message(number, label="spam", theme=changed.pop("theme", "sale"), **changed)


def placed(messages: Iterable[Message], file: str = "a.jsonl") -> dict[str, Message]:
    return {f"{file}:{number}": one for number, one in enumerate(messages, 1)}


def collection(*messages: Message) -> Collection:
    return Collection(placed(messages))


def half_spam(count: int, **changed: str) -> list[Message]:
    return [(spam if number % 2 else message)(number, **changed) for number in range(count)]


def test_the_messages_are_as_the_card_says(capsys: pytest.CaptureFixture[str]) -> None:
    code = check.main([])
    output = capsys.readouterr()
    assert output.err == ""
    assert code == 0
    assert "| zero-width character |" in output.out


def test_there_are_enough_messages_and_all_are_read() -> None:
    messages, problems = read_written()
    assert problems == []
    assert len(messages) >= 20_000
    lines = sum(path.read_bytes().count(b"\n") for path in check.FOLDER.glob("written/*.jsonl"))
    assert lines == len(messages)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"label": "Spam"}, "label 'Spam' is neither ham nor spam"),
        ({"theme": "loan"}, "theme 'loan' is not one that ham has"),
        ({"theme": "greetings"}, "theme 'greetings'"),
        ({"language": "fil"}, "language 'fil'"),
        ({"channel": "email"}, "channel 'email'"),
        ({"kind": " "}, "kind is empty or not a string"),
        ({"text": 5}, "text is empty or not a string"),
        ({"text": "a\ufffdb"}, "U+FFFD"),
        ({"text": "a\x07b"}, "U+0007"),
        ({"text": "a" * 6001}, "6,001 characters"),
        ({"id": "1"}, "not an object of the fields"),
    ],
)
def test_a_row_of_another_form_is_a_problem(tmp_path: Path, changed: dict[str, object], problem: str) -> None:
    good, bad = json.dumps(asdict(message())), json.dumps(asdict(message()) | changed)
    (tmp_path / "a.jsonl").write_text(f"{good}\n{bad}\n", encoding="utf-8")
    messages, problems = read_written(tmp_path)
    assert list(messages) == ["a.jsonl:1"]
    assert len(problems) == 1
    assert problems[0].startswith("a.jsonl:2: ")
    assert problem in problems[0]


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"label": "ham"}', b'{"text": "\xff"}'])
def test_a_line_that_is_no_message_is_a_problem(line: bytes) -> None:
    with pytest.raises(ValueError, match="not "):
        parse(line)


def test_a_text_may_hold_other_line_ends(tmp_path: Path) -> None:
    row = asdict(message(text="one\u2028two"))
    (tmp_path / "a.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    assert read_written(tmp_path) == ({"a.jsonl:1": Message(**row)}, [])


def test_pairs_that_are_alike_are_all_found() -> None:
    """Beside comparing every two."""
    draw = random.Random(3)
    texts = [text(number) for number in range(60)]
    texts += [" ".join(sorted(one.split(), key=lambda _: draw.random())[:8]) for one in texts]
    texts += [one[:40] for one in texts[:60]] + ["ok", "OK!", "ok", "好的", "明天下午三点在老地方见面好吗"]

    def runs(one: str) -> set[str]:
        one = folded(one).ljust(6, "\0")
        return {one[start : start + 6] for start in range(len(one) - 5)}

    expected = {}
    for later, second in enumerate(map(runs, texts)):
        for earlier, first in enumerate(map(runs, texts[:later])):
            if len(first & second) > 0.2 * len(first | second):
                expected[later, earlier] = len(first & second) / len(first | second)
    assert len(expected) > 60
    found = {(pair.later, pair.earlier): pair.similarity for pair in alike(texts, 0.2)}
    assert found == pytest.approx(expected)
    assert alike([], 0.2) == []


@pytest.mark.parametrize(
    ("second", "similarity"),
    [
        ("Your parcel 4471 waits at the depot in Mill Lane, pay 2.99 today", "repeats"),
        ("YOUR PARCEL 9082 waits  at the depot in Mill Lane, pay 5.10 today", "repeats"),
        ("Your par\u200bcel 4471 waits at the dep\u00adot in Mill Lane, pay 2.99 today", "repeats"),
        ("𝐘𝐨𝐮𝐫 parcel 4471 waits at the depot in Mill Lane, pay 2.99 today", "repeats"),
        ("Dear Ann, your parcel 4471 waits at the depot in Mill Lane, please pay now", "nearly ("),
    ],
)
def test_a_repeat_is_a_problem(second: str, similarity: str) -> None:
    first = "Your parcel 4471 waits at the depot in Mill Lane, pay 2.99 today"
    [problem] = check.repeats(collection(message(text=first), message(1), spam(2, text=second)))
    assert problem.startswith(f"a.jsonl:3: {similarity}")
    assert "a.jsonl:1" in problem


def test_messages_of_one_situation_are_no_repeats() -> None:
    first = "Your parcel 4471 waits at the depot in Mill Lane, pay 2.99 today"
    second = "The courier left it with Mrs Oduya at number 9. Nothing to pay, sign for it when she is in"
    assert list(check.repeats(collection(message(text=first), message(text=second)))) == []


def test_a_language_or_channel_of_one_class_is_a_problem() -> None:
    even = half_spam(40)
    assert list(check.shares_of_classes(collection(*even))) == []
    french = [message(100 + number, language="fr") for number in range(40)]
    [problem] = check.shares_of_classes(collection(*half_spam(100), *french))
    assert problem.startswith("French: 0% of 40 messages are spam")


def test_a_large_kind_of_one_class_is_a_problem() -> None:
    many = [spam(number, kind="hi mum") for number in range(251)]
    [problem] = check.kinds_of_one_class(collection(*many, message()))
    assert "'hi mum': all 251 are spam" in problem
    assert list(check.kinds_of_one_class(collection(*many[1:], message()))) == []
    assert list(check.kinds_of_one_class(collection(*many, message(kind="hi mum")))) == []


def test_much_longer_messages_of_one_class_are_a_problem() -> None:
    even = half_spam(200)
    assert list(check.lengths(collection(*even))) == []
    longer = [replace(one, text=one.text * 2) if one.label == "spam" else one for one in even]
    assert [problem.split(":")[0] for problem in check.lengths(collection(*longer))] == ["all", "chat", "English"]


@pytest.mark.parametrize("name", SURFACES)
def test_a_surface_of_one_class_is_a_problem(name: str) -> None:
    """13 of 100 messages of one class are 13 points, 12 are allowed."""
    plain = [replace(one, text=one.text.capitalize(), channel="form", language="sv") for one in half_spam(200)]
    assert list(check.surfaces(collection(*plain))) == unneeded()
    seen = "hej då vi ses" if name == "no capital at all" else "Hej. " + SEEN[name]
    if name == "greeting":
        seen = SEEN[name]

    def problems(count: int) -> list[str]:
        rows = [
            replace(one, text=seen) if number < 2 * count and number % 2 else one for number, one in enumerate(plain)
        ]
        return [problem for problem in check.surfaces(collection(*rows)) if f"have: {name};" in problem]

    allowed = max([12, *(points for where, (points, _) in EXCEPTIONS.items() if where == (name, "everywhere"))])
    assert problems(allowed) == []
    assert [problem.split(":")[0] for problem in problems(allowed + 1)] == ["all", "form", "Swedish"]


def unneeded() -> list[str]:
    """What is said of the exceptions for all groups where messages have none of their surfaces."""
    return [
        f"everywhere: the exception for: {name} is not needed any more: delete it"
        for name, group in EXCEPTIONS
        if group == "everywhere"
    ]


SEEN = {
    "link": "Se sida.nu/x",
    "link with a scheme": "https://sida.nu",
    "mail address": "info@sida.example",
    "four digits in a row": "Kod 4471",
    "phone number": "Ring 070 123 45 67",
    "amount of money": "Det kostar 45 kr",
    "per cent": "Nu 20 %",
    "time of day": "Kl 18:30",
    "date": "Den 4/11",
    "exclamation mark": "Ja!",
    "question mark": "Ja?",
    "dots": "Ja...",
    "word in capitals": "BRÅTTOM nu",
    "no capital at all": "",
    "emoji": "😀",
    "several lines": "a\nb",
    "line that says how to stop": "Svara STOP",
    "zero-width character": "gra\u200btis",
    "styled letters": "𝗴𝗿𝗮𝘁𝗶𝘀",
    "letters of two scripts in a word": "gr\u0430tis",
    "digits for letters": "gr4tis",
    "letters apart": "g r a t i s",
    "greeting": "Hej Anna",
}
"""A text with each surface."""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("link", "at 5.30 p.m. e.g. today.Then"),
        ("link", "write to info@bank.com"),
        ("word in capitals", "An SMS of the BBC"),
        ("word in capitals", "明天见"),
        ("no capital at all", "明天下午三点见 abc"),
        ("no capital at all", "Tomorrow"),
        ("zero-width character", "می\u200cخواهم"),
        ("digits for letters", "flat 4b, code 7k2"),
        ("letters apart", "I am at A. B. Ltd"),
        ("letters of two scripts in a word", "WhatsApp для всех"),
        ("time of day", "score 18 to 30"),
        ("greeting", "This is what he said: hello"),
    ],
)
def test_what_only_resembles_a_surface_is_none(name: str, text: str) -> None:
    assert not SURFACES[name](text)


NOTHING = HeldOut({"ham": ["bank"], "spam": ["loan"]}, ["el"], {}, {})


def in_part(part: str, start: int = 0) -> Message:
    """A message whose own text decides for a part."""
    return next(one for one in map(message, range(start, start + 1000)) if NOTHING.part(one) == part)


def test_themes_and_languages_are_held_out_whole() -> None:
    assert NOTHING.part(message(theme="bank")) == THEME
    assert NOTHING.part(spam(0, theme="bank")) != THEME
    assert NOTHING.part(spam(0, theme="loan", language="el")) == THEME
    assert NOTHING.part(spam(0, language="el")) == LANGUAGE


def test_one_message_in_17_is_held_out() -> None:
    messages = [message(number, text=f"message {number}") for number in range(5000)]
    parts = [NOTHING.part(one) for one in messages]
    assert set(parts) == {TRAIN, MESSAGE}
    assert parts.count(MESSAGE) == pytest.approx(300, abs=60)


def test_each_message_is_trained_on_or_held_out_for_a_reason() -> None:
    messages = list(read_written()[0].values())
    parts = dict.fromkeys(held_out.PARTS, 0)
    for part in held_out.parts(messages):
        parts[part] += 1
    assert min(parts.values()) > 100
    assert parts[MESSAGE] == pytest.approx(0.06 * (parts[TRAIN] + parts[MESSAGE]), rel=0.15)


def extended(messages: dict[str, Message], before: HeldOut = NOTHING) -> HeldOut:
    return held_out.extended(messages, alike([one.text for one in messages.values()], GROUP), before)


@pytest.mark.parametrize(("first", "second"), [(TRAIN, MESSAGE), (MESSAGE, TRAIN)])
def test_messages_that_are_alike_follow_the_first_of_them(first: str, second: str) -> None:
    leader = in_part(first)
    follower = next(
        one
        for number in range(1000)
        if NOTHING.part(one := replace(leader, text=f"{leader.text} {text(number)[:9]}")) == second
    )
    after = extended(placed([leader, follower, in_part(second, 2000)]))
    assert [after.part(one) for one in (leader, follower, in_part(second, 2000))] == [first, first, second]
    # The other way round, the other is first.
    assert extended(placed([follower, leader])).part(leader) == second


def test_what_is_like_a_message_of_a_held_out_theme_is_trained_on() -> None:
    held = in_part(MESSAGE)
    assert extended(placed([held, replace(held, text=held.text + " now", theme="bank")])).part(held) == TRAIN


def test_new_messages_move_none_and_follow_those_that_they_are_like() -> None:
    old = [in_part(MESSAGE), in_part(TRAIN), in_part(MESSAGE, 3000)]
    before = extended(placed(old, "b.jsonl"))
    new = [replace(one, text=one.text + " today") for one in old] + [replace(old[1], text="now " + old[1].text)]
    bridge = replace(old[0], text=f"{old[0].text} {old[1].text}")
    for file in ("a.jsonl", "c.jsonl"):
        messages = dict(sorted({**placed(old, "b.jsonl"), **placed([*new, bridge], file)}.items()))
        after = extended(messages, before)
        assert [after.part(one) for one in old] == [before.part(one) for one in old]
        assert [after.part(one) for one in new] == [MESSAGE, TRAIN, MESSAGE, TRAIN]
        assert extended(messages, after) == after


def test_messages_that_are_alike_on_two_sides_are_a_problem() -> None:
    held, trained = in_part(MESSAGE), in_part(TRAIN)
    like_both = replace(held, text=f"{held.text} {trained.text}")
    three = Collection(placed([held, trained, like_both]))
    [problem] = check.sides(three, extended(three.placed, extended(placed([held, trained]))))
    assert "a.jsonl:3 is like a.jsonl:" in problem
    assert list(check.sides(collection(held, trained), extended(placed([held, trained])))) == []


def test_messages_that_held_out_does_not_know_are_a_problem() -> None:
    [problem] = check.sides(collection(in_part(TRAIN)), NOTHING)
    assert "held_out.json does not know all messages" in problem


def folder(path: Path, messages: list[Message]) -> Path:
    """A folder of messages in which nothing is wrong but that there are few."""
    for name in ("written", "public"):
        (path / name).mkdir()
    lines = [json.dumps(asdict(one), ensure_ascii=False) for one in messages]
    (path / "written" / "a.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (path / "held_out.json").write_text(json.dumps(asdict(extended(placed(messages)))), encoding="utf-8")
    (path / "README.md").write_text("| `a.jsonl` | all |\n<!-- tables --><!-- /tables -->\nEnd.", encoding="utf-8")
    (path / "public" / "README.md").write_text("", encoding="utf-8")
    return path


def test_the_card_is_made_by_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder(tmp_path, half_spam(20))
    assert check.main([], path) == 1
    assert capsys.readouterr().err == "README.md has other tables: run `python datasets/check.py --card`\n"
    assert check.main(["--card"], path) == 0
    card = (path / "README.md").read_text(encoding="utf-8")
    assert "20 messages, 50.0% of them spam, in 1 languages and of 1 kinds." in card
    assert "| English | en | 10 | 10 |" in card
    assert "| chat | 10 | 10 |" in card
    assert card.endswith("\nEnd.")
    assert check.main([], path) == 0


def test_a_file_that_the_card_does_not_name_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder(tmp_path, half_spam(20))
    (path / "README.md").write_text("<!-- tables --><!-- /tables -->", encoding="utf-8")
    assert check.main(["--card"], path) == 1
    assert capsys.readouterr().err == "README.md does not say what a.jsonl is\n"


def test_every_problem_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder(tmp_path, half_spam(20))
    with (path / "written" / "a.jsonl").open("a", encoding="utf-8") as file:
        file.write("{\n" + json.dumps(asdict(message(2))) + "\n")
    assert check.main(["--card"], path) == 1
    problems = capsys.readouterr().err.splitlines()
    assert [problem.split(" ")[0] for problem in problems] == ["a.jsonl:21:", "a.jsonl:22:", "held_out.json"]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([{"label": "ham", "text": "a", "theme": "sms"}], "its card should say: 1 (0), SHA-256 "),
        ([{"label": "ham", "text": "a", "theme": "sms"}] * 2, "texts are repeated"),
        ([{"label": "ham", "text": "a" * 3001, "theme": "sms"}], "a row is not of the card's form"),
        ([{"label": "ham", "text": "a"}], "a row is not of the card's form"),
    ],
)
def test_a_public_set_that_is_not_its_cards_is_a_problem(tmp_path: Path, rows: list[object], problem: str) -> None:
    (tmp_path / "README.md").write_text("| `x.jsonl.gz` | 5 (1) | mail | `" + "0" * 64 + "` |", encoding="utf-8")
    content = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(content.encode(), mtime=0))
    assert any(problem in found for found in check.public_sets(tmp_path))


def test_the_fields_are_those_that_are_documented() -> None:
    card = (check.FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in card for name in FIELDS)


def test_public_sets_have_no_time_in_their_headers() -> None:
    """So that the same messages give the same bytes."""
    paths = list(check.FOLDER.glob("public/*.jsonl.gz"))
    assert len(paths) == 8
    assert {path.read_bytes()[3:8] for path in paths} == {bytes(5)}
    assert sum(path.stat().st_size for path in paths) < 9_000_000
