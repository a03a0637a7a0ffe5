"""Word pieces: split a text into the tokens of a BERT model that ignores case."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

_CLS, _SEP, _UNKNOWN = "[CLS]", "[SEP]", "[UNK]"
_MAX_WORD = 100


class WordPieces:
    """A vocabulary of words and parts of words.

    Args:
        vocabulary: The tokens, in the order of their numbers. Those within a word begin with `##`.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._numbers = {token: number for number, token in enumerate(vocabulary)}

    def split(self, text: str, limit: int) -> list[int]:
        """Return the numbers of the tokens of a text, with those that mark its start and end, at most `limit`."""
        numbers = [self._numbers[_CLS]]
        for word in _words(text):
            if len(numbers) >= limit - 1:
                break
            numbers += self._split_word(word)
        return [*numbers[: limit - 1], self._numbers[_SEP]]

    def _split_word(self, word: str) -> list[int]:
        """The longest known beginning of a word, then that of the rest; one unknown token when there is none."""
        pieces: list[int] = []
        start = 0
        while start < len(word) <= _MAX_WORD:
            for end in range(len(word), start, -1):
                number = self._numbers.get(("##" if start else "") + word[start:end])
                if number is not None:
                    pieces.append(number)
                    start = end
                    break
            else:
                return [self._numbers[_UNKNOWN]]
        return pieces or [self._numbers[_UNKNOWN]]


def _words(text: str) -> Iterator[str]:
    """The words and the punctuation of a text, in lower case and without accents."""
    word = ""
    for character in unicodedata.normalize("NFD", text.lower()):
        category = unicodedata.category(character)
        if category == "Mn":
            continue
        if category[0] in "LN":
            # Chinese characters are words by themselves.
            if category == "Lo" and "\u3400" <= character <= "\u9fff":
                yield from filter(None, (word, character))
                word = ""
            else:
                word += character
            continue
        if word:
            yield word
        word = ""
        if category[0] in "PS":
            yield character
    if word:
        yield word
