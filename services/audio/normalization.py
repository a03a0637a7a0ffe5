"""Normalization: from a sentence as it is written to the characters that an engine of speech reads.

People write letters in many forms that look alike or are decorated: composed and decomposed, full-width, circled,
mathematical, ligatures, several apostrophes. An engine knows one form of each and spells the others out by their names.
Every character of the result knows the place of the character that it stands for, so that the times which an engine
reports for the result are times of the sentence as it is written.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

# The kinds of compatibility mappings (Unicode Standard Annex 15) that change how a character looks and not what it
# means. Not among them: fractions, superscripts (10² is not 102) and blanks, which are handled one by one.
_LOOKS = " <font> <wide> <narrow> <circle> <initial> <medial> <final> <isolated> <small> <vertical> <square> <compat> "
# Signs that engines know by themselves, or whose mapping would be read as something else: `…` as three stops,
# `½` as 1 and 2, a lone accent as a blank.
_KEPT = frozenset("…‥℃℉№™℠℡µªº¨¯´¸˘˙˚˛˜˝ϐϑϒϕϖ′″‴‵‶")
_APOSTROPHES = frozenset("'\u2018\u2019\u201b\u02bc\u02bb\u02b9\u02c8\u00b4`\u055a\ua78b\ua78c\uff07\u2032")
# Letters of Latin that have no mapping, by the last part of their names: small capitals and dark circles and squares.
_DECORATED = (
    "LATIN LETTER SMALL CAPITAL ",
    "NEGATIVE CIRCLED LATIN CAPITAL LETTER ",
    "NEGATIVE SQUARED LATIN CAPITAL LETTER ",
    "SQUARED LATIN CAPITAL LETTER ",
    "PARENTHESIZED LATIN SMALL LETTER ",
    "PARENTHESIZED LATIN CAPITAL LETTER ",
)
# Joiners decide the form of letters in these scripts, and are part of their spelling.
_JOINING = ("ARABIC", "DEVANAGARI", "BENGALI", "GURMUKHI", "GUJARATI", "ORIYA", "TAMIL", "TELUGU", "KANNADA",
            "MALAYALAM", "SINHALA", "KHMER", "MONGOLIAN", "SYRIAC")  # fmt: skip
_JOINERS = frozenset("\u200c\u200d")
# In these a zero width space parts words, as no blanks do.
_RUN_ON = ("THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
# A letter keeps at most so many marks above and below it that are not part of a composed letter, and so many in all;
# more are decoration.
_MARKS, _MOST_MARKS = 2, 8
_HYPHENS = frozenset("\u2010\u2011")


@dataclass(frozen=True)
class Reading:
    """What an engine reads of a sentence."""

    text: str
    places: Sequence[int]
    """For each character of the text, the place in the sentence of the character that it stands for."""

    def place(self, character: int) -> int:
        """The place in the sentence of a character of the text; of one behind its end, that of the last."""
        return self.places[min(character, len(self.places) - 1)] if self.places else 0


def reading(sentence: str) -> Reading:
    """The characters that an engine reads of a sentence: the same for all ways to write the same letters.

    Emoji, symbols without a name in speech, control characters and invisible characters are read as blanks or left out.
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
    """What is read of a character in its sentence, not yet composed; empty: nothing."""
    before = sentence[place - 1] if place else ""
    after = sentence[place + 1] if place + 1 < len(sentence) else ""
    if character in _APOSTROPHES:
        return _apostrophe(sentence, place, character)
    if character in _JOINERS:
        return character if unicodedata.name(before, "").startswith(_JOINING) and _letter(after) else ""
    if character == "\u200b" and unicodedata.name(before, "").startswith(_RUN_ON):
        return " "
    category, plain = unicodedata.category(character), _plain(character)
    if category == "No" and plain.isdecimal() and _raised(before, character):
        return f" {plain}"
    # An emoji that is made of a letter or a digit, such as a keycap, is followed by a mark that says so.
    return " " if after == "\ufe0f" and category == "So" else plain


def _apostrophe(sentence: str, place: int, character: str) -> str:
    """An apostrophe between letters, whichever sign it is; other signs are what they are: quotes, minutes."""
    before = next((c for c in reversed(sentence[:place]) if unicodedata.category(c)[0] != "M"), "")
    after = sentence[place + 1] if place + 1 < len(sentence) else ""
    if _letter(before) and _letter(after):
        return "'"
    if character in "\u02bc\u02bb\u02b9\uff07\u055a\ua78c\ua78b":
        return "'" if _letter(before) or _letter(after) else " "
    return " " if character == "`" else character


def _raised(before: str, digit: str) -> bool:
    """Whether a digit in another form begins a number of its own: 10² is not 102, and ①② is not 12."""
    if not before.isdigit():
        return False
    return unicodedata.category(before) == "Nd" or not unicodedata.decomposition(digit).startswith(("<super>", "<sub>"))


@lru_cache(1 << 14)
def _plain(character: str) -> str:
    """The character or characters that mean the same and are not decorated; not yet composed."""
    category, name = unicodedata.category(character), unicodedata.name(character, "")
    if category in ("Cf", "Cs", "Me", "Co", "Cn") or _invisible(character):
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
        # Spoken by their names, as letters would be.
        return ""
    kind, _, _ = unicodedata.decomposition(character).partition(" ")
    if character in _KEPT:
        return character
    if f" {kind} " in _LOOKS or (kind in ("<super>", "<sub>") and category != "Sm"):
        plain = " ".join(unicodedata.normalize("NFKC", character).split())
        return "".join(map(_plain, plain)) if plain and plain != character else plain or " "
    if category == "No" and (digit := unicodedata.digit(character, None)) is not None and not kind:
        return str(digit)
    # Above U+2190 stand arrows, boxes and emoji; below, signs such as degrees that belong to what is said.
    if (category in ("So", "Sk") and character > "\u2190") or "ARROW" in name:
        return " "
    return character


def _invisible(character: str) -> bool:
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef" or character in "\u034f\u115f"


def _letter(character: str) -> bool:
    return bool(character) and unicodedata.category(character)[0] in "LM"


def _composes(letter: str, character: str) -> bool:
    """Whether a character belongs to the letter before it: a mark, or a part of a Korean syllable."""
    if letter == " ":
        return False
    return unicodedata.category(character[0])[0] == "M" or (
        "\u1160" <= character[0] <= "\u11ff" and unicodedata.name(letter[0], "").startswith("HANGUL")
    )


def _cluster(letter: str, mark: str) -> str:
    """A letter with another mark, unless it has more than writing needs."""
    if len(letter) > _MOST_MARKS:
        return letter
    composed = unicodedata.normalize("NFC", letter + mark)
    loose = sum(unicodedata.combining(character) != 0 for character in composed[1:])
    return letter if loose > _MARKS and unicodedata.combining(mark) in (220, 230) else letter + mark
