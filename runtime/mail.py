"""The readable text of a mail: its subject and body, however broken its MIME is."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Iterable, Iterator
from email.header import decode_header
from email.message import Message as Mail
from html.parser import HTMLParser

LARGEST_MAIL = 64 << 20
"""What is beyond so many bytes of one mail is not read."""

LARGEST_HTML = 1 << 20
"""Characters of one HTML part that are read; a context is filled by far fewer."""

_UNREAD = frozenset({"script", "style", "head", "template", "noscript"})
_BLOCKS = frozenset({"p", "div", "br", "tr", "li", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "hr"})


def mails(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Split an mbox (RFC 4155, ``From `` quoted as ``>From ``) into its mails."""
    kept: list[bytes] = []
    size = 0
    blank = True
    started = False
    for line in _byte_lines(chunks):
        if blank and line.startswith(b"From "):
            if started:
                yield b"".join(kept)
            kept, size, started, blank = [], 0, True, False
            continue
        started = started or bool(line.strip())
        blank = not line.strip(b"\r\n")
        if size < LARGEST_MAIL:
            kept.append(re.sub(rb"^>(>*From )", rb"\1", line))
            size += len(line)
    if started:
        yield b"".join(kept)


def readable_text(raw: bytes) -> tuple[str, int]:
    """Subject and body of a mail, and how many of its bytes were not in the encoding they claim.

    Of alternatives the plain text is taken, else the HTML without its tags. Attachments are ignored; so is what cannot
    be decoded as text at all. Never raises: the worst mail is an empty text.
    """
    mail = email.message_from_bytes(raw, policy=email.policy.compat32)
    texts, replaced = [], 0
    subject = _header(mail)
    if subject:
        texts.append(subject)
    for part in _text_parts(mail):
        text, bad = _decoded(part)
        replaced += bad
        if part.get_content_subtype() == "html":
            text = html_to_text(text)
        texts.append(text.strip())
    return "\n".join(text for text in texts if text), replaced


def html_to_text(html: str) -> str:
    """What a reader sees of an HTML page: no tags, scripts or styles; blocks become lines."""
    page = _Page()
    try:
        page.feed(html[:LARGEST_HTML])
        page.close()
        text = "".join(page.texts)
    except AssertionError:  # html.parser gives up on some broken declarations
        text = re.sub(r"<[^<>]*>", " ", html[:LARGEST_HTML])
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.texts: list[str] = []
        self._unread = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in _UNREAD:
            self._unread += 1
        elif tag == "body":
            self._unread = 0
        elif tag in _BLOCKS:
            self.texts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNREAD and self._unread:
            self._unread -= 1
        elif tag in _BLOCKS:
            self.texts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._unread:
            self.texts.append(data.replace("\n", " "))


def _header(mail: Mail) -> str:
    """The subject, decoded as far as it can be."""
    raw = mail.get("Subject", "")
    parts = []
    try:
        for part, charset in decode_header(str(raw)):
            parts.append(part if isinstance(part, str) else _text(part, charset or "utf-8")[0])
    except (ValueError, LookupError, email.errors.MessageError):
        return str(raw)
    return " ".join("".join(parts).split())


def _text_parts(mail: Mail) -> Iterator[Mail]:
    """The parts of a mail that are its text."""
    parts = [part for part in mail.walk() if not part.is_multipart()]
    inline = [part for part in parts if part.get_content_maintype() == "text" and not _is_attachment(part)]
    plain = [part for part in inline if part.get_content_subtype() != "html"]
    # HTML beside plain text is another form of it, not more of it.
    yield from plain if any(_decoded(part)[0].strip() for part in plain) else inline


def _is_attachment(part: Mail) -> bool:
    try:
        return part.get_content_disposition() == "attachment" or part.get_filename() is not None
    except (ValueError, LookupError, TypeError):
        return False


def _decoded(part: Mail) -> tuple[str, int]:
    try:
        payload = part.get_payload(decode=True)
    except (ValueError, LookupError, TypeError):
        payload = part.get_payload()
    if isinstance(payload, str):
        return payload, 0
    if not isinstance(payload, bytes):
        return "", 0
    try:
        charset = part.get_content_charset("utf-8")
    except (ValueError, LookupError, TypeError):
        charset = "utf-8"
    return _text(payload, charset)


def _text(raw: bytes, charset: str) -> tuple[str, int]:
    """Decode, and count what had to be replaced; an unknown charset is read as UTF-8."""
    try:
        return raw.decode(charset), 0
    except (LookupError, ValueError):
        text = raw.decode("utf-8", "replace")
        return text, text.count("\ufffd")


def _byte_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines with their ends; a line of any length."""
    rest: list[bytes] = []
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        rest.append(first)
        if others:
            yield b"".join(rest) + b"\n"
            for line in others[:-1]:
                yield line + b"\n"
            rest = [others[-1]]
    if any(rest):
        yield b"".join(rest)
