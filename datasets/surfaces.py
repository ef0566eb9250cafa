"""What a message looks like, whatever it says: has it a link, an amount, capitals, zero-width characters...

No class may have a surface that the other lacks, or a model would learn the surface and not what is wanted of the
reader. The patterns are made for many languages and are right for most messages, not for each.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Surface = Callable[[str], bool]
"""Whether a text has it."""

_LETTER = r"[^\W\d_]"
_CURRENCY = (
    r"(?:[$€£¥₹₦₽₺฿₫₱₩₪₴₵৳]|USD|EUR|GBP|CAD|AUD|NZD|CHF|INR|KES|NGN|ZAR|AED|SAR|PLN|CZK|HUF|RON|RUB|JPY|KRW|CNY|RMB|HKD|"
    r"SGD|MYR|IDR|THB|VND|PHP|SEK|NOK|DKK|TRY|GHS|UGX|USDT|BTC|Rs\.?|R\$|RM|Rp\.?|Tk\.?|K[Ss]h|TSh|kr\b|Kč|zł|Ft\b|lei\b|"
    r"лв|руб|грн|р\b|TL\b|din\b|元|块|塊|円|원|บาท|บ\.|đ|đồng|usdt)"
)
_THOUSANDS = r"\s?(?:k|K|mil|тыс\.?|만|천|백만|억|万|萬|億|rb|ribu|jt|juta|tr|triệu|nghìn|ngàn)?\s?"
_DOMAIN = (
    r"(?:com|net|org|info|biz|app|dev|link|xyz|top|shop|store|online|site|club|live|page|click|vip|cloud|example|"
    r"[a-z]{2})"
)
_STOP = re.compile(
    r"\bstop\b|unsub|opt[ -]?out|abmeld|abbestell|désabonn|desabonn|désinscri|darse de baja|date de baja|\bbaja\b|"
    r"desuscri|cancelar a (?:assinatura|inscrição)|descadastr|disiscri|disdici|afmeld|uitschrij|avregistrer|afmeld|"
    r"avsluta|wypisz|rezygn|odhlás|отпис|відпис|откаж|leiratkoz|dezabon|απεγγρ|διαγραφ|退订|退訂|配信停止|수신거부|berhenti|"
    r"huỷ đăng ký|hủy đăng ký|ยกเลิก|إلغاء|ايقاف|لغو|הסר|aboneliğ|iptal|बंद"
)


def _has(pattern: str, flags: re.RegexFlag = re.NOFLAG) -> Surface:
    compiled = re.compile(pattern, flags)
    return lambda text: compiled.search(text) is not None


def _says_how_to_stop(text: str) -> bool:
    # Many words, which are found thrice as fast in small letters as without regard to case.
    return _STOP.search(text.lower()) is not None


def _capitals(text: str) -> bool:
    return any(word.isupper() for word in re.findall(_LETTER + "{4,}", text))


def _no_capital(text: str) -> bool:
    # A link in Chinese has no capital either, which says nothing of the text.
    return text == text.lower() and sum(map(str.islower, text)) * 2 > sum(map(str.isalpha, text))


SURFACES: dict[str, Surface] = {
    "link": _has(rf"https?://|www\.|(?<![@\w])(?:[\w-]+\.)*[\w-]{{2,}}\.{_DOMAIN}(?=/|\b)", re.IGNORECASE),
    "link with a scheme": _has(r"https?://", re.IGNORECASE),
    "mail address": _has(r"[\w.+-]@[\w-]+\.\w"),
    "four digits in a row": _has(r"\d{4}"),
    "phone number": _has(r"\+?\d[\d ()-]{8,}\d"),
    "amount of money": _has(rf"{_CURRENCY}\s?\d|\d{_THOUSANDS}{_CURRENCY}"),
    "per cent": _has(r"\d\s?[%٪％]"),
    "time of day": _has(r"\b\d{1,2}[:：h]\d\d\b|\b\d{1,2}\s?[ap]\.?m\b|\d\s?(?:時|点|點|시)(?!間)", re.IGNORECASE),
    "date": _has(
        r"\b\d{1,2}[./-]\d{1,2}(?:[./-]\d{2,4})?\b|\d\s?(?:月|월)|\b\d{1,2}(?:st|nd|rd|th)?\.? (?:de )?(?:jan|feb|mar|"
        r"apr|may|mai|maj|jun|jul|aug|ago|sep|oct|okt|out|nov|dec|dez|dic)|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|"
        r"nov|dec)[a-z]* \d",
        re.IGNORECASE,
    ),
    "exclamation mark": _has(r"[!！‼❗]"),
    "question mark": _has(r"[?？؟\u037e]|;$"),
    "dots": _has(r"\.\.\.|…"),
    "word in capitals": _capitals,
    "no capital at all": _no_capital,
    "emoji": _has("[\U0001f300-\U0001faff\u2600-\u27bf]"),
    "several lines": _has("\n"),
    "line that says how to stop": _says_how_to_stop,
    "zero-width character": _has("[\u00ad\u180e\u200b\u2060-\u2064\ufeff]"),
    "styled letters": _has("[\U0001d400-\U0001d7ff\uff21-\uff3a\uff41-\uff5a\u249c-\u24e9\U0001f130-\U0001f189]"),
    "letters of two scripts in a word": _has("[a-zA-Z][\u0370-\u04ff]|[\u0370-\u04ff][a-zA-Z]"),
    "digits for letters": _has(r"\b[a-z]+[013457@$][a-z]{2,}\b|\b[a-z]{2,}[013457@$][a-z]+\b"),
    "letters apart": _has(rf"(?<!\w){_LETTER}(?:[ .*_-]{_LETTER}){{3,}}(?!\w)"),
    "greeting": _has(
        r"\A\W*(?:hi|hiya|hello|hey|dear|good (?:morning|afternoon|evening)|hola|buen|olá|oi|bom dia|bonjour|bonsoir|"
        r"salut|coucou|cher|chère|ciao|buon|gentile|hallo|guten|liebe|sehr geehrte|hoi|beste|goede|hej|hei|kære|cześć|"
        r"dzień|szanown|ahoj|dobrý|привет|здравств|добр|уважаем|привіт|merhaba|selam|sayın|halo|hai|selamat|chào|"
        r"xin chào|こんにちは|お世話|您好|你好|안녕|สวัสดี|สวัส|مرحب|السلام|سلام|नमस्ते|नमस्कार)",
        re.IGNORECASE,
    ),
}
"""By their names in the card."""

POINTS = 12
"""Points by which the shares of ham and of spam that have a surface may differ."""
ENOUGH = 200
"""Messages of a channel or language from which on they are compared: of fewer, chance alone makes 12 points."""
EVERYWHERE = "everywhere"
EXCEPTIONS: dict[tuple[str, str], tuple[int, str]] = {
    ("date", EVERYWHERE): (33, "ham tells appointments, bills and journeys; spam seldom names a day"),
    ("time of day", EVERYWHERE): (25, "the same"),
    ("link with a scheme", "mail"): (13, "firms' mail points to their own pages by whole addresses"),
    ("four digits in a row", "mail"): (14, "order, invoice and customer numbers are more of ham"),
    ("link", "sms"): (15, "the lure of most spam by SMS is its link"),
    ("greeting", "chat"): (18, "strangers greet, friends go on talking"),
    ("emoji", "comment"): (16, "giveaways and follow for follow are made of them"),
    ("four digits in a row", "Japanese"): (17, "most codes, booking numbers and dates in one are ham's"),
    ("link with a scheme", "Turkish"): (14, "firms write whole addresses, spam the domain alone"),
    ("no capital at all", "Vietnamese"): (21, "friends write without capitals and accents, firms and frauds do not"),
    ("amount of money", "Polish"): (19, "bank alerts, receipts and bills are more of ham than amounts are of spam"),
}
"""Surfaces that may be further apart, by name and channel or language: by how many points, and why."""
