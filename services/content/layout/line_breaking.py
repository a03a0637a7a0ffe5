"""Line breaking: the segments of a sentence between which a line of a caption may be broken.

A line may break at a blank. In text without blanks it may break between two phrases of Japanese and between two words
of Chinese, Thai, Lao, Khmer or Burmese, which a dictionary separates. It never breaks before a closing sign or a
small kana, nor after an opening sign. A word that is wider than a line is hyphenated, or cut anywhere.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from itertools import accumulate

from icu4py.breakers import LineBreaker, WordBreaker

from services.content.fonts.characters import count_columns, is_joined
from services.content.layout.hyphenation import MAX_PART_CHARACTERS, split_word

_SYMBOLS = ("So", "Sk", "Mn", "Me", "Cf")
_CLOSING = ".,!?;:…‥%、。，．！？；：・％"
# Small kana, and marks that lengthen or repeat the letter before them.
_NO_LINE_START = "ぁぃぅぇぉっゃゅょゎゕゖァィゥェォッャュョヮヵヶーゝゞヽヾ々〻"


@dataclass(frozen=True)
class Word:
    """A spoken word as it is written, with its times from the start of the narration."""

    text: str
    start: timedelta
    end: timedelta


@dataclass(frozen=True)
class Segment:
    """A word, a part of a word, or a few words that must stay on one line."""

    words: tuple[Word, ...]
    """The words; all but the first carry the blank before them, so that their texts join to `text`."""
    text: str
    width: float
    blank: bool
    """Whether a blank separates the segment from the one before it."""


def count_text_columns(text: str) -> float:
    """The width of a text in columns."""
    return sum(map(count_columns, text))


@dataclass(frozen=True)
class Layout:
    """The space for the lines of a caption."""

    columns: float
    """The maximum width of a line."""
    max_lines: int = 2
    measure: Callable[[str], float] = count_text_columns
    """Returns the width of a text, in the unit of `columns`."""
    language: str = ""
    """The language of the text (ISO 639); empty when unknown."""


def columns_per_line(width: int, height: int) -> int:
    """The columns of a line on a canvas of `width` x `height` pixels; a Chinese character takes two."""
    if width < height:
        return 20
    return 42 if width > 1.2 * height else 30


def split_into_segments(
    words: Sequence[Word], columns: float, measure: Callable[[str], float], language: str = ""
) -> list[Segment]:
    """Split a sentence into segments between which a line may break, in order.

    Args:
        words: The words of the sentence.
        columns: The maximum width of a segment.
        measure: Returns the width of a text, in the unit of `columns`.
        language: The language of the text (ISO 639); empty when unknown.
    """
    segments: list[Segment] = []
    parts = [part for word in words for part in _split_word(word, columns, measure, language)]
    blanks = [
        part.first and before is not None and not (is_unspaced(before.word.text[-1]) and is_unspaced(part.word.text[0]))
        for before, part in zip([None, *parts], parts, strict=False)
    ]
    breaks = _phrase_breaks("".join(" " * blank + part.word.text for blank, part in zip(blanks, parts, strict=True)))
    at, starts = 0, list[int]()
    for part, blank in zip(parts, blanks, strict=True):
        at += blank
        segment = Segment((part.word,), part.word.text, measure(part.word.text), blank)
        # Characters that no font shows need no line of their own, and there may be thousands of them.
        sticks = segments and not part.cut and (not segment.width or _sticks(segments[-1].text, part.word.text, blank))
        merged = _merge(segments[-1], segment, columns, measure) if sticks else None
        if merged is not None:
            segments[-1] = merged
        else:
            segments.append(segment)
            starts.append(at)
        at += len(part.word.text)
    return _join_phrases(segments, starts, breaks, columns, measure) if breaks else segments


def _join_phrases(
    segments: Sequence[Segment],
    starts: Sequence[int],
    breaks: frozenset[int],
    columns: float,
    measure: Callable[[str], float],
) -> list[Segment]:
    """Merge the segments of each phrase as far as one line holds them."""
    phrases: list[Segment] = []
    for segment, start in zip(segments, starts, strict=True):
        inside = phrases and start not in breaks and not segment.blank
        if inside and is_unspaced(phrases[-1].text[-1]) and is_unspaced(segment.text[0]):
            merged = _merge(phrases[-1], segment, columns, measure)
            if merged is not None:
                phrases[-1] = merged
                continue
        phrases.append(segment)
    return phrases


def _merge(segment: Segment, following: Segment, columns: float, measure: Callable[[str], float]) -> Segment | None:
    """A segment with the one after it; None when one line does not hold both."""
    if len(segment.text) + len(following.text) >= MAX_PART_CHARACTERS:
        return None
    first, *others = following.words
    words = (replace(first, text=" " * following.blank + first.text), *others)
    text = segment.text + "".join(word.text for word in words)
    width = measure(text)
    return Segment((*segment.words, *words), text, width, segment.blank) if width <= columns else None


@lru_cache(1 << 16)
def is_unspaced(character: str) -> bool:
    """Whether a character belongs to a script that is written without blanks: Chinese, Japanese."""
    width, category = unicodedata.east_asian_width(character), unicodedata.category(character)[0]
    # Full-width Latin letters and digits form words as narrow ones do.
    return ((width == "W" and category in "LNP") or (width == "F" and category == "P")) and not unicodedata.name(
        character, ""
    ).startswith("HANGUL")


def needs_dictionary(character: str) -> bool:
    """Whether only a dictionary separates the words of a character's script: Thai, Lao, Burmese, Khmer."""
    return "\u0e00" <= character <= "\u0eff" or "\u1000" <= character <= "\u109f" or "\u1780" <= character <= "\u17ff"


@dataclass(frozen=True)
class _Part:
    """A word, or a part of one."""

    word: Word
    first: bool
    """Whether the part begins a word."""
    cut: bool
    """Whether the word was cut before this part because it is wider than a line."""


def _split_word(word: Word, columns: float, measure: Callable[[str], float], language: str) -> Iterator[_Part]:
    """Split a word into parts between which a line may break. Parts share the time of the word by their width."""
    text = _visible(word.text)
    breaks = set(accumulate(map(len, LineBreaker(text, "th")))) if any(map(needs_dictionary, text)) else set[int]()
    chunks, chunk = [], ""
    for at, character in enumerate(text):
        if chunk and not is_joined(chunk[-1], character) and (at in breaks or _may_break(chunk[-1], character)):
            chunks.append(chunk)
            chunk = ""
        chunk += character
    chunks += [chunk] if chunk else []
    parts = [(p, n > 0) for whole in chunks for n, p in enumerate(split_word(whole, columns, measure, language))]
    widths = [measure(part) for part, _ in parts]
    whole_width, done, start = sum(widths), 0.0, word.start
    for number, (part, cut) in enumerate(parts):
        done += widths[number]
        last = number == len(parts) - 1 or not whole_width
        end = word.end if last else word.start + (word.end - word.start) * (done / whole_width)
        yield _Part(Word(part, start, max(start, end)), number == 0, cut)
        start = max(start, end)


@lru_cache(1 << 12)
def _phrase_breaks(text: str) -> frozenset[int]:
    """Where a line may break in Japanese (between phrases) or Chinese (between words), as offsets into the text."""
    if any("\u3041" <= character <= "\u30ff" for character in text):
        return frozenset(accumulate(map(len, LineBreaker(text, "ja-u-lw-phrase"))))
    if any(map(is_unspaced, text)):
        return frozenset(accumulate(map(len, WordBreaker(text, "zh"))))
    return frozenset()


def _visible(text: str) -> str:
    """A text without control characters and lone surrogates, with single blanks."""
    return " ".join("".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cs") or c.isspace()).split())


def _may_break(before: str, after: str) -> bool:
    """Whether a line may break between two characters of one word, as in Chinese, but not before a comma."""
    closing = unicodedata.category(after)[0] == "P" and not _opens(after)
    return (
        (is_unspaced(before) or is_unspaced(after))
        and not _opens(before)
        and not closing
        and after not in _NO_LINE_START
    )


def _sticks(before: str, after: str, blank: bool) -> bool:
    """Whether a text must stay on the line of the text before it."""
    if all(unicodedata.category(character) in _SYMBOLS for character in after):
        return True  # an emoji belongs to the text before it
    if blank:  # French has a blank before a closing sign
        return all(character in _CLOSING or unicodedata.category(character) in ("Pe", "Pf") for character in after)
    return (is_unspaced(before[-1]) or is_unspaced(after[0])) and not _may_break(before[-1], after[0])


def _opens(character: str) -> bool:
    return unicodedata.category(character) in ("Ps", "Pi", "Sc")
