"""Key words: the words of a text that name its subject, the most telling first."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from icu4py.breakers import WordBreaker

from services.content.scripts.lengths import counts_letters
from services.content.scripts.stop_words import STOP_WORDS

# The most characters of a text that is read: the key words of a longer one stand in its beginning, too.
_MAX_CHARACTERS = 20_000
_MAX_WORD = 40
# A word counts less when the parts before and after have it: so many of each.
_NEIGHBOURS = 4
# A word after a letter and a blank, or a comma, begins no sentence.
_WITHIN_SENTENCE = re.compile(r"(?<=[\w,] )[^\W\d_][\w'’-]*")
_APOSTROPHE = re.compile(r"^(?:\w{1,2}|qu|dell|nell|sull|dall|all)['’](?=\w{2})|['’]s?$")


def find_key_words(text: str, language: str, limit: int) -> list[str]:
    """Return up to `limit` key words of a text in the case in which they stand there, the best first.

    Args:
        text: The text.
        language: Its language (ISO 639); words of its stop-word list are left out. Empty: of the English one.
        limit: The most key words.
    """
    return compare_key_words([text], language, limit)[0]


def compare_key_words(texts: Sequence[str], language: str, limit: int) -> list[list[str]]:
    """Return up to `limit` key words of each part of a script, the best first.

    Words are ranked by how often they occur, less by how many of the nearest parts have them, then names and German
    nouns before others, then by length and place. Equal texts have equal key words.

    Args:
        texts: The parts, in order.
        language: Their language (ISO 639).
        limit: The most key words of a part.
    """
    parts = [_Part.read(text, language) for text in texts]
    return [
        part.rank(parts[max(0, at - _NEIGHBOURS) : at] + parts[at + 1 : at + 1 + _NEIGHBOURS])[:limit]
        for at, part in enumerate(parts)
    ]


def find_phrase(text: str, language: str, words: int = 3) -> str:
    """Return the first `words` key words of a text in the order of the text, joined to a phrase; empty without any."""
    found = list(dict.fromkeys(_subject_words(text, language)))[:words]
    return ("" if counts_letters(language) else " ").join(found)


@dataclass(frozen=True)
class _Part:
    """The subject words of a part of a script; the keys are case-folded."""

    shown: Mapping[str, str]
    counts: Counter[str]
    names: frozenset[str]
    """The words that begin with a capital, though they begin no sentence."""

    @classmethod
    def read(cls, text: str, language: str) -> _Part:
        words = list(_subject_words(text, language))
        shown: dict[str, str] = {}
        for word in words:
            shown.setdefault(word.casefold(), word)
        within = {found.group().casefold() for found in _WITHIN_SENTENCE.finditer(text[:_MAX_CHARACTERS])}
        names = frozenset(key for key, word in shown.items() if word[0].isupper() and key in within)
        return cls(shown, Counter(word.casefold() for word in words), names)

    def rank(self, others: Sequence[_Part]) -> list[str]:
        elsewhere = {key: sum(key in other.counts for other in others) for key in self.counts}
        places = {key: place for place, key in enumerate(self.shown)}

        def order(key: str) -> tuple[float, bool, int, int]:
            return -self.counts[key] / (1 + elsewhere[key]), key not in self.names, -min(len(key), 8), places[key]

        return [self.shown[key] for key in sorted(self.shown, key=order)]


def _subject_words(text: str, language: str) -> Iterator[str]:
    """The words of a text that are no stop words, in order."""
    stop_words = STOP_WORDS.get(language or "en", frozenset())
    for word in _words(text[:_MAX_CHARACTERS], language):
        is_wide = unicodedata.east_asian_width(word[0]) == "W"
        # A single Chinese character is a word of Japanese, and often only a part of a Chinese one.
        shortest = (1 if language == "ja" else 2) if is_wide else 3
        if shortest <= len(word) <= _MAX_WORD and word.casefold() not in stop_words and not word.isnumeric():
            yield word


def _words(text: str, language: str) -> Iterator[str]:
    if counts_letters(language):
        # A dictionary separates the words.
        for part in WordBreaker(text, language):
            word = part.strip()
            # Hiragana alone is grammar.
            if word and word[0].isalnum() and not all(map(_is_hiragana, word)):
                yield word
        return
    for found in re.finditer(r"\w[\w'’-]*", text):
        if word := _APOSTROPHE.sub("", found.group()).strip("'’-_"):
            yield word


def _is_hiragana(character: str) -> bool:
    return "\u3040" <= character <= "\u309f"
