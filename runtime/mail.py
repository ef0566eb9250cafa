"""The readable text of a mail: its subject and body, however broken its MIME is."""

from __future__ import annotations

import contextlib
import email
import email.policy
import re
from collections.abc import Iterable, Iterator
from email.header import decode_header
from email.message import Message as Mail
from html import unescape

LARGEST_MAIL = 64 << 20
"""What is beyond so many bytes of one mail is not read."""

LARGEST_HTML = 1 << 20
"""Characters of one HTML part that are read; a context is filled by far fewer."""

_TAG = re.compile(r"<(/?[a-zA-Z][^\s/<>]*)")
_WHOLE_TAG = re.compile(r"""<[^<>"']*(?:"[^"<]*"[^<>"']*|'[^'<]*'[^<>"']*)*>""")
_UNREAD = {name: re.compile(f"</{name}", re.IGNORECASE) for name in ("script", "style", "title", "template")}
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
    try:
        mail = email.message_from_bytes(raw, policy=email.policy.compat32)
        parts = list(_text_parts(mail))
    except RecursionError:  # parts in parts in parts
        return _text(raw, "utf-8")
    texts, replaced = [_subject(mail)], 0
    for part in parts:
        text, bad = _decoded(part)
        replaced += bad
        texts.append(html_to_text(text) if part.get_content_subtype() == "html" else text.strip())
    return "\n".join(text for text in texts if text), replaced


def html_to_text(html: str) -> str:
    """What a reader sees of an HTML page: no tags, scripts or styles; blocks become lines.

    Takes time in proportion to the length, whatever the HTML: `html.parser` takes the square of it on unclosed tags.
    """
    text = "".join(_visible(html[:LARGEST_HTML]))
    with contextlib.suppress(ValueError):  # a character number with thousands of digits
        text = unescape(text)
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def _visible(html: str) -> Iterator[str]:
    """The text between the tags. What is not closed reaches to the end, as in a browser."""
    at = 0
    while (start := html.find("<", at)) >= 0:
        yield html[at:start].replace("\n", " ")
        tag = _TAG.match(html, start)
        if tag is None and html[start + 1 : start + 2] not in ("!", "?", "/"):
            yield "<"
            at = start + 1
            continue
        if html.startswith("<!--", start):
            at = html.find("-->", start) + 3
        else:
            whole = _WHOLE_TAG.match(html, start)
            at = whole.end() if whole else html.find(">", start) + 1
        name = tag[1].lower() if tag else ""
        if name in _UNREAD and at > start:
            end = _UNREAD[name].search(html, at)
            at = end.start() if end else 0
        if at <= start:
            return
        if name.removeprefix("/") in _BLOCKS:
            yield "\n"
    yield html[at:].replace("\n", " ")


def _subject(mail: Mail) -> str:
    """Decoded as far as it can be."""
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
    """Decode, and count what had to be replaced. What is not in the charset it claims may be UTF-8 all the same."""
    for encoding, errors in ((charset, "strict"), ("utf-8", "strict"), (charset, "replace")):
        with contextlib.suppress(LookupError, ValueError):
            text = raw.decode(encoding, errors)
            return text, text.count("\ufffd") if errors == "replace" else 0
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
