"""Folding: reduce a text to runs of letters, so that disguised spellings of a word look alike.

Compatibility forms, case, accents, look-alike letters of other scripts and digits in the place of letters are folded;
invisible characters are left out. Each run has the place in the original text that it came from.
"""

from __future__ import annotations

import unicodedata
from functools import cache

# Letters of other scripts that look like a Latin letter, after case folding and without accents.
_LOOK_ALIKES = dict(
    zip(
        "аеорсухкмтвніјѕһԁԛԝӏ" + "αορεικντυχηγω" + "ıøłđħŋɑɡɩʏɪʀʙɢʜʟɴᴀᴄᴅᴇᴊᴋᴍᴏᴘᴛᴜᴠᴡᴢꜰꜱ",
        "aeopcyxkmtbhijshdqwl" + "aopeikvtuxnyw" + "ioldhnagiyirbghlnacdejkmoptuvwzfs",
        strict=True,
    )
) | {"æ": "ae", "œ": "oe", "ى": "ي", "ة": "ه", "ک": "ك", "ی": "ي", "ँ": "ं"}
# Digits and symbols that are written for letters, with those letters. `*` hides a vowel.
_DIGITS = {"0": "o", "1": "il", "3": "e", "4": "a", "5": "s", "6": "g", "7": "t", "8": "b", "9": "g"}
_SYMBOLS = dict(zip("@$!¡|+€£¢*", ("a", "s", "i", "i", "il", "t", "e", "l", "c", "aeiou"), strict=True))
# Letters that are drawn as nothing, and the mark that only lengthens an Arabic letter.
_INVISIBLE = {"\u115f", "\u1160", "\u3164", "\uffa0", "\u0640"}
# Enclosed capital letters without a compatibility form: circled, squared, and the letters of flags.
_ENCLOSED = (0x1F150, 0x1F170, 0x1F1E6)
# Scripts whose vowel signs and voicing marks distinguish words: of India, Thailand and Laos, and kana.
_MARKED = ((0x0900, 0x0EFF), (0x3099, 0x309A))
_KATAKANA = (0x30A1, 0x30F6)
_KANA_DISTANCE = 0x60


class Folded:
    """A folded text: parallel lists with one entry for each run of equal letters, or of separators."""

    def __init__(self, text: str) -> None:
        self.letters: list[str] = []
        """The letters that a run may stand for, or `` for a separator."""
        self.counts: list[int] = []
        """The number of letters of a run."""
        self.starts: list[int] = []
        """The offset of the run's first character in the text."""
        self.ends: list[int] = []
        """The offset after its last character."""
        self.soft: list[bool] = []
        """Whether a run of letters may also be a separator: `!` is an `i` or a punctuation mark."""
        self.blank: list[bool] = []
        """Whether a separator has white space."""
        for index, character in enumerate(text):
            for letters, is_soft, is_blank in fold_character(character):
                self._append(index, letters, is_soft, is_blank)

    def _append(self, index: int, letters: str, is_soft: bool, is_blank: bool) -> None:
        if self.letters and self.letters[-1] == letters:
            self.counts[-1] += 1
            self.ends[-1] = index + 1
            self.soft[-1] = self.soft[-1] and is_soft
            self.blank[-1] = self.blank[-1] or is_blank
            return
        self.letters.append(letters)
        self.counts.append(1)
        self.starts.append(index)
        self.ends.append(index + 1)
        self.soft.append(is_soft)
        self.blank.append(is_blank)

    def __len__(self) -> int:
        return len(self.letters)

    def is_separator(self, index: int) -> bool:
        """Whether a run is not there, is a separator, or may be one."""
        return not 0 <= index < len(self.letters) or not self.letters[index] or self.soft[index]


@cache
def fold_character(character: str) -> tuple[tuple[str, bool, bool], ...]:
    """Return the letters of a character, each with whether it may be a separator and whether it is white space."""
    if character in _DIGITS:
        return ((_DIGITS[character], False, False),)
    if character in _SYMBOLS:
        return ((_SYMBOLS[character], True, False),)
    if character.isspace():
        return (("", False, True),)
    folded: list[tuple[str, bool, bool]] = []
    for part in unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", _open_enclosed(character)).casefold()):
        kind = unicodedata.category(part)
        if part in _INVISIBLE or (kind in ("Cf", "Mn", "Me") and not _is_marked(part)):
            continue
        if kind[0] in "LM":
            folded += [(letter, False, False) for letter in _LOOK_ALIKES.get(part, _to_hiragana(part))]
        elif kind == "Nd":
            digit = str(unicodedata.digit(part))
            folded.append((_DIGITS.get(digit, digit), False, False))
        else:
            folded.append(("", False, part.isspace()))
    return tuple(folded)


def is_written_letter(character: str) -> bool:
    """Whether a character is a letter, and not a digit or symbol that may be written for one."""
    if character in _SYMBOLS or character.isdecimal():
        return False
    return any(letters for letters, _, _ in fold_character(character))


def _open_enclosed(character: str) -> str:
    """Return the letter in an enclosed capital letter; any other character as it is."""
    for first in _ENCLOSED:
        if first <= ord(character) < first + 26:
            return chr(ord("a") + ord(character) - first)
    return character


def _is_marked(part: str) -> bool:
    return any(first <= ord(part) <= last for first, last in _MARKED)


def _to_hiragana(part: str) -> str:
    return chr(ord(part) - _KANA_DISTANCE) if _KATAKANA[0] <= ord(part) <= _KATAKANA[1] else part
