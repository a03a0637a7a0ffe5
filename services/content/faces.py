"""Faces: the font files of a folder, read with HarfBuzz, which the renderer shapes text with too.

A file is mapped, not read: what of it is never asked for is never loaded. A face without outlines, such as one of
coloured pictures, counts for nothing: the renderer does not draw it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path

import structlog
import uharfbuzz as hb

from services.content.fonts import Extent, needs_glyph

log = structlog.get_logger()

_SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
_OUTLINES = {"glyf", "CFF ", "CFF2"}
_COLOURED = {"COLR", "CBDT", "sbix", "SVG "}
_NEEDED = ("head", "hhea", "hmtx", "maxp", "cmap", "name")
# In a script they would end the name.
_FORBIDDEN = frozenset(",{}\\\r\n")
_REMEMBERED = 1 << 14
_BOLD = 600
# As the script asks of the renderer.
_FEATURES = {"kern": False}


class FileFace:
    """A face of a font file."""

    def __init__(self, path: Path, face: hb.Face, name: str, bold: bool = False) -> None:
        self.path = path
        self.name = name
        self.made = bold
        self.names = frozenset(() if bold else (text.lower() for text in _names(face).values())) | {name.lower()}
        os2 = bytes(face.reference_table("OS/2").data)
        self.weight = struct.unpack_from(">H", os2, 4)[0] if os2 else 400
        self.slanted = bool(struct.unpack_from(">H", os2, 62)[0] & 1) if len(os2) >= 64 else False
        self.ascent, self.descent = (length / face.upem for length in _height(face, os2))
        self._upem = face.upem
        self._font = hb.Font(face)
        if bold:
            self.weight = round(_bold_weight(face))
            self._font.set_variations({"wght": _bold_weight(face)})
        self.measure = lru_cache(_REMEMBERED)(self._measure)

    def shows(self, text: str) -> bool:
        """Whether it knows all characters of a text that need a glyph, and its blanks."""
        return all(self._font.get_nominal_glyph(ord(c)) is not None for c in text if c == " " or needs_glyph(c))

    def _measure(self, text: str) -> Extent:
        """What a text takes, laid out as the renderer lays it out."""
        buffer = hb.Buffer()
        buffer.add_str(text)
        buffer.guess_segment_properties()
        hb.shape(self._font, buffer, _FEATURES)
        advance, above, below = 0, 0, 0
        # Of an empty text there are no positions.
        for glyph, place in zip(buffer.glyph_infos, buffer.glyph_positions or (), strict=True):
            advance += place.x_advance
            if box := self._font.get_glyph_extents(glyph.codepoint):
                above = max(above, place.y_offset + box.y_bearing)
                below = max(below, -(place.y_offset + box.y_bearing + box.height))
        return Extent(advance / self._upem, above / self._upem, below / self._upem)


class Folder:
    """The fonts in a folder and those below it. It is read when it is first asked for; a broken file is left out."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def faces(self) -> tuple[FileFace, ...]:
        """Each name once: of two faces with one name, the renderer is given the first, by the path of its file."""
        found: dict[str, FileFace] = {}
        # What is made of a font gives way to one that is there.
        for face in sorted((face for path in files(self.path) for face in _faces(path)), key=lambda face: face.made):
            found.setdefault(face.name.lower(), face)
        return tuple(found.values())

    @cached_property
    def _characters(self) -> hb.Set:
        known = hb.Set()
        for face in self.faces:
            known |= face._font.face.unicodes
        return known

    def may_show(self, character: str) -> bool:
        """Whether one of them knows a character."""
        return ord(character) in self._characters


def files(folder: Path) -> Iterator[Path]:
    """The font files in a folder and those below it, by their path."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(_SUFFIXES):
                yield Path(place, name)


def _faces(path: Path) -> Iterator[FileFace]:
    """The faces in a file that the renderer can draw with."""
    try:
        blob = hb.Blob.from_file_path(path)
        for index in range(hb.Face(blob).count or 1):
            face = hb.Face(blob, index)
            tags = set(face.table_tags)
            if not tags & _OUTLINES or tags & _COLOURED:
                if not tags:
                    raise ValueError("no font")
                continue
            if lost := [tag for tag in (*_NEEDED, *(tags & _OUTLINES)) if not len(face.reference_table(tag))]:
                raise ValueError(f"its tables {lost} are missing or cut off")
            # The renderer finds fonts with TrueType outlines by their full name, others by their PostScript name.
            names, kind = _names(face), hb.OTNameIdPredefined
            name = names.get(kind.FULL_NAME if "glyf" in tags else kind.POSTSCRIPT_NAME)
            name = name or names.get(kind.FONT_FAMILY, "")
            if "emoji" in name.lower():
                continue  # of the pictures of emoji it has the outlines alone
            if name.strip() and name == name.strip() and name[0] != "@" and not _FORBIDDEN & set(name):
                yield FileFace(path, face, name)
                family = names.get(kind.TYPOGRAPHIC_FAMILY) or names.get(kind.FONT_FAMILY, "")
                italic = "italic" in names.get(kind.FULL_NAME, "").lower()
                if family and not italic and _bold_weight(face):
                    yield FileFace(path, face, f"{family} Bold", bold=True)
    except (hb.HarfBuzzError, OSError, ValueError, struct.error) as failure:
        log.warning("font skipped", path=str(path), problem=str(failure))


def _bold_weight(face: hb.Face) -> float:
    """The bold weight of a face that is variable in weight and not bold by itself; 0: it has none.

    The renderer is given it as a file of its own, which the processing service makes under the same name.
    """
    for axis in face.axis_infos or ():
        if axis.tag == "wght" and axis.default_value < _BOLD <= axis.max_value:
            return float(min(axis.max_value, 700.0))
    return 0.0


def _names(face: hb.Face) -> dict[int, str]:
    """The English names of a face and its family, by their number."""
    kinds = hb.OTNameIdPredefined
    wanted = (kinds.FONT_FAMILY, kinds.FULL_NAME, kinds.POSTSCRIPT_NAME, kinds.TYPOGRAPHIC_FAMILY)
    return {kind: name for kind in wanted if (name := face.get_name(kind, "en"))}


def _height(face: hb.Face, os2: bytes) -> tuple[int, int]:
    """How far the renderer takes letters to reach above and below their line, in units of the font."""
    above, below = struct.unpack_from(">HH", os2, 74) if len(os2) >= 78 else (0, 0)
    if above + below:
        return above, below
    ascender, descender = struct.unpack_from(">hh", bytes(face.reference_table("hhea").data), 4)
    return ascender, -descender
