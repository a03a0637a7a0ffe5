"""Lengths: how long a script is in words and in seconds of speech."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

# Languages without blanks between words: a length in words counts their letters.
_LETTER_LANGUAGES = frozenset(("zh", "yue", "ja", "th", "lo", "km", "my"))
# Words, or letters, that a narrator speaks in a second; 2.4 for other languages.
_UNITS_PER_SECOND: Mapping[str, float] = {
    "en": 2.5,
    "de": 2.1,
    "es": 2.6,
    "fr": 2.6,
    "it": 2.4,
    "pt": 2.4,
    "nl": 2.3,
    "pl": 1.9,
    "cs": 1.9,
    "sv": 2.3,
    "tr": 1.8,
    "id": 2.1,
    "ru": 1.8,
    "uk": 1.8,
    "el": 2.2,
    "ar": 1.9,
    "hi": 2.4,
    "ko": 1.7,
    "zh": 4.3,
    "yue": 4.3,
    "ja": 6.3,
    "th": 9.0,
    "lo": 9.0,
    "km": 9.0,
    "my": 9.0,
    "fi": 1.7,
    "hu": 1.9,
}
_WORD = re.compile(r"\w[\w'’.-]*")


def counts_letters(language: str) -> bool:
    """Whether the length of a text in this language is counted in letters, since no blanks separate its words."""
    return language in _LETTER_LANGUAGES


def count_words(text: str, language: str) -> int:
    """The length of a text in words, or in letters where no blanks separate words.

    Args:
        text: The text.
        language: Its language (ISO 639); empty when unknown.
    """
    if counts_letters(language):
        return sum(unicodedata.category(character)[0] in "LN" for character in text)
    return len(_WORD.findall(text))


def words_of_seconds(seconds: float, language: str) -> int:
    """The words, or letters, that are spoken in `seconds`; at least 1."""
    return max(1, round(seconds * _UNITS_PER_SECOND.get(language, 2.4)))
