"""Languages: the writing systems of a language, and the language of a text by its letters and frequent words.

A writing system has the name with which the Unicode names of its letters begin: `LATIN`, `CYRILLIC`. Chinese
characters are `HAN`, the Japanese syllables `KANA`. Languages that share a writing system are distinguished by letters
that only one of them has, and by a few of their most frequent words; a short text in Latin letters by a model.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

from services.audio import normalization
from services.media.language_detection import detect_latin_language

LATIN = "LATIN"

# The languages of espeak-ng by writing system, without Latin. A text is in the first language of its writing system
# unless its letters or words show another one.
_LANGUAGES: Mapping[str, str] = {
    "ARABIC": "ar fa sd ug ur",
    "ARMENIAN": "hy hyw",
    "BENGALI": "bn as bpy",
    "BOPOMOFO": "zh cmn yue",
    "CHEROKEE": "chr",
    "CYRILLIC": "ru ba be bg cv kk ky mk nog sr hbs tt uk",
    "DEVANAGARI": "hi kok mr ne",
    "ETHIOPIC": "am ti",
    "GEORGIAN": "ka",
    "GREEK": "el grc",
    "GUJARATI": "gu",
    "GURMUKHI": "pa",
    "HAN": "zh cmn hak ja yue",
    "HANGUL": "ko",
    "HEBREW": "he iw",
    "KANA": "ja",
    "KANNADA": "kn",
    "MALAYALAM": "ml",
    "MYANMAR": "my shn",
    "ORIYA": "or",
    "SINHALA": "si",
    "TAMIL": "ta",
    "TELUGU": "te",
    "THAI": "th",
}
_ALSO_LATIN = ("sr", "hbs")
"""Languages that are also written in Latin letters."""
_SYSTEMS: Mapping[str, frozenset[str]] = {
    language: frozenset(system for system, known in _LANGUAGES.items() if language in known.split())
    | ({LATIN} if language in _ALSO_LATIN else set())
    for languages in _LANGUAGES.values()
    for language in languages.split()
}

# Letters that a language has and those before it in the list do not have. The last language that matches counts.
_LETTERS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "CYRILLIC": (
        ("bg", "ъ"), ("ru", "ыэё"), ("uk", "іїєґ"), ("be", "ў"), ("sr", "ђћџљњј"), ("mk", "ѓќѕ"),
        ("ky", "ңүө"), ("tt", "әһҗ"), ("kk", "қғұ"), ("ba", "ҙҡҫ"), ("cv", "ӑӗӳ"),
    ),
    "ARABIC": (("fa", "پچژگی"), ("ur", "ٹڈڑںےہ"), ("ug", "ۇېۈۆە"), ("sd", "ڄٺٻڏڻڪ۾ٿ")),
    "DEVANAGARI": (("mr", "ळ"),),
    "BENGALI": (("as", "ৰৱ"),),
    "HAN": (("yue", "嘅係唔佢咗喺冇哋啲嚟"),),
    "MYANMAR": (("shn", "ၵၶၼႁ"),),
    "ETHIOPIC": (("ti", "ቕኽዅ"),),
}  # fmt: skip
# Frequent words of a language that are rare or missing in the others of its writing system.
_WORDS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "CYRILLIC": (("bg", "е ще са съм това"), ("be", "гэта што ён як для ці мы"), ("mk", "денес ова што кој")),
    "DEVANAGARI": (("mr", "आहे आणि आहेत नाही"), ("ne", "छ छन् हुन्छ भयो गर्न")),
    LATIN: (
        ("en", "the and is of to in that it you for was are with this we on be have from your what how at all our"),
        ("de", "der die das und ist nicht ein eine zu den mit sich auf für von dem wir auch wie im zum des sind"),
        ("fr", "le la les et est une des dans que qui pour pas sur avec vous nous du au ce il elle sont aux comment"),
        ("es", "el los las que y en una es por con para del se lo como más su al pero está cómo muy"),
        ("it", "il che di è un una per non sono con del della gli le dei nel come più questo anche alla"),
        ("pt", "o os que não uma é em para com do da dos das mais como por ao são você muito"),
        ("nl", "het een van en de dat niet zijn op te met voor die aan ook maar wij naar hoe"),
        ("pl", "nie się na jest że w z do jak to i o co dla są czy po tym"),
        ("sv", "och att det som är på en inte för av med till den ett om vi"),
        ("da", "og det er ikke en på til af der med som den jeg vi har"),
        ("tr", "bir ve bu için ile çok da de ne daha gibi var olarak nasıl"),
        ("cs", "je se na že a v to s z do jsou ale jako tak pro jsme"),
        ("ro", "și este în de cu la un o nu pe care mai din să sunt"),
        ("hu", "a az és egy hogy nem is van ez meg vagy mint"),
        ("fi", "ja on ei se että oli hän mutta ovat kun niin myös"),
        ("id", "yang dan di ini itu dengan untuk tidak dari dalam adalah akan"),
        ("vi", "và là của có không một những được các cho người trong này"),
    ),
}
# The name of the voices of a language, where it is another one than that of the detection.
_VOICES = {"no": "nb"}
_LATIN_WORDS = tuple((language, frozenset(words.split())) for language, words in _WORDS[LATIN])
# The frequent words show the language of a Latin text when it has at least this many of them, when they are this
# fraction of its words, and this multiple of those of any other language.
_MIN_WORDS, _MIN_FRACTION, _MIN_LEAD = 3, 0.2, 1.5

# The number of Latin letters that carry as much text as one character of these writing systems.
_WEIGHTS: Mapping[str, float] = {"HAN": 2.5, "KANA": 1.5, "HANGUL": 2.0}
# A text with more Japanese syllables per Chinese character is Japanese.
_JAPANESE = 0.1


def systems_of(tag: str) -> frozenset[str]:
    """The writing systems of a language, by its BCP 47 tag."""
    language, _, rest = tag.lower().partition("-")
    if "shaw" in rest:
        return frozenset(("SHAVIAN",))
    found = _SYSTEMS.get(language, frozenset((LATIN,)))
    return found if "latn" not in rest or LATIN in found else frozenset((LATIN,))


def system_name(system: str) -> str:
    """The common name of a writing system."""
    return {"HAN": "Chinese", "KANA": "Japanese", "HANGUL": "Korean", "ORIYA": "Odia"}.get(system, system.title())


def weigh_systems(text: str) -> dict[str, float]:
    """Return the share of each writing system in a text, weighted by the equivalent number of Latin letters."""
    found: dict[str, float] = {}
    text = _ADDRESSES.sub(" ", text)
    if text.isascii():
        letters = sum(map(str.isalpha, text))
        return {LATIN: float(letters)} if letters else {}
    for character in normalization.normalize(text).text:
        if system := _system(character):
            found[system] = found.get(system, 0.0) + _WEIGHTS.get(system, 1.0)
    return found


def main_system(text: str) -> str:
    """The main writing system of a text; empty when it has no letters."""
    found = weigh_systems(text)
    if found.get("KANA", 0.0) > _JAPANESE * found.get("HAN", 0.0):
        found["KANA"] = found.get("KANA", 0.0) + found.pop("HAN", 0.0)
    return max(found, key=lambda system: found[system], default="")


def unreadable_system(text: str, tag: str, *, is_title: bool = False) -> str:
    """The writing system because of which a voice cannot read a text; empty when it can.

    A few words in another writing system are acceptable. Every voice reads Latin words among others in English. A text
    in Latin letters only is not readable in a language with other letters, unless it is a title, which may be a name.

    Args:
        text: The text.
        tag: The language of the voice (BCP 47).
        is_title: Whether the text is a title.
    """
    found, known = weigh_systems(text), systems_of(tag)
    own = sum(weight for system, weight in found.items() if system in known)
    latin = 0.0 if LATIN in known else found.get(LATIN, 0.0)
    foreign = {system: weight for system, weight in found.items() if system not in known and system != LATIN}
    if sum(foreign.values()) > own + latin:
        return max(foreign, key=lambda system: foreign[system])
    return LATIN if latin and not own and not is_title else ""


# The language of a long text is that of its beginning. The detection holds the interpreter lock: of a hundred requests
# with 100,000 characters each, it took a third of the time of the whole process.
_MAX_DETECTED = 20_000


def language_of(text: str) -> str:
    """The language of a text (ISO 639) by its letters and words; empty when no voice has its writing system.

    The result is `en` for a text in Latin letters of unknown language, and for a text without letters.
    """
    text = text[:_MAX_DETECTED]
    system = main_system(text)
    if not system:
        return "en"
    lowered = normalization.normalize(text).text.lower()
    if system == LATIN:
        return _latin_language(lowered)
    found = _LANGUAGES.get(system, "").partition(" ")[0]
    words = set(_words(lowered))
    for language, known in _WORDS.get(system, ()):
        found = language if words & set(known.split()) else found
    for language, letters in _LETTERS.get(system, ()):
        found = language if any(letter in lowered for letter in letters) else found
    # Belarusian is the only language with both letters.
    return "be" if system == "CYRILLIC" and {"і", "ы"} <= set(lowered) and found in ("uk", "be") else found


def _latin_language(lowered: str) -> str:
    words = _words(lowered)
    counts = {language: sum(map(known.__contains__, words)) for language, known in _LATIN_WORDS}
    best, second = sorted(counts.values(), reverse=True)[:2]
    if best < max(_MIN_WORDS, _MIN_FRACTION * len(words)) or best < _MIN_LEAD * second:
        # The detection loads a model, for which most texts are long enough to have no need.
        return _VOICES.get(found := detect_latin_language(" ".join(words)), found) or "en"
    return max(counts, key=lambda language: counts[language])


def _words(lowered: str) -> list[str]:
    """The words of a text, with their marks."""
    return re.findall(r"[^\W\d_](?:[^\W\d_]|[\u0300-\u036f\u0900-\u0dff])*", lowered)


# Addresses, mail addresses and tags are in Latin letters in every language. All repetitions are bounded: without
# bounds, the time grows with the square of the text and blocks the event loop.
_ADDRESSES = re.compile(r"\]\([^)]{0,500}\)|(?<!\w)\w{1,20}://\S+|(?<!\S)\S{1,64}@\S+|</?[A-Za-z][^<>]{0,500}>")


@lru_cache(1 << 14)
def _system(character: str) -> str:
    """The writing system of a letter; empty for all other characters."""
    if unicodedata.category(character)[0] != "L":
        return ""
    first = unicodedata.name(character, "").partition(" ")[0]
    if first in ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"):
        return "KANA"
    if first in ("CJK", "IDEOGRAPHIC", "KANGXI"):
        return "HAN"
    return "" if first in ("MODIFIER", "FEMININE", "MASCULINE", "MICRO") else first
