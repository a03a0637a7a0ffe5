"""Fonts: find the font files that an ASS script names, so that libass draws with these and no others.

Of two fonts with one name, the one in the first folder wins, and within a folder the first by its path. The content
service, which has the same folders, chooses in the same way. The bold weight of a variable font is a file made here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import uharfbuzz as hb

from services.media.fonts import bold_name, english_name, has_outlines, list_font_files, lookup_name, missing_tables
from services.processing.bold_fonts import BoldFonts

_STYLE = re.compile(r"^Style:[^,\n]*,([^,\n]*)", re.MULTILINE)
_OVERRIDE = re.compile(r"\\fn([^\\}\n]*)")


@dataclass(frozen=True)
class _Face:
    """A face of a font file that libass can draw."""

    path: Path
    index: int
    name: str
    """The name by which libass finds it."""
    family: str
    bold_name: str
    """The name of its bold weight, where it is variable; empty: it has none."""


class FontFolder:
    """The font files in a folder and those below it. They are read at the first request."""

    def __init__(self, path: Path, bold: BoldFonts) -> None:
        self._path = path
        self._bold = bold

    def find(self, name: str) -> Sequence[Path]:
        """Returns the file of the font with that name, or else the files of the family, or none."""
        key = name.lower()
        if found := self._names.get(key):
            return [found]
        if variable := self._bold_weights.get(key):
            return [self._bold.make_file(variable.path, variable.index, variable.bold_name)]
        return [face.path for face in self._faces if face.family.lower() == key]

    @cached_property
    def _faces(self) -> list[_Face]:
        return [face for path in list_font_files(self._path) for face in _read_faces(path)]

    @cached_property
    def _names(self) -> Mapping[str, Path]:
        return {face.name.lower(): face.path for face in reversed(self._faces)}

    @cached_property
    def _bold_weights(self) -> Mapping[str, _Face]:
        return {face.bold_name.lower(): face for face in reversed(self._faces) if face.bold_name}


class Fonts:
    """The fonts of several folders, in the order of their precedence."""

    def __init__(self, folders: Sequence[Path], bold_fonts: Path | None = None) -> None:
        """`bold_fonts` is the folder for fonts that are made here; None: a temporary one."""
        bold = BoldFonts(bold_fonts)
        self._folders = [FontFolder(folder, bold) for folder in folders]
        self._hashes: dict[tuple[Path, int, int], str] = {}

    def files(self, script: str) -> tuple[Path, ...]:
        """Returns the files of the fonts that a script names, as far as they are in the folders, sorted by name."""
        found = [path for name in sorted(_font_names(script)) for path in self._find(name)]
        return tuple(dict.fromkeys(found))

    def complete(self, script: str) -> bool:
        """Whether all fonts that a script names are in the folders."""
        return all(map(self._find, _font_names(script)))

    def sha256(self, script: str) -> str:
        """Returns one hash of those files, because captions depend on them; empty when there are none."""
        files = self.files(script)
        return hashlib.sha256("".join(map(self._hash, files)).encode()).hexdigest() if files else ""

    def _find(self, name: str) -> Sequence[Path]:
        return next((files for folder in self._folders if (files := folder.find(name))), ())

    def _hash(self, path: Path) -> str:
        now = path.stat()
        key = (path, now.st_size, now.st_mtime_ns)
        if key not in self._hashes:
            self._hashes[key] = hashlib.sha256(path.read_bytes()).hexdigest()
        return self._hashes[key]


def _font_names(script: str) -> set[str]:
    events = script.partition("[Events]")[2]
    names = {*_STYLE.findall(script), *_OVERRIDE.findall(events)}
    return {name.strip() for name in names if name.strip()}


def _read_faces(path: Path) -> Iterator[_Face]:
    try:
        blob = hb.Blob.from_file_path(path)
    except (hb.HarfBuzzError, OSError):
        return
    for index in range(hb.Face(blob).count):
        face = hb.Face(blob, index)
        if has_outlines(face) and not missing_tables(face):
            family = english_name(face, hb.OTNameIdPredefined.FONT_FAMILY)
            yield _Face(path, index, lookup_name(face), family, bold_name(face))
