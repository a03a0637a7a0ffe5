"""Hyphenation: where a word that is wider than a line is cut, by the rules of its language."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache

import pyphen

from services.content.fonts import joined

HYPHEN = "-"
# No line holds more characters, also of those without a width: emoji, and letters that no font has. Without it, the
# time grows with the square of a text of them: 20,000 took minutes.
MOST_CHARACTERS = 200

# At least so many letters stay before and after a cut.
_LEAST = 3
# No word of a language is longer.
_LONG = 100
# A line may end after these without a hyphen.
_ENDS = "-‐–—/\\_.:&?=#@"
# The alphabets that cut a word with a hyphen, as the Unicode names of their letters begin.
_HYPHENATED = ("LATIN", "CYRILLIC", "GREEK", "GEORGIAN", "ARMENIAN")
_NO_WORD = "/\\_:@&=#"
_SOFT = "\u00ad"
# What pyphen calls languages otherwise.
_DICTIONARIES = {"en": "en_US", "de": "de_DE", "no": "nb_NO", "pt": "pt_BR", "sr": "sr"}


def cut(word: str, columns: float, measure: Callable[[str], float], language: str) -> list[str]:
    """A word in parts of at most `columns` by `measure`, each but the last with a hyphen if its alphabet has one.

    Cuts by the rules of the language where those fit, else after signs such as `/`, else anywhere between letters.
    """
    # Most words fit, and of a very long one it is enough to measure the beginning.
    if len(word) <= _LONG and measure(word) <= columns:
        return [word]
    parts: list[str] = []
    # An address or a name of a file would be another one with a hyphen in it.
    spoken = not any(character in _NO_WORD or character.isdigit() for character in word)
    syllables = frozenset(_syllables(word, language)) if spoken else frozenset[int]()
    begin = 0
    while begin < len(word):
        end, hyphen = _end(word, begin, columns, measure, syllables)
        parts.append(word[begin:end] + (hyphen if spoken else ""))
        begin = end
    return parts


def _end(
    word: str, begin: int, columns: float, measure: Callable[[str], float], syllables: frozenset[int]
) -> tuple[int, str]:
    """Where a part ends that begins at a place, and what is written after it."""
    # What is one picture stays whole, however wide it is.
    anywhere = 0
    best: dict[str, int] = {}
    for end in range(begin + 1, len(word)):
        # A letter may have thousands of marks.
        if joined(word[end - 1], word[end]):
            continue
        if anywhere and (end - begin > MOST_CHARACTERS or measure(word[begin:end]) > columns):
            break
        anywhere = end
        hyphen = HYPHEN if _takes_hyphen(word[end - 1]) and _takes_hyphen(word[end]) else ""
        if measure(word[begin:end] + hyphen) > columns:
            continue
        best[hyphen + "anywhere"] = end
        if end in syllables:
            best["syllable"] = end
        if word[end - 1] in _ENDS:
            best["sign"] = end
    else:
        if not anywhere or measure(word[begin:]) <= columns:
            return len(word), ""
    if "sign" in best and best["sign"] - begin >= _LEAST:
        return best["sign"], ""
    if "syllable" in best:
        return best["syllable"], HYPHEN
    if (place := best.get(HYPHEN + "anywhere", 0)) > begin:
        # No lone letter at the end.
        return (place - 1, HYPHEN) if len(word) - place == 1 and place - 1 > begin else (place, HYPHEN)
    return best.get("anywhere", anywhere), ""


def _syllables(word: str, language: str) -> Sequence[int]:
    """Where a word may be cut by the rules of its language."""
    if _SOFT in word:
        return [place + 1 for place, character in enumerate(word) if character == _SOFT]
    dictionary = _dictionary(language or _guessed(word))
    if dictionary is None:
        return []
    places: list[int] = []
    # By its runs of letters: what is written around them is no part of the word.
    start = 0
    for end in range(len(word) + 1):
        if end == len(word) or unicodedata.category(word[end])[0] not in "LM":
            if end - start <= _LONG:
                places += [start + int(place) for place in dictionary.positions(word[start:end].lower())]
            start = end + 1
    return places


@lru_cache(32)
def _dictionary(language: str) -> pyphen.Pyphen | None:
    name = _DICTIONARIES.get(language) or pyphen.language_fallback(language)
    if name is None:
        name = next((each for each in sorted(pyphen.LANGUAGES) if each.partition("_")[0] == language), None)
    return pyphen.Pyphen(lang=name, left=_LEAST, right=_LEAST) if name else None


def _guessed(word: str) -> str:
    """A language whose rules are good enough for a word of which nothing is known."""
    if any(character in "äöüßÄÖÜ" for character in word):
        return "de"
    return "en" if word.isascii() else ""


@lru_cache(1 << 12)
def _takes_hyphen(character: str) -> bool:
    category = unicodedata.category(character)[0]
    return (category == "L" and unicodedata.name(character, "").startswith(_HYPHENATED)) or category == "M"
