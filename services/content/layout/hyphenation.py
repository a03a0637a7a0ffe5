"""Hyphenation: split a word that is wider than a line by the rules of its language."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache

import pyphen

from services.content.fonts.characters import is_joined

HYPHEN = "-"
MAX_PART_CHARACTERS = 200
"""The most characters of a part, even if they have no width, such as emoji and letters that no font has. Without the
limit, the time grows with the square of a text of them: 20,000 characters took minutes."""

# The least letters before and after a hyphen.
_MIN_LETTERS = 3
# No word of a language is longer.
_MAX_WORD_CHARACTERS = 100
# A line may break after these signs without a hyphen.
_BREAK_SIGNS = "-‐–—/\\_.:&?=#@"
# Alphabets that hyphenate words, as the Unicode names of their letters begin.
_HYPHENATED = ("LATIN", "CYRILLIC", "GREEK", "GEORGIAN", "ARMENIAN")
# Signs of addresses and file names.
_ADDRESS_SIGNS = "/\\_:@&=#"
_SOFT_HYPHEN = "\u00ad"
# Languages that pyphen has under another name.
_DICTIONARIES = {"en": "en_US", "de": "de_DE", "no": "nb_NO", "pt": "pt_BR", "sr": "sr"}


def split_word(word: str, columns: float, measure: Callable[[str], float], language: str) -> list[str]:
    """Split a word into parts that fit a line, with hyphens if its alphabet has them.

    A part ends where the rules of the language allow it, else after a sign such as `/`, else between any two letters.

    Args:
        word: The word.
        columns: The maximum width of a part.
        measure: Returns the width of a text, in the unit of `columns`.
        language: The language of the word (ISO 639); empty when unknown.
    """
    # Most words fit. A very long one does not, and is not measured whole.
    if len(word) <= _MAX_WORD_CHARACTERS and measure(word) <= columns:
        return [word]
    parts: list[str] = []
    # A hyphen would change an address or a file name.
    is_prose = not any(character in _ADDRESS_SIGNS or character.isdigit() for character in word)
    syllables = frozenset(_syllables(word, language)) if is_prose else frozenset[int]()
    begin = 0
    while begin < len(word):
        end, hyphen = _part_end(word, begin, columns, measure, syllables)
        parts.append(word[begin:end] + (hyphen if is_prose else ""))
        begin = end
    return parts


def _part_end(
    word: str, begin: int, columns: float, measure: Callable[[str], float], syllables: frozenset[int]
) -> tuple[int, str]:
    """The end of the part that begins at `begin`, and the hyphen after it or an empty text."""
    # Characters that form one picture stay together, however wide it is.
    anywhere = 0
    best: dict[str, int] = {}
    for end in range(begin + 1, len(word)):
        # A letter may have thousands of marks.
        if is_joined(word[end - 1], word[end]):
            continue
        if anywhere and (end - begin > MAX_PART_CHARACTERS or measure(word[begin:end]) > columns):
            break
        anywhere = end
        hyphen = HYPHEN if _takes_hyphen(word[end - 1]) and _takes_hyphen(word[end]) else ""
        if measure(word[begin:end] + hyphen) > columns:
            continue
        best[hyphen + "anywhere"] = end
        if end in syllables:
            best["syllable"] = end
        if word[end - 1] in _BREAK_SIGNS:
            best["sign"] = end
    else:
        if not anywhere or measure(word[begin:]) <= columns:
            return len(word), ""
    if "sign" in best and best["sign"] - begin >= _MIN_LETTERS:
        return best["sign"], ""
    if "syllable" in best:
        return best["syllable"], HYPHEN
    if (place := best.get(HYPHEN + "anywhere", 0)) > begin:
        # Leave no single letter for the last part.
        return (place - 1, HYPHEN) if len(word) - place == 1 and place - 1 > begin else (place, HYPHEN)
    return best.get("anywhere", anywhere), ""


def _syllables(word: str, language: str) -> Sequence[int]:
    """Where the rules of the language allow a hyphen, as offsets into the word."""
    if _SOFT_HYPHEN in word:
        return [place + 1 for place, character in enumerate(word) if character == _SOFT_HYPHEN]
    dictionary = _dictionary(language or _guess_language(word))
    if dictionary is None:
        return []
    places: list[int] = []
    # Each run of letters is hyphenated alone: signs around it are no part of a word.
    start = 0
    for end in range(len(word) + 1):
        if end == len(word) or unicodedata.category(word[end])[0] not in "LM":
            if end - start <= _MAX_WORD_CHARACTERS:
                places += [start + int(place) for place in dictionary.positions(word[start:end].lower())]
            start = end + 1
    return places


@lru_cache(32)
def _dictionary(language: str) -> pyphen.Pyphen | None:
    name = _DICTIONARIES.get(language) or pyphen.language_fallback(language)
    if name is None:
        name = next((each for each in sorted(pyphen.LANGUAGES) if each.partition("_")[0] == language), None)
    return pyphen.Pyphen(lang=name, left=_MIN_LETTERS, right=_MIN_LETTERS) if name else None


def _guess_language(word: str) -> str:
    """A language whose rules suit a word of unknown language; empty when there is none."""
    if any(character in "äöüßÄÖÜ" for character in word):
        return "de"
    return "en" if word.isascii() else ""


@lru_cache(1 << 12)
def _takes_hyphen(character: str) -> bool:
    category = unicodedata.category(character)[0]
    return (category == "L" and unicodedata.name(character, "").startswith(_HYPHENATED)) or category == "M"
