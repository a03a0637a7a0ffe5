"""Faces: the font files of a folder, read with HarfBuzz, which the renderer shapes text with too.

A file is mapped, not read: what of it is never asked for is never loaded. A face without outlines, such as one of
coloured pictures, counts for nothing: the renderer does not draw it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path

import structlog
import uharfbuzz as hb

from services.content.fonts import Extent, needs_glyph
from services.media.fonts import (
    bold_name,
    bold_weight,
    english_name,
    has_outlines,
    list_font_files,
    lookup_name,
    missing_tables,
)

log = structlog.get_logger()

# In a script they would end the name.
_FORBIDDEN = frozenset(",{}\\\r\n")
_REMEMBERED = 1 << 14
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
            self.weight = round(bold_weight(face))
            self._font.set_variations({"wght": bold_weight(face)})
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
        faces = (face for path in list_font_files(self.path) for face in _faces(path))
        for face in sorted(faces, key=lambda face: face.made):
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


def _faces(path: Path) -> Iterator[FileFace]:
    """The faces in a file that the renderer can draw with."""
    try:
        blob = hb.Blob.from_file_path(path)
        for index in range(hb.Face(blob).count or 1):
            face = hb.Face(blob, index)
            if not has_outlines(face):
                if not face.table_tags:
                    raise ValueError("no font")
                continue
            if lost := missing_tables(face):
                raise ValueError(f"its tables {lost} are missing or cut off")
            name = lookup_name(face)
            if "emoji" in name.lower():
                continue  # of the pictures of emoji it has the outlines alone
            if name.strip() and name == name.strip() and name[0] != "@" and not _FORBIDDEN & set(name):
                yield FileFace(path, face, name)
                if bold := bold_name(face):
                    yield FileFace(path, face, bold, bold=True)
    except (hb.HarfBuzzError, OSError, ValueError, struct.error) as failure:
        log.warning("font skipped", path=str(path), problem=str(failure))


def _names(face: hb.Face) -> dict[int, str]:
    """The English names of a face and its family, by their number."""
    kinds = hb.OTNameIdPredefined
    wanted = (kinds.FONT_FAMILY, kinds.FULL_NAME, kinds.POSTSCRIPT_NAME, kinds.TYPOGRAPHIC_FAMILY)
    return {kind: name for kind in wanted if (name := english_name(face, kind))}


def _height(face: hb.Face, os2: bytes) -> tuple[int, int]:
    """How far the renderer takes letters to reach above and below their line, in units of the font."""
    above, below = struct.unpack_from(">HH", os2, 74) if len(os2) >= 78 else (0, 0)
    if above + below:
        return above, below
    ascender, descender = struct.unpack_from(">hh", bytes(face.reference_table("hhea").data), 4)
    return ascender, -descender
