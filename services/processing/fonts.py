"""Fonts: the files of the fonts that an ASS script names, so that it is drawn with these and with no others.

Of two fonts with one name it is that of the first folder, and in a folder that whose file comes first by its path: as
the content service chose it, which has the same folders. Of a font that is variable in weight, the bold one is a file
that is made here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import uharfbuzz as hb

from services.media.fonts import bold_name, english_name, has_outlines, list_font_files, lookup_name, missing_tables
from services.processing.bold_fonts import BoldFonts

_STYLE = re.compile(r"^Style:[^,\n]*,([^,\n]*)", re.MULTILINE)
_OVERRIDE = re.compile(r"\\fn([^\\}\n]*)")


class Folder:
    """The font files in a folder and those below it. It is read when it is first asked for."""

    def __init__(self, path: Path, bold: BoldFonts) -> None:
        self._path = path
        self._bold = bold

    def named(self, name: str) -> Sequence[Path]:
        """The file of the font of that name, or the files of the family."""
        fonts, families, bold = self._files
        if found := fonts.get(name.lower(), [])[:1]:
            return found
        if variable := bold.get(name.lower()):
            return [self._bold.file(*variable)]
        return families.get(name.lower(), [])

    @cached_property
    def _files(self) -> tuple[Mapping[str, list[Path]], Mapping[str, list[Path]], Mapping[str, tuple[Path, int, str]]]:
        fonts: dict[str, list[Path]] = {}
        families: dict[str, list[Path]] = {}
        bold: dict[str, tuple[Path, int, str]] = {}
        for path in list_font_files(self._path):
            for index, name, family, bolder in _names(path):
                fonts.setdefault(name.lower(), []).append(path)
                families.setdefault(family.lower(), []).append(path)
                if bolder:
                    bold.setdefault(bolder.lower(), (path, index, bolder))
        return fonts, families, bold


class Fonts:
    """The fonts of some folders."""

    def __init__(self, folders: Sequence[Path], made: Path | None = None) -> None:
        """`made` is the folder for fonts that are made here; None: one that goes with the process."""
        bold = BoldFonts(made)
        self._folders = [Folder(folder, bold) for folder in folders]
        self._hashes: dict[tuple[Path, int, int], str] = {}

    def files(self, script: str) -> tuple[Path, ...]:
        """The files of the fonts that a script names and that are at hand, in the order of their names."""
        found = [path for name in sorted(_named(script)) for path in self._named(name)]
        return tuple(dict.fromkeys(found))

    def complete(self, script: str) -> bool:
        """Whether all fonts that a script names are at hand."""
        return all(map(self._named, _named(script)))

    def sha256(self, script: str) -> str:
        """One hash for those files: other fonts draw other captions. Empty without any."""
        files = self.files(script)
        return hashlib.sha256("".join(map(self._hash, files)).encode()).hexdigest() if files else ""

    def _named(self, name: str) -> Sequence[Path]:
        return next((files for folder in self._folders if (files := folder.named(name))), ())

    def _hash(self, path: Path) -> str:
        now = path.stat()
        key = (path, now.st_size, now.st_mtime_ns)
        if key not in self._hashes:
            self._hashes[key] = hashlib.sha256(path.read_bytes()).hexdigest()
        return self._hashes[key]


def _named(script: str) -> set[str]:
    events = script.partition("[Events]")[2]
    names = {*_STYLE.findall(script), *_OVERRIDE.findall(events)}
    return {name.strip() for name in names if name.strip()}


def _names(path: Path) -> Iterator[tuple[int, str, str, str]]:
    """The faces of a file that the renderer can draw with: their places, the names under which it finds them, their
    families, and the names of the bold weights of those that are variable."""
    try:
        blob = hb.Blob.from_file_path(path)
    except (hb.HarfBuzzError, OSError):
        return
    for index in range(hb.Face(blob).count):
        face = hb.Face(blob, index)
        if has_outlines(face) and not missing_tables(face):
            yield index, lookup_name(face), english_name(face, hb.OTNameIdPredefined.FONT_FAMILY), bold_name(face)
