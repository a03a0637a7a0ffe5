"""Languages: which language a text is in, by its letters and its commonest words."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from services.content.scripts.stop_words import STOP_WORDS
from services.media.language_detection import detect_latin_language

UNKNOWN_LANGUAGE = "und"
"""ISO 639 for an undetermined language."""

# The languages of template scripts by the writing system of their topic.
_LANGUAGES = {"CJK": "zh", "HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko", "GREEK": "el",
              "ARABIC": "ar", "DEVANAGARI": "hi"}  # fmt: skip
# The languages of a system whose stop words are compared.
_ALPHABETS = {
    "LATIN": ("en", "de", "es", "fr", "it", "pt", "nl", "pl", "cs", "sv", "tr", "id"),
    "CYRILLIC": ("ru", "uk"),
}
# The writing systems of languages that are not written in Latin letters, by the first word of their letters' names.
_SYSTEMS = {
    language: system
    for system, languages in {
        "CYRILLIC": "ru uk bg be sr mk kk ky mn tg tt",
        "ARABIC": "ar fa ur ps sd ug",
        "DEVANAGARI": "hi mr ne sa kok",
        "CJK": "zh yue",
        "HANGUL": "ko",
        "GREEK": "el",
        "HEBREW": "he yi",
        "THAI": "th",
        "LAO": "lo",
        "KHMER": "km",
        "MYANMAR": "my",
        "BENGALI": "bn as",
        "GURMUKHI": "pa",
        "GUJARATI": "gu",
        "TAMIL": "ta",
        "TELUGU": "te",
        "KANNADA": "kn",
        "MALAYALAM": "ml",
        "SINHALA": "si",
        "ETHIOPIC": "am ti",
        "ARMENIAN": "hy",
        "GEORGIAN": "ka",
    }.items()
    for language in languages.split()
}
# The characters that are read: they show the language of a longer text, too.
_MAX_CHARACTERS = 4000


def detect_language(topic: str) -> str:
    """The language of a topic; `und` when there is no template for any language with its letters.

    In Latin letters it is `en` when it is not certain. Call it in a thread.
    """
    system, systems = _writing_system(topic)
    if system == "LATIN":
        return detect_latin_language(topic) or "en"
    if system == "CYRILLIC":
        return "uk" if set("іїєґ") & set(topic.lower()) else "ru"
    if system == "CJK" and {"HIRAGANA", "KATAKANA"} & systems:
        return "ja"
    return _LANGUAGES.get(system, UNKNOWN_LANGUAGE)


def identify_language(text: str) -> str:
    """The language of a text by its letters and its commonest words; `und` when these do not show it.

    A text of a few words may have none of the common ones: it is then undetermined, unless its letters decide.
    """
    text = text[:_MAX_CHARACTERS]
    system, _ = _writing_system(text)
    if system not in _ALPHABETS:
        return detect_language(text)
    hits = {language: _count_stop_words(text, language) for language in _ALPHABETS[system]}
    best = max(hits, key=lambda language: hits[language])
    if hits[best]:
        return best
    return detect_language(text) if system == "CYRILLIC" else detect_latin_language(text) or UNKNOWN_LANGUAGE


def is_in_language(text: str, language: str) -> bool:
    """Whether a text may be in a language. A text is refused only when its letters or common words are another's.

    Args:
        text: The text.
        language: The language (ISO 639); every text may be in an undetermined one.
    """
    if language in ("", UNKNOWN_LANGUAGE):
        return True
    system, systems = _writing_system(text[:_MAX_CHARACTERS])
    expected = _SYSTEMS.get(language, "LATIN")
    if language == "ja":
        return "HIRAGANA" in systems or "KATAKANA" in systems
    if system != expected or (language in ("zh", "yue") and "HIRAGANA" in systems):
        return False
    rivals = _ALPHABETS.get(system, ())
    hits = {rival: _count_stop_words(text[:_MAX_CHARACTERS], rival) for rival in rivals}
    if language in hits:
        # Neighbouring languages share words.
        return hits[language] * 1.25 + 1 >= max(hits.values())
    # A neighbour without a list of its own, such as Catalan, shares most words of Spanish; models fall back to English.
    return hits.get("en", 0) < max(8, 0.3 * len(text[:_MAX_CHARACTERS].split()))


def _count_stop_words(text: str, language: str) -> int:
    return sum(word in STOP_WORDS[language] for word in re.findall(r"[^\W\d_]+", text.casefold()))


def _writing_system(text: str) -> tuple[str, set[str]]:
    """The system to which most letters of a text belong, and all of its systems, by the first words of their names."""
    counts: Counter[str] = Counter()
    for character in text:
        if unicodedata.category(character)[0] == "L":
            counts[unicodedata.name(character, "").partition(" ")[0]] += 1
    return max(counts, key=lambda system: counts[system], default="LATIN"), set(counts)
