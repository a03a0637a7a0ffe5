"""Lexicon: words that are spoken otherwise than they are written. Captions keep the written word, with its times."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate

Timed = tuple[str, timedelta, timedelta]
"""A word with its start and its end."""

_POSSESSIVE = ("'s", "\u2019s")


@dataclass(frozen=True)
class Respelling:
    """A sentence as it is spoken."""

    tokens: tuple[tuple[str, str], ...]
    """For each written word, without its spaces: how it is written, and the text that is spoken for it."""

    @property
    def text(self) -> str:
        """The text for the voice."""
        return " ".join(spoken for _, spoken in self.tokens)

    def restore(self, words: Sequence[Timed]) -> tuple[Timed, ...]:
        """Return the written words with the times of those that were spoken for them."""
        if all(written == spoken for written, spoken in self.tokens) or not words:
            return tuple(words)
        if "".join(_letters(word[0]) for word in words) != _letters(self.text):
            return self._spread(words)
        ends = list(accumulate(len(_letters(spoken)) for _, spoken in self.tokens))
        groups: dict[int, list[Timed]] = {}
        position = 0
        for word in words:
            index = bisect_right(ends, position)
            position += len(_letters(word[0]))
            if position > ends[index]:
                # The voice has joined two words.
                return self._spread(words)
            groups.setdefault(index, []).append(word)
        restored: list[Timed] = []
        for index, (written, spoken) in enumerate(self.tokens):
            group = groups[index]
            restored += group if written == spoken else [(written, group[0][1], group[-1][2])]
        return tuple(restored)

    def _spread(self, words: Sequence[Timed]) -> tuple[Timed, ...]:
        """Spread the written words over the time of the sentence, by the length of what is spoken for them."""
        start, duration = words[0][1], words[-1][2] - words[0][1]
        lengths = [max(1, len(_letters(spoken))) for _, spoken in self.tokens]
        ends = list(accumulate(lengths))
        return tuple(
            (written, start + duration * (end - length) / ends[-1], start + duration * end / ends[-1])
            for (written, _), length, end in zip(self.tokens, lengths, ends, strict=True)
        )


class Lexicon:
    """The pronunciations of a request: what is spoken for a word.

    A word is what stands between spaces, without the punctuation at its ends. Its case counts only when two entries
    differ in it alone.
    """

    def __init__(self, entries: Mapping[str, str]) -> None:
        self._exact = {_normalize(word): " ".join(spoken.split()) for word, spoken in entries.items()}
        self._folded = {word.casefold(): spoken for word, spoken in self._exact.items()}

    def __bool__(self) -> bool:
        return bool(self._exact)

    def respell(self, sentence: str) -> Respelling:
        """Return a sentence, which has single spaces, as it is spoken."""
        return Respelling(tuple((token, self._respell_token(token)) for token in sentence.split()))

    def _respell_token(self, token: str) -> str:
        letters = [index for index, character in enumerate(token) if _is_letter(character)]
        if not letters:
            return token
        first, last = letters[0], letters[-1] + 1
        for end in (last, *(last - len(suffix) for suffix in _POSSESSIVE if token[:last].endswith(suffix))):
            core = _normalize(token[first:end])
            spoken = self._exact.get(core) or self._folded.get(core.casefold())
            if spoken:
                return f"{token[:first]}{spoken}{token[end:]}"
        return self._exact.get(_normalize(token)) or token


def _normalize(word: str) -> str:
    return unicodedata.normalize("NFC", word)


def _is_letter(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN"


def _letters(text: str) -> str:
    return "".join(text.split())
