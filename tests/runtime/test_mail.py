import gzip
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.inputs import Reader
from runtime.mail import html_to_text, mails, readable_text


def mail(subject: str = "Your prize", plain: str | None = "You won.", html: str | None = None) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = "someone@example.org"
    if plain is not None:
        message.set_content(plain)
    if html is not None:
        if plain is None:
            message.set_content(html, subtype="html")
        else:
            message.add_alternative(html, subtype="html")
    return message


def test_subject_and_body_are_the_text() -> None:
    assert readable_text(mail().as_bytes()) == ("Your prize\nYou won.", 0)


def test_plain_text_is_taken_where_html_says_the_same() -> None:
    assert readable_text(mail(html="<p>You <b>won</b>.</p>").as_bytes())[0] == "Your prize\nYou won."


def test_html_alone_becomes_text() -> None:
    html = "<head><title>t</title><style>p{}</style></head><p>You &amp; I<br>won</p><script>x()</script><!-- c -->"
    assert readable_text(mail(plain=None, html=html).as_bytes())[0] == "Your prize\nYou & I\nwon"


def test_html_is_taken_where_the_plain_text_is_empty() -> None:
    assert readable_text(mail(plain="\n", html="<p>Buy</p>").as_bytes())[0] == "Your prize\nBuy"


def test_attachments_are_ignored() -> None:
    message = mail()
    message.add_attachment("secret words", filename="a.txt")
    message.add_attachment(b"\x00\x01", maintype="application", subtype="pdf", filename="a.pdf")
    assert readable_text(message.as_bytes())[0] == "Your prize\nYou won."


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "windows-1252"])
@pytest.mark.parametrize("transfer", ["base64", "quoted-printable"])
def test_encodings_of_subject_and_body_are_undone(charset: str, transfer: str) -> None:
    message = EmailMessage()
    message["Subject"] = "Grüße"
    message.set_content("Schöne Grüße", charset=charset, cte=transfer)
    assert readable_text(message.as_bytes())[0] == "Grüße\nSchöne Grüße"


def test_bytes_that_are_not_in_their_charset_are_replaced_and_counted() -> None:
    raw = b"Subject: x\nContent-Type: text/plain; charset=utf-8\n\ncaf\xe9 \xff"
    assert readable_text(raw) == ("x\ncaf\ufffd \ufffd", 2)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", ""),
        (b"no header at all", "no header at all"),
        (b"Subject: =?utf-8?b?!!!?=\n\nbody", None),
        (b"Subject: =?nonsense?q?hi?=\n\nbody", None),
        (b"Content-Type: text/plain; charset=nonsense\n\nbody", "body"),
        (b"Content-Type: multipart/mixed\n\nno boundary", None),
        (b"Content-Type: multipart/mixed; boundary=x\n\n--x\n\npart\n--x\nContent-Type: text/html\n\n<p>open", None),
        (b"Content-Transfer-Encoding: base64\n\n!!! not base64 !!!", None),
        (b"Content-Type: ;;;=\nContent-Disposition: =?\n\nbody", None),
        (b"Content-Type: multipart/mixed; boundary=a\n\n--a\n" * 3000, None),
        (b"Content-Type: message/rfc822\n\n" * 3000, None),
        (b"Content-Type: text/html\n\n<![if !mso]><p>hi<![endif]><!broken <![CDATA[", None),
    ],
)
def test_broken_mime_is_survived(raw: bytes, expected: str | None) -> None:
    text, _ = readable_text(raw)
    assert expected is None or text == expected


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('a<img alt="x > y">b', "ab"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("<p>a<p>b<br/>c", "a\nb\nc"),
        ("a\n  b", "a b"),
        ("<SCRIPT>no</Script >yes", "yes"),
        ("a<!-- b --!> c --> d", "a d"),
        ("&lt;b&gt; &eacute;&#233;&#xe9;", "<b> ééé"),
        ("a<b", "a"),
        ("<!DOCTYPE html><?xml?>a", "a"),
    ],
)
def test_html_becomes_what_a_reader_sees(html: str, text: str) -> None:
    assert html_to_text(html) == text


@given(st.binary(max_size=400))
def test_any_bytes_are_a_mail(raw: bytes) -> None:
    readable_text(raw)
    readable_text(b"Subject: " + raw + b"\nContent-Type: text/html; charset=" + raw)
    readable_text(b'Content-Type: multipart/mixed; boundary="b"\n\n--b\n' + raw + b"\n--b--")


@given(st.text(alphabet="<>!/=-[]&;#x \"'pabdiv\n", max_size=200))
def test_any_html_becomes_text(html: str) -> None:
    html_to_text(html)


@pytest.mark.parametrize(
    "html",
    [
        "<" * 1_000_000,
        "<!--" * 250_000,
        "&" * 1_000_000,
        "<a " * 300_000,
        "<p>" * 300_000,
        '<a b="' * 200_000,
        "<title>" * 100_000,
        "&#" + "9" * 900_000,
    ],
)
def test_hostile_html_takes_no_time(html: str) -> None:
    html_to_text(html)


def test_an_mbox_is_split_into_its_mails(tmp_path: Path) -> None:
    box = b"".join(b"From x Mon\n" + mail(f"s{n}", ">From quoted\nFrom inside").as_bytes() + b"\n" for n in range(3))
    box = box.replace(b"\nFrom inside", b"\n>From inside").replace(b"\n>>From quoted", b"\n>>From quoted")
    for path, data in ((tmp_path / "a.mbox", box), (tmp_path / "b.mbox.gz", gzip.compress(box))):
        path.write_bytes(data)
        messages = list(Reader().read([str(path)]))
        assert [(m.text.splitlines()[0], m.row) for m in messages] == [("s0", 1), ("s1", 2), ("s2", 3)]
        assert "From inside" in messages[0].text.splitlines()


def test_a_from_line_within_a_paragraph_begins_no_mail() -> None:
    assert len(list(mails([b"From a\nSubject: x\n\nhello\nFrom here on\n"]))) == 1


def test_a_mail_file_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "m.eml").write_bytes(mail().as_bytes())
    assert [message.text for message in Reader().read([str(tmp_path / "m.eml")])] == ["Your prize\nYou won."]
