"""Words: compare texts by their words, and find broader words to search for."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

# Words that describe nothing that can be seen, in the languages in which terms are most often written.
_STOP_WORDS_BY_LANGUAGE = {
    "en": "a an and are as at be but by for from has have how in into is it its not of on or so that the their there "
    "these they this to was we what when where which who why will with you your",
    "de": "der die das den dem des ein eine einer eines und oder ist sind im in zu von mit auf für nicht wie warum was",
    "es": "el la los las un una unos unas y o es son en de del con por para que no como",
    "fr": "le la les un une des et ou est sont en du avec pour dans qui que ne pas sur au aux",
    "it": "il lo la gli un uno una e di da in con per che non nel della",
    "pt": "o a os as um uma e ou em do da dos das com por para que não",
}
_STOP_WORDS = frozenset(word for words in _STOP_WORDS_BY_LANGUAGE.values() for word in words.split())
_WORD = re.compile(r"[^\W_]+")
# Scripts without blanks between words, of which pairs of characters are compared.
_UNSPACED = re.compile(r"[぀-ヿ㐀-鿿豈-﫿฀-๿]{2,}")
# The least characters of a word that is taken from a narration.
_LONG_WORD = 5
_MAX_BROADER = 4


def split_words(text: str) -> list[str]:
    """Return the words of a text in lower case, in order, without those that describe nothing."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return [word for word in _WORD.findall(folded) if word not in _STOP_WORDS]


def word_set(text: str) -> frozenset[str]:
    """Return the words of a text in a form for comparison: without English plurals, with pairs of Han characters."""
    found: set[str] = set()
    for word in split_words(text):
        for run in _UNSPACED.findall(word):
            found.update(run[index : index + 2] for index in range(len(run) - 1))
        found.add(word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word)
    return frozenset(found)


def overlap(wanted: frozenset[str], found: frozenset[str]) -> float:
    """Return which part of the wanted words was found, 0 to 1."""
    return len(wanted & found) / len(wanted) if wanted else 0.0


def describe_narration(narration: str) -> str:
    """Return up to three words of a narration that may show what it is about: its longest ones, in their order."""
    words = list(dict.fromkeys(word for word in split_words(narration) if len(word) >= _LONG_WORD))
    longest = sorted(words, key=len, reverse=True)[:3]
    return " ".join(word for word in words if word in longest)


def broaden(terms: Sequence[str]) -> Iterator[str]:
    """Yield broader searches for terms that found too little: fewer of their words, the last and the first ones."""
    yielded = {term.casefold() for term in terms}
    for term in terms:
        words = split_words(term)
        shorter = (words[-2:], words[:2], words[-1:], words[:1]) if len(words) > 1 else (words,)
        for part in shorter:
            query = " ".join(part)
            if query and query not in yielded and len(yielded) < len(terms) + _MAX_BROADER:
                yielded.add(query)
                yield query
