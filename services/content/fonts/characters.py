"""Characters: which of them need a glyph, how wide they are without a font, and which ones form one picture."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

_CACHE_SIZE = 1 << 16

# Format characters that are drawn, unlike all others: signs under Arabic and other numbers, and marks of annotations.
_DRAWN_FORMAT_CHARACTERS = frozenset(
    [*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0xFFF9, 0xFFFA, 0xFFFB, 0x110BD, 0x110CD]
)


@lru_cache(_CACHE_SIZE)
def needs_glyph(character: str) -> bool:
    """Whether a font must have a glyph to show a character. Blanks, joiners and variation selectors need none."""
    category = unicodedata.category(character)
    if category == "Cf":
        return ord(character) in _DRAWN_FORMAT_CHARACTERS
    return category not in ("Cc", "Zs", "Zl", "Zp") and not (
        "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    )


@lru_cache(_CACHE_SIZE)
def is_emoji(character: str) -> bool:
    """Whether a character is a colour picture by default (Emoji_Presentation): a wide symbol, or half a flag.

    libass draws no colour glyphs; it would show a grey outline.
    """
    return "\U0001f1e6" <= character <= "\U0001f1ff" or (
        unicodedata.category(character) in ("So", "Sk")
        and unicodedata.east_asian_width(character) == "W"
        and not "\u2e80" <= character <= "\u4dff"
    )


@lru_cache(_CACHE_SIZE)
def count_columns(character: str) -> int:
    """The columns of a character: 0 for a mark, 2 for Chinese, Japanese, Korean and emoji, otherwise 1."""
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def is_joined(before: str, after: str) -> bool:
    """Whether two neighbouring characters form one picture: a letter with its mark, an emoji sequence."""
    return (
        "\u200d" in (before, after)
        or unicodedata.category(after)[0] == "M"
        or "\U0001f3fb" <= after <= "\U0001f3ff"
        or "\U000e0020" <= after <= "\U000e007f"
    )
