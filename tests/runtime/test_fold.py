"""A text is folded as its reader reads it: disguises are undone, and what people write stays."""

import json
import random
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.encoding import encode_message
from runtime.fold import fold, latin_letters, look_alikes
from runtime.spec import ClassifierSpec
from runtime.tokenizer import encode
from tests.disguises import DISGUISES, Disguise

SENTENCES = (
    "CONGRATULATIONS! You WIN a FREE prize today - call 0900 123 456 and keep it all, my friend.",
    "Dear customer, your account has been LOCKED. Confirm the code 48213 within 24 hours or lose access for good",
)


@pytest.mark.parametrize("disguise", DISGUISES.values(), ids=DISGUISES)
def test_a_disguised_sentence_folds_back_to_it(disguise: Disguise) -> None:
    for sentence in SENTENCES:
        for seed in range(3):
            disguised = disguise(sentence, random.Random(seed))
            if disguised != sentence:  # the second sentence has no hyphen
                assert fold(disguised) == sentence
    assert disguise(SENTENCES[0], random.Random(0)) != SENTENCES[0]


UNHARMED = {
    "English": "It’s 5 o’clock – “tea” costs £4.50",
    "accents": "Zoë Müller, Łukasz Żak, Đorđe Šćepanović, İbrahim Işık, Søren Ångström, Þór, François œuvre",
    "Vietnamese": "Tiệm Bánh Mây tròn 5 tuổi, tặng thành viên mã giảm 50.000đ nhé!",
    "Yoruba": "Ẹ kú àárọ̀, ọ̀rẹ́ mi, ẹ̀kọ́ ti bẹ̀rẹ̀",
    "Akan": "Ɛyɛ me dɛ sɛ woaba, Kɔfi. Ɔkɔ fie",
    "Ewe": "Ŋdi na mi, ƒe ɖeka ʋu",
    "phonetics": "say ɹʌn",
    "Lithuanian": "Žmogų̃ mylì̇́",
    "transliteration": "saṃskṛtam, r̥ṣi, ḥadīth, ʻOkina",
    "Russian": "Привет! Ура, всё хорошо, а у нас снег. Оплата картой VISA, код 4417, скачай WhatsApp",
    "one Russian letter": "Да, а я в Wi-Fi",
    "Russian endings": "Пришли SMSку или PDFом, VIPы в IT-отделе, HTTPшный iPhoneа",
    "laughter": "хахаха lol this is so good",
    "short Russian": "ура, ok",
    "Ukrainian": "Ти де? Ґанок, їжа, Єва, 10 грн у Monobank",
    "Serbian Cyrillic": "Његова љубав, ћирилица и џемпер: Ја сам код Ане, зови ме",
    "Serbian Latin": "Njegova ljubav, ćirilica i džemper, a Љубав je ljubav",
    "Macedonian": "Ѕвезда, ќе одам, ѓубре, џин",
    "Kazakh": "Қазақ тілі, әріп, ғалым, ұлт, үй, һәм, өмір, іні",
    "Greek": "Καλημέρα! Ο λογαριασμός της ΔΕΗ είναι 58,20 €. Στείλε SMS ή email στο OTE",
    "polytonic Greek": "ᾧ τινι, ἀρχὴ ἦν ὁ λόγος",
    "formulas": "5 μg, 3 kΩ, Δt = 2 s, α-tocopherol, ρgh, sinθ, 4 μA, ΔE, πr, μTorrent, Ωm, β1, cosα",
    "Coptic": "ⲡⲛⲟⲩⲧⲉ ⲡⲉ",
    "Armenian": "Բարև ձեզ, ինչպես եք։ Հասցեն՝ Երևան, Wi-Fi կա",
    "Georgian": "გამარჯობა, როგორ ხარ? ანგარიში 45 ლარი",
    "Cherokee": "ᎣᏏᏲ, ᏙᎯᏧ? ᏩᏙ",
    "Hebrew": "שלום, בגיליון 52 של המגזין, הWhatsApp שלי וGoogle",
    "vowel points": "בְּרֵאשִׁית בָּרָא אֱלֹהִים",
    "Arabic": "السَّلامُ عليكم، الرصيد ١٢٣٤ ريال، حمّل WhatsApp من App Store",
    "Persian": "می‌خواهم کتاب‌ها را بخرم، قیمت ۱۲۳۴۵ تومان، تاریخ ۱۴۰۳/۰۵/۰۲ یا 2024",
    "Urdu": "آپ کا بل ۴۵۰ روپے ہے، JazzCash سے ادا کریں",
    "Hindi": "आपका बिल ₹४५० है, क्‍या आप भुगतान करेंगे? UPI से करें",
    "Marathi": "दऱ्‍या, तर्‍हा",
    "Bengali": "আপনার র‍্যাম ৮ জিবি, মূল্য ৳৪৫০",
    "Tamil": "வணக்கம், உங்கள் OTP 4417",
    "Telugu": "నమస్కారం, మీ బిల్లు ₹450",
    "Kannada": "ನಮಸ್ಕಾರ, ನಿಮ್ಮ ಬಿಲ್",
    "Malayalam": "ഞാന്‍ അവന്‍റെ വീട്ടില്‍ പോയി",
    "Sinhala": "ශ්‍රී ලංකාව, ඔබේ බිල රු. 450",
    "Thai": "ทำไมน้ำแพง ราคา ๑๒๓ บาท ใช้ LINE ได้",
    "Khmer": "ខ្ញុំ​សុំ​ទោស",
    "Burmese": "မင်္ဂလာပါ ၁၂၃ ကျပ်",
    "Tibetan": "བཀྲ་ཤིས་བདེ་ལེགས། ཧཱུྃ",
    "Amharic": "ሰላም፣ ሂሳብዎ 450 ብር ነው",
    "Mongolian": "ᠮᠣᠩᠭᠣᠯ᠎ᠠ",
    "Chinese": "您的AI助手升级到iOS版了，点击App查看“套餐”。",
    "Japanese": "Tシャツを2枚、AとBで。ニコニコ動画へ。PCがON",
    "Korean": "안녕하세요 ㅋㅋㅋ ㅠㅠ ㅇㅇ 카톡으로 PDF 보내요 ㅡㅡ",
    "emoji": "👩‍👩‍👧 👩🏽‍💻 ❤️ ☎️ 1️⃣2️⃣ #️⃣ 🏳️‍🌈 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🇬🇧🇺🇸 👍🏽 ©️ ℹ️ ‼️ 🅰️ 🆓 🫠",
    "faces": "¯\\_(ツ)_/¯ (´▽`ʃ♡ƪ) (๑˃̵ᴗ˂̵)و ʕ•ᴥ•ʔ thanks",
    "fractions": "2½ cups, ¾ mile, ⅓",
    "line breaks": "é\r\na\n\n\tb\u2028c",
    "quoted": "He said “µ is mu” and «да»: ‘no’ 5′",
}


@pytest.mark.parametrize("text", UNHARMED.values(), ids=UNHARMED)
def test_what_people_write_stays_as_it_is_but_for_nfkc(text: str) -> None:
    assert fold(text) == text.translate({ord("µ"): "μ", ord("，"): ",", ord("？"): "?"})


RULES = {
    "full width": ("ＡＢＣ　１２３", "ABC 123"),
    "half width": ("ｶﾞﾝﾀﾞﾑ ﾟ", "ガンダム ゚"),
    "ligatures": ("ﬁnd oﬃce ﷲ", "find office الله"),
    "a word of look-alikes": ("Your раураӏ is on hold", "Your paypal is on hold"),
    "a host of look-alikes": ("Вход: https://раураӏ.com/вход", "Вход: https://paypal.com/вход"),
    "Latin letters in a Cyrillic word": ("Cкидкa на всё, ещë paз", "Скидка на всё, ещё раз"),
    "Latin letters in a Greek word": ("Καλημέρα, η oφeιλή σας", "Καλημέρα, η οφειλή σας"),
    "letters that only resemble others": ("мy кeyвoard, FЯЕЕ", "my keyboard, FREE"),
    "three scripts in a word": ("ρауΡаl login", "payPal login"),
    "Greek inside words": ("pαypαl, cαsh, yoυ", "paypal, cash, you"),
    "two systems of digits": ("١2٣", "123"),
    "digits by their look": ("৪00 call now", "800 call now"),
    "digits in Latin text": ("call ٠٩٠٠ now", "call 0900 now"),
    "a letter among digits": ("звони 9З1 или 7З2", "звони 931 или 732"),
    "an I after a small letter": ("your paypaІ and ІBAN", "your paypal and IBAN"),
    "accents that a letter brings along": ("Oᾚen", "OHen"),
    "between Latin letters": ("gססgle g๐๐gle", "google google"),
    "flags that are none": ("🇫🇷🇪🇪🇲", "FREEM"),
    "letters of flags apart": ("🇨\u200b🇦\u200b🇸\u200b🇭", "CASH"),
    "squared emoji as a word": ("🅱️🅰️🅽🅺 but 🅱️", "BANK but 🅱️"),
    "parentheses of one letter": ("⒜ first", "(a) first"),
    "hyphens": ("555‑0103", "555-0103"),
    "syllables by their letters": ("ㅋㅏ톡 ㅁㅏㄴ남 ㅋㅋㅠㅠ", "카톡 만남 ㅋㅋㅠㅠ"),
    "an override over Hebrew": ("\u202eשלום\u202c", "שלום"),
    "a Hebrew word backwards": ("\u202dםולש\u202c", "שלום"),
    "mirrored brackets": ("\u202e(1) eerf\u202c", "free (1)"),
    "an override ends with its line": ("\u202eba\ncd", "ab\ncd"),
    "an override inside an isolate": ("a \u2066\u202ecb\u2069 d", "a bc d"),
    "words upside down among others": ("see ǝǝɹɟ ʎɐpoʇ now", "see today free now"),
    "words that could be upside down": ("so ǝǝɹɟ ʎɐpoʇ on you", "so today free on you"),
    "style selector on a picture": ("😀\ufe0f ❤\ufe0f\ufe0f", "😀 ❤\ufe0f"),
    "a joiner that joins nothing": ("کتاب\u200c ها", "کتاب ها"),
    "a second joiner": ("می\u200c\u200cخواهم", "می\u200cخواهم"),
    "marks without a letter": ("\u0301", "\u0301"),
    "blank on blank": ("a\u2003\u00a0b", "a  b"),
    "only what is not seen": ("\u200b\u2060\u202e\ufeff", ""),
}


@pytest.mark.parametrize(("text", "folded"), RULES.values(), ids=RULES)
def test_each_rule(text: str, folded: str) -> None:
    assert fold(text) == folded


def letters(*ranges: tuple[int, int]) -> str:
    points = (point for first, last in ranges for point in range(first, last + 1))
    return "".join(chr(p) for p in points if unicodedata.category(chr(p))[0] == "L")


SCRIPTS = {
    "Latin": letters((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x17E), (0x1E00, 0x1EF9)),
    "Cyrillic": letters((0x400, 0x45F), (0x48A, 0x4FF)),
    "Greek": letters((0x386, 0x3CE), (0x1F00, 0x1FFC)),
    "Armenian": letters((0x531, 0x586)),
    "Georgian": letters((0x10D0, 0x10FA)),
    "Cherokee": letters((0x13A0, 0x13F5)),
    "Hebrew": letters((0x5D0, 0x5EA)),
    "Arabic": letters((0x620, 0x64A), (0x671, 0x6D3)),
    "Devanagari": letters((0x904, 0x939)) + "ािीुूेैोौंः्",
    "Bengali": letters((0x985, 0x9B9)) + "ািীুূেৈ",
    "Tamil": letters((0xB85, 0xBB9)) + "ாிீுூெேை்",
    "Telugu": letters((0xC05, 0xC39)) + "ాిీుూ",
    "Thai": letters((0xE01, 0xE30)) + "ะาิีึืุู่้",
    "Lao": letters((0xE81, 0xEB0)),
    "Tibetan": letters((0xF40, 0xF6C)),
    "Burmese": letters((0x1000, 0x1020)),
    "Khmer": letters((0x1780, 0x17B3)),
    "Ethiopic": letters((0x1200, 0x1248)),
    "Kana": letters((0x3041, 0x3096), (0x30A1, 0x30FA)),
    "Han": letters((0x4E00, 0x9FA5)),
    "Hangul": letters((0xAC00, 0xD7A3), (0x3131, 0x314E)),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_texts_of_one_script_stay_but_for_nfkc(script: str) -> None:
    @given(st.text(st.sampled_from(SCRIPTS[script] + " .,!?5\n"), max_size=60))
    def check(text: str) -> None:
        expected = unicodedata.normalize("NFC", text) if script == "Hangul" else unicodedata.normalize("NFKC", text)
        assert fold(text) == expected

    check()


ODD = st.sampled_from(
    "аеорсухіРАУЕнкмяи αοιυρΩμ օսոհ ᎪᏢ aeiouxIl15O0 ١٢۳४৪ סהו ا\u200b\u200c\u200d\ufe0f\u034f\u202e\u202d\u202c"
    "\u2066\u2069\n\u0301\u0336\u0489\u20e3🇬🇧🇦1#👩👧❤🏴\U000e0067\U000e007f🅰Ⓜ𝐚𝓫ⓒ⒟ɐǝɹʇ₳ɄⱫ卂ㄒㅋㅏㄴ가ﷺ½´ﾞか゛गि्ำ"
)


@given(st.text(ODD, max_size=40) | st.text(max_size=40))
def test_folding_again_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text(st.characters(codec="ascii")))
def test_ascii_stays(text: str) -> None:
    assert fold(text) is text


@given(st.text(ODD, max_size=20) | st.text(max_size=20))
def test_what_can_be_seen_leaves_something(text: str) -> None:
    fillers = "\u115f\u1160\u3164\uffa0"
    if any(unicodedata.category(c)[0] in "LNS" and c not in fillers for c in text):
        assert fold(text).strip()


@given(st.text(ODD, max_size=40))
def test_line_breaks_stay(text: str) -> None:
    assert fold(text).count("\n") == text.count("\n")


@given(st.text(st.sampled_from(SCRIPTS["Latin"] + SCRIPTS["Greek"] + SCRIPTS["Hangul"] + SCRIPTS["Devanagari"] + " ")))
def test_composed_and_decomposed_texts_fold_alike(text: str) -> None:
    assert fold(unicodedata.normalize("NFD", text)) == fold(unicodedata.normalize("NFC", text))


GIANT = {
    "marks in no order": "a" + "\u0301\u0316" * 500_000,
    "newer marks": "a" + "\U0001e4ef\u0316" * 200_000,
    "overrides in overrides": "\u202ea" * 200_000,
    "ends without a start": "\u202e" * 200_000 + "\u2069\u202c" * 200_000,
    "isolates in isolates": "\u2067\u202ea" * 100_000 + "\u2069" * 100_000,
    "one mixed word": "раyl" * 100_000,
    "blanks before a letter": "ɐɹʇ" + " " * 500_000 + "t",
    "flippable words": "o " * 200_000 + "ɐt",
    "joiners": "م\u200c" * 200_000,
    "flags": "🇨🇦" * 200_000 + "🇨",
    "numbers of many systems": "٣٣ 2४ " * 100_000,
}


@pytest.mark.parametrize("text", GIANT.values(), ids=GIANT)
def test_giant_texts_come_back(text: str) -> None:
    """In seconds; were the time not linear in the length, in hours."""
    assert fold(text) is not None


def test_characters_newer_than_every_python_knows_keep_their_order() -> None:
    newer_mark_first = "\u0915\U0001e4ef\u0316"
    assert fold(newer_mark_first) == newer_mark_first


def test_styles_newer_than_this_python_fold_too() -> None:
    assert fold("\U0001ccea\U0001cceb \U0001ccf3") == "UV 3"


def test_look_alikes_are_of_the_scripts_asked_for_and_lead_back() -> None:
    cyrillic = look_alikes("Cyrillic")
    assert cyrillic["a"] == "а" and "κ" not in cyrillic["k"] and "к" in cyrillic["k"]
    assert set(look_alikes("Cyrillic", "Greek")["A"]) >= set("АΑ")
    back = latin_letters()
    assert all(back[other] == letter for letter, others in cyrillic.items() for other in others)
    assert back["ɡ"] == "g" and back["𝐪"] == "q" and back["ᴀ"] == "a"


VECTORS = [
    json.loads(line) for line in (Path(__file__).parents[1] / "vectors.jsonl").read_text(encoding="utf-8").splitlines()
]


def test_the_vectors_for_other_languages_hold() -> None:
    spec = ClassifierSpec(fold="reader-1", context_length=1 << 20)
    assert len(VECTORS) >= 150
    for vector in VECTORS:
        assert fold(vector["text"]) == vector["folded"]
        assert encode_message(vector["text"], spec).rows[0].tolist() == vector["ids"] == encode(vector["folded"])[0]


def test_the_vectors_are_worth_their_name() -> None:
    changed = [vector for vector in VECTORS if vector["text"] != vector["folded"]]
    assert len(changed) > 70 and len(VECTORS) - len(changed) > 40
    assert len({vector["text"] for vector in VECTORS}) == len(VECTORS)
