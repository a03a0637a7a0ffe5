"""Normalization: convert a written sentence to the characters that a speech engine can read.

Letters have many equivalent or decorated forms: composed and decomposed, full-width, circled, mathematical, ligatures,
several apostrophes. An engine reads one form of each, and speaks the others by their Unicode names. Each character of
the result is mapped to its place in the written sentence, so that the times which an engine reports for the result
apply to the sentence.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

# The types of compatibility mappings (Unicode Standard Annex 15) that change the look of a character and not its
# meaning. Fractions, superscripts (10² is not 102) and blanks are handled separately.
_LOOK_MAPPINGS = (
    " <font> <wide> <narrow> <circle> <initial> <medial> <final> <isolated> <small> <vertical> <square> <compat> "
)
# Signs that engines can read, or whose mapping would be read as something else: `…` as three full stops, `½` as 1 and
# 2, a lone accent as a blank.
_UNMAPPED = frozenset("…‥℃℉№™℠℡µªº¨¯´¸˘˙˚˛˜˝ϐϑϒϕϖ′″‴‵‶")
_APOSTROPHES = frozenset("'\u2018\u2019\u201b\u02bc\u02bb\u02b9\u02c8\u00b4`\u055a\ua78b\ua78c\uff07\u2032")
# Latin letters without a mapping, by the beginning of their names: small capitals, dark circles and squares.
_DECORATED = (
    "LATIN LETTER SMALL CAPITAL ",
    "NEGATIVE CIRCLED LATIN CAPITAL LETTER ",
    "NEGATIVE SQUARED LATIN CAPITAL LETTER ",
    "SQUARED LATIN CAPITAL LETTER ",
    "PARENTHESIZED LATIN SMALL LETTER ",
    "PARENTHESIZED LATIN CAPITAL LETTER ",
)
# In these scripts, joiners determine the form of letters and are part of the spelling.
_JOINING = ("ARABIC", "DEVANAGARI", "BENGALI", "GURMUKHI", "GUJARATI", "ORIYA", "TAMIL", "TELUGU", "KANNADA",
            "MALAYALAM", "SINHALA", "KHMER", "MONGOLIAN", "SYRIAC")  # fmt: skip
_JOINERS = frozenset("\u200c\u200d")
# In these scripts, which have no blanks, a zero width space separates words.
_RUN_ON = ("THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
# The most marks above and below a letter that are not part of a composed letter, and the most marks of any kind. More
# marks are decoration.
_MAX_LOOSE_MARKS, _MAX_MARKS = 2, 8
_HYPHENS = frozenset("\u2010\u2011")


@dataclass(frozen=True)
class Reading:
    """The text that an engine reads of a sentence."""

    text: str
    places: Sequence[int]
    """For each character of the text, its place in the written sentence."""

    def place(self, character: int) -> int:
        """The place in the sentence of a character of the text; after the end, the place of the last one."""
        return self.places[min(character, len(self.places) - 1)] if self.places else 0


def normalize(sentence: str) -> Reading:
    """Convert a sentence to the characters that an engine reads; equivalent spellings have equal results.

    Emoji, symbols without a spoken name, control characters and invisible characters become blanks or are left out.
    """
    letters: list[str] = []
    places: list[int] = []
    for place, character in enumerate(sentence):
        for read in _read(sentence, place, character):
            if letters and _composes(letters[-1], read):
                letters[-1] = _cluster(letters[-1], read)
            else:
                letters.append(read)
                places.append(place)
    composed = [unicodedata.normalize("NFC", letter) for letter in letters]
    return Reading(
        "".join(composed),
        tuple(place for letter, place in zip(composed, places, strict=True) for _ in letter),
    )


def _read(sentence: str, place: int, character: str) -> str:
    """The reading of a character in its sentence, in decomposed form; empty when it is not read."""
    before = sentence[place - 1] if place else ""
    after = sentence[place + 1] if place + 1 < len(sentence) else ""
    if character in _APOSTROPHES:
        return _apostrophe(sentence, place, character)
    if character in _JOINERS:
        return character if _name(before).startswith(_JOINING) and _is_letter(after) else ""
    if character == "\u200b" and _name(before).startswith(_RUN_ON):
        return " "
    category, plain = unicodedata.category(character), _plain(character)
    if category == "No" and plain.isdecimal() and _begins_number(before, character):
        return f" {plain}"
    # A letter or digit that is displayed as an emoji, such as a keycap, is followed by a variation selector.
    return " " if after == "\ufe0f" and category == "So" else plain


def _name(character: str) -> str:
    """The Unicode name of a character; empty at the edge of a sentence, and for a character without a name."""
    return unicodedata.name(character, "") if character else ""


def _apostrophe(sentence: str, place: int, character: str) -> str:
    """An apostrophe for any such sign between letters; elsewhere the sign itself, such as a quote or minutes."""
    # Characters that are left out do not separate the sign from its letters.
    before = next((c for c in _from(sentence, place, -1) if unicodedata.category(c)[0] != "M" and _plain(c)), "")
    after = next((c for c in _from(sentence, place, 1) if _plain(c)), "")
    if _is_letter(before) and _is_letter(after):
        return "'"
    if character in "\u02bc\u02bb\u02b9\uff07\u055a\ua78c\ua78b":
        return "'" if _is_letter(before) or _is_letter(after) else " "
    return " " if character == "`" else character


def _from(sentence: str, place: int, step: int) -> Iterator[str]:
    """Yield the characters of a sentence before (`step` -1) or after (1) a place, the nearest one first."""
    end = -1 if step < 0 else len(sentence)
    return (sentence[index] for index in range(place + step, end, step))


def _begins_number(before: str, digit: str) -> bool:
    """Whether a decorated digit begins a number of its own: 10² is not 102, and ①② is not 12."""
    if not before.isdigit():
        return False
    return unicodedata.category(before) == "Nd" or not unicodedata.decomposition(digit).startswith(("<super>", "<sub>"))


@lru_cache(1 << 14)
def _plain(character: str) -> str:
    """The undecorated characters with the same meaning, in decomposed form."""
    category, name = unicodedata.category(character), unicodedata.name(character, "")
    if category in ("Cf", "Cs", "Me", "Co", "Cn") or _is_invisible(character):
        return ""
    if category == "Cc" or category[0] == "Z":
        return " "
    if category == "Nd":
        return str(unicodedata.digit(character))
    if character in _HYPHENS:
        return "-"
    if name.startswith(_DECORATED):
        letter = name.rpartition(" ")[2]
        return (letter.lower() if "SMALL" in name else letter) if len(letter) == 1 else " "
    if "COMBINING" in name and ("OVERLAY" in name or "LOW LINE" in name or "OVERLINE" in name or "ENCLOSING" in name):
        return ""
    if "HEBREW POINT" in name or "HEBREW ACCENT" in name:
        # The engine would speak their names.
        return ""
    kind, _, _ = unicodedata.decomposition(character).partition(" ")
    if character in _UNMAPPED:
        return character
    if f" {kind} " in _LOOK_MAPPINGS or (kind in ("<super>", "<sub>") and category != "Sm"):
        plain = " ".join(unicodedata.normalize("NFKC", character).split())
        return "".join(map(_plain, plain)) if plain and plain != character else plain or " "
    if category == "No" and (digit := unicodedata.digit(character, None)) is not None and not kind:
        return str(digit)
    # Above U+2190 are arrows, boxes and emoji; below are signs that are spoken, such as degrees.
    if (category in ("So", "Sk") and character > "\u2190") or "ARROW" in name:
        return " "
    # A composed letter without the marks that are left out, such as the points of Hebrew.
    parts = unicodedata.normalize("NFD", character)
    return character if len(parts) == 1 or all(map(_plain, parts)) else "".join(map(_plain, parts))


def _is_invisible(character: str) -> bool:
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef" or character in "\u034f\u115f"


def _is_letter(character: str) -> bool:
    return bool(character) and unicodedata.category(character)[0] in "LM"


def _composes(letter: str, character: str) -> bool:
    """Whether a character belongs to the letter before it: a mark, or a part of a Korean syllable."""
    if letter == " ":
        return False
    return unicodedata.category(character[0])[0] == "M" or (
        "\u1160" <= character[0] <= "\u11ff" and unicodedata.name(letter[0], "").startswith("HANGUL")
    )


def _cluster(letter: str, mark: str) -> str:
    """Add a mark to a letter, unless the letter already has the most marks of ordinary writing."""
    if len(letter) > _MAX_MARKS:
        return letter
    composed = unicodedata.normalize("NFC", letter + mark)
    loose = sum(unicodedata.combining(character) != 0 for character in composed[1:])
    return letter if loose > _MAX_LOOSE_MARKS and unicodedata.combining(mark) in (220, 230) else letter + mark
