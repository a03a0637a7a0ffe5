"""Faces: the font files of a folder, read with HarfBuzz, which libass uses to shape text too.

A file is memory-mapped, so that only the pages in use are loaded. A face without outlines, such as one of colour
pictures, is ignored: libass does not draw it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path

import structlog
import uharfbuzz as hb

from services.content.fonts.characters import needs_glyph
from services.content.fonts.fallback import Extent
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

# In an ASS script these characters end the name of a font.
_FORBIDDEN = frozenset(",{}\\\r\n")
_CACHE_SIZE = 1 << 14
# The script switches kerning off.
_FEATURES = {"kern": False}


class FileFace:
    """A face of a font file.

    Args:
        path: The font file.
        face: The face as HarfBuzz reads it.
        name: The name under which libass finds the face.
        bold: Whether this is the bold instance of a variable font.
    """

    def __init__(self, path: Path, face: hb.Face, name: str, bold: bool = False) -> None:
        self.path = path
        self.name = name
        self.is_instance = bold
        self.names = frozenset(() if bold else (text.lower() for text in _names(face).values())) | {name.lower()}
        os2 = bytes(face.reference_table("OS/2").data)
        self.weight = struct.unpack_from(">H", os2, 4)[0] if os2 else 400
        self.is_slanted = bool(struct.unpack_from(">H", os2, 62)[0] & 1) if len(os2) >= 64 else False
        self.ascent, self.descent = (length / face.upem for length in _height(face, os2))
        self._upem = face.upem
        self._font = hb.Font(face)
        if bold:
            self.weight = round(bold_weight(face))
            self._font.set_variations({"wght": bold_weight(face)})
        self.measure = lru_cache(_CACHE_SIZE)(self._measure)

    def shows(self, text: str) -> bool:
        """Whether the face has a glyph for every blank and every character of a text that needs one."""
        return all(self._font.get_nominal_glyph(ord(c)) is not None for c in text if c == " " or needs_glyph(c))

    def _measure(self, text: str) -> Extent:
        """The extent of a text in ems, shaped as libass shapes it."""
        buffer = hb.Buffer()
        buffer.add_str(text)
        buffer.guess_segment_properties()
        hb.shape(self._font, buffer, _FEATURES)
        advance, above, below = 0, 0, 0
        # An empty text has no positions: None.
        for glyph, position in zip(buffer.glyph_infos, buffer.glyph_positions or (), strict=True):
            advance += position.x_advance
            if box := self._font.get_glyph_extents(glyph.codepoint):
                above = max(above, position.y_offset + box.y_bearing)
                below = max(below, -(position.y_offset + box.y_bearing + box.height))
        return Extent(advance / self._upem, above / self._upem, below / self._upem)


class FontFolder:
    """The fonts of a folder and its subfolders. The folder is read on first use; broken files are skipped."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def faces(self) -> tuple[FileFace, ...]:
        """The faces, each name once: of two faces with one name, libass gets the first by the path of its file."""
        faces: dict[str, FileFace] = {}
        # A font file of a name goes before an instance of a variable font with the same name.
        every = (face for path in list_font_files(self.path) for face in _read_faces(path))
        for face in sorted(every, key=lambda face: face.is_instance):
            faces.setdefault(face.name.lower(), face)
        return tuple(faces.values())

    @cached_property
    def _characters(self) -> hb.Set:
        characters = hb.Set()
        for face in self.faces:
            characters |= face._font.face.unicodes
        return characters

    def may_show(self, character: str) -> bool:
        """Whether one of the faces has a character."""
        return ord(character) in self._characters


def _read_faces(path: Path) -> Iterator[FileFace]:
    """The faces of a file that libass can draw. A broken file is logged and yields none."""
    try:
        blob = hb.Blob.from_file_path(path)
        for index in range(hb.Face(blob).count or 1):
            face = hb.Face(blob, index)
            if not has_outlines(face):
                if not face.table_tags:
                    raise ValueError("not a font")
                continue
            if missing := missing_tables(face):
                raise ValueError(f"its tables {missing} are missing or cut off")
            name = lookup_name(face)
            if "emoji" in name.lower():
                continue  # outlines without the colours of the emoji
            if name.strip() and name == name.strip() and name[0] != "@" and not _FORBIDDEN & set(name):
                yield FileFace(path, face, name)
                if bold := bold_name(face):
                    yield FileFace(path, face, bold, bold=True)
    except (hb.HarfBuzzError, OSError, ValueError, struct.error) as failure:
        log.warning("font skipped", path=str(path), problem=str(failure))


def _names(face: hb.Face) -> dict[int, str]:
    """The English names of a face and its family, by their OpenType name ID."""
    ids = hb.OTNameIdPredefined
    relevant = (ids.FONT_FAMILY, ids.FULL_NAME, ids.POSTSCRIPT_NAME, ids.TYPOGRAPHIC_FAMILY)
    return {name_id: name for name_id in relevant if (name := english_name(face, name_id))}


def _height(face: hb.Face, os2: bytes) -> tuple[int, int]:
    """The ascent and descent of a line as libass computes them, in font units."""
    above, below = struct.unpack_from(">HH", os2, 74) if len(os2) >= 78 else (0, 0)
    if above + below:
        return above, below
    ascender, descender = struct.unpack_from(">hh", bytes(face.reference_table("hhea").data), 4)
    return ascender, -descender
