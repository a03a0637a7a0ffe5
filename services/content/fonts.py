"""Fonts: which characters the font files at hand can show, and how wide they are.

Only what captions need is read of a TrueType or OpenType file: its names, its character map (formats 4
and 12) and the advances of its glyphs. A font without outlines, such as one of coloured pictures, counts
for nothing: the renderer does not draw it.
"""

from __future__ import annotations

import struct
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from services.runtime.config import ConfigError

_SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
_KINDS = (b"\0\1\0\0", b"OTTO", b"true")
_FAMILY, _FULL, _POSTSCRIPT, _TYPOGRAPHIC = 1, 4, 6, 16
# Of the size of the letters, for a column of one Latin letter; a little more than English takes in Manrope ExtraBold.
COLUMN = 0.38


@dataclass(frozen=True, eq=False)
class Font:
    """A face of a font file."""

    name: str
    """The name under which the renderer finds this face and no other."""
    names: frozenset[str]
    """All its names, in small letters."""
    weight: int
    """400 is regular, 800 extra bold."""
    advances: Mapping[int, float] = field(repr=False)
    """For each character that it can show, how far it moves the pen, as a part of the size of the letters."""


def load(folder: Path, main: str) -> tuple[Font, ...]:
    """The fonts in a folder: the one called `main`, then those for what it cannot show, the most alike in weight first.

    Raises ConfigError when a file cannot be read, or none is called so.
    """
    found = [font for path in sorted(folder.iterdir()) if path.suffix.lower() in _SUFFIXES for font in _faces(path)]
    called = [font for font in found if main.lower() in font.names]
    if not called:
        raise ConfigError(f"{folder} has no font {main!r}; it has: {', '.join(sorted({font.name for font in found}))}")
    first = min(called, key=lambda font: (abs(font.weight - 400), font.name))
    others = sorted(
        (font for font in found if font is not first), key=lambda font: (abs(font.weight - first.weight), font.name)
    )
    return (first, *others)


def needs_glyph(character: str) -> bool:
    """Whether a font must know a character to show it; blanks, joiners and variation selectors are not drawn."""
    return unicodedata.category(character) not in ("Cf", "Cc", "Zs", "Zl", "Zp") and not (
        "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    )


def runs(text: str, fonts: Sequence[Font]) -> list[tuple[Font | None, str]]:
    """A text in pieces of one font each, in the order in which it is read; None: no font can show the piece.

    A letter and its marks stay together, and so do a word and the signs beside it where its font has them.
    """
    found: list[tuple[Font | None, str]] = []
    for cluster in _clusters(unicodedata.normalize("NFC", text)):
        last = found[-1][0] if found else None
        neutral = unicodedata.category(cluster[0])[0] not in "LN"
        font = last if last and neutral and _shows(last, cluster) else _first(fonts, cluster)
        # What no font has whole may still be shown without a mark.
        for one, part in [(font, cluster)] if font else [(_first(fonts, c), c) for c in cluster]:
            if found and found[-1][0] is one:
                found[-1] = (one, found[-1][1] + part)
            else:
                found.append((one, part))
    return found


def _shows(font: Font, text: str) -> bool:
    return all(ord(character) in font.advances for character in text if needs_glyph(character))


def _first(fonts: Sequence[Font], text: str) -> Font | None:
    return next((font for font in fonts if _shows(font, text)), None)


def missing(text: str, fonts: Sequence[Font]) -> str:
    """The characters that no font can show, each once, in order. Without fonts nothing is known to be missing."""
    lost = "".join(part for font, part in runs(text, fonts) if font is None) if fonts else ""
    return "".join(dict.fromkeys(character for character in lost if needs_glyph(character)))


def width(text: str, fonts: Sequence[Font]) -> float:
    """How wide a line is, as a part of the size of its letters. Without fonts it is estimated."""
    if not fonts:
        return COLUMN * sum(map(columns, text))
    return sum(font.advances.get(ord(c), 0.0) for font, part in runs(text, fonts) if font for c in part if columns(c))


def columns(character: str) -> int:
    """How many columns a character takes: a mark none, a Chinese, Japanese or Korean one and an emoji two."""
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _clusters(text: str) -> Iterator[str]:
    """Letters with their marks, and what joiners hold together."""
    cluster = ""
    for character in text:
        joined = unicodedata.category(character)[0] == "M" or character == "\u200d" or cluster.endswith("\u200d")
        if cluster and not joined:
            yield cluster
            cluster = ""
        cluster += character
    if cluster:
        yield cluster


def _faces(path: Path) -> Iterator[Font]:
    """The faces in a file that have outlines."""
    data = path.read_bytes()
    try:
        starts = [0]
        if data[:4] == b"ttcf":
            starts = list(struct.unpack_from(f">{struct.unpack_from('>I', data, 8)[0]}I", data, 12))
        for start in starts:
            if data[start : start + 4] not in _KINDS:
                raise KeyError(data[start : start + 4])
            tables = {
                tag: data[offset : offset + length]
                for tag, _, offset, length in struct.iter_unpack(
                    ">4s3I", data[start + 12 : start + 12 + 16 * struct.unpack_from(">H", data, start + 4)[0]]
                )
            }
            if {b"glyf", b"CFF ", b"CFF2"} & tables.keys():
                yield _face(tables)
    except (struct.error, KeyError, IndexError) as failure:
        raise ConfigError(f"{path} is no font that can be read: {failure!r}") from None


def _face(tables: Mapping[bytes, bytes]) -> Font:
    os2, hhea, hmtx = tables[b"OS/2"], tables[b"hhea"], tables[b"hmtx"]
    # The renderer scales a font so that its ascent and descent together are the size that is asked for.
    above, below = struct.unpack_from(">HH", os2, 74)
    if not above + below:
        ascender, descender = struct.unpack_from(">hh", hhea, 4)
        above, below = ascender, -descender
    count = struct.unpack_from(">H", hhea, 34)[0]
    advances = struct.unpack_from(">" + "Hh" * count, hmtx)[::2]
    names = _names(tables[b"name"])
    # The renderer finds fonts with TrueType outlines by their full name, others by their PostScript name.
    name = names.get(_FULL if b"glyf" in tables else _POSTSCRIPT) or names[_FAMILY]
    return Font(
        name=name,
        names=frozenset(text.lower() for text in names.values()),
        weight=struct.unpack_from(">H", os2, 4)[0],
        advances={
            code: advances[min(glyph, count - 1)] / (above + below) for code, glyph in _characters(tables[b"cmap"])
        },
    )


def _names(table: bytes) -> dict[int, str]:
    """The English names of a face, by their number."""
    _, count, strings = struct.unpack_from(">3H", table)
    found: dict[int, str] = {}
    for platform, _, language, number, length, offset in struct.iter_unpack(">6H", table[6 : 6 + 12 * count]):
        if platform == 3 and language == 0x409 and number in (_FAMILY, _FULL, _POSTSCRIPT, _TYPOGRAPHIC):
            found[number] = table[strings + offset : strings + offset + length].decode("utf-16-be", "replace")
    return found


def _characters(table: bytes) -> Iterator[tuple[int, int]]:
    """The pairs (character, glyph) of a character map."""
    for _, _, offset in struct.iter_unpack(">HHI", table[4 : 4 + 8 * struct.unpack_from(">H", table, 2)[0]]):
        kind = struct.unpack_from(">H", table, offset)[0]
        if kind == 12:
            groups = struct.unpack_from(">I", table, offset + 12)[0]
            for first, last, glyph in struct.iter_unpack(">3I", table[offset + 16 : offset + 16 + 12 * groups]):
                yield from ((code, glyph + code - first) for code in range(first, min(last, 0x10FFFF) + 1))
        elif kind == 4:
            length, _, doubled = struct.unpack_from(">3H", table, offset + 2)
            words = struct.unpack_from(f">{(length - 14) // 2}H", table, offset + 14)
            count = doubled // 2
            ends, starts = words[:count], words[count + 1 : 2 * count + 1]
            deltas, ranges = words[2 * count + 1 : 3 * count + 1], words[3 * count + 1 : 4 * count + 1]
            for segment, (first, last) in enumerate(zip(starts, ends, strict=True)):
                for code in range(first, min(last, 0xFFFE) + 1):
                    glyph = code
                    if ranges[segment]:
                        at = 3 * count + 1 + segment + ranges[segment] // 2 + code - first
                        glyph = words[at] if at < len(words) else 0
                    if glyph or not ranges[segment]:
                        glyph = (glyph + deltas[segment]) & 0xFFFF
                    if glyph:
                        yield code, glyph
