"""Bold fonts: the bold weight of a variable font, as a file of its own.

The renderer draws a variable font in its default weight only, which is thin beside the bold letters of captions. Such a
font is offered twice: under its own name, and as `<family> Bold`, which is made when it is first asked for.
"""

from __future__ import annotations

import hashlib
import shutil
import struct
import tempfile
import weakref
from functools import cached_property
from pathlib import Path
from threading import Lock

import uharfbuzz as hb

from services.media.fonts import bold_weight

_UNICODE, _ENGLISH = (3, 1), 0x409


class BoldFonts:
    """The bold weights that were made, in a folder."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._made: dict[str, Path] = {}
        self._lock = Lock()

    def file(self, source: Path, index: int, name: str) -> Path:
        """The file of the bold weight of a face of a font file; it is made when it is first asked for."""
        with self._lock:
            if name not in self._made:
                path = (self._folder or self._own) / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.ttf"
                _write(source, index, name, path)
                self._made[name] = path
            return self._made[name]

    @cached_property
    def _own(self) -> Path:
        folder = tempfile.mkdtemp(prefix="moneyprinter-fonts-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)


def _write(source: Path, index: int, name: str, target: Path) -> None:
    """Write the bold weight of a face of a font file, under a name that no other font has."""
    face = hb.Face(hb.Blob.from_file_path(source), index)
    wanted = hb.SubsetInput()
    wanted.keep_everything()
    wanted.pin_axis_location(face, "wght", bold_weight(face))
    font = bytes(hb.subset(face, wanted).blob.data)
    part = target.with_suffix(".part")
    part.write_bytes(_with_table(font, b"name", _names(name)))
    part.rename(target)


def _names(name: str) -> bytes:
    """A table of names: family, style, full name and PostScript name, in English."""
    texts = {1: name, 2: "Regular", 4: name, 6: name.replace(" ", "")}
    records, strings = b"", b""
    for number, text in texts.items():
        written = text.encode("utf-16-be")
        records += struct.pack(">6H", *_UNICODE, _ENGLISH, number, len(written), len(strings))
        strings += written
    return struct.pack(">3H", 0, len(texts), 6 + len(records)) + records + strings


def _with_table(font: bytes, tag: bytes, table: bytes) -> bytes:
    """A font (OpenType, chapter "Organization of an OpenType font") with another table in place of one that it has."""
    (count,) = struct.unpack_from(">H", font, 4)
    found = [struct.unpack_from(">4s3I", font, 12 + 16 * number) for number in range(count)]
    tables = {name: font[offset : offset + length] for name, _, offset, length in found} | {tag: table}
    offset, entries, body = 12 + 16 * len(tables), b"", b""
    for name, data in sorted(tables.items()):
        padded = data + bytes(-len(data) % 4)
        checksum = sum(struct.unpack(f">{len(padded) // 4}I", padded)) & 0xFFFFFFFF
        entries += struct.pack(">4s3I", name, checksum, offset + len(body), len(data))
        body += padded
    return font[:4] + struct.pack(">H", len(tables)) + font[6:12] + entries + body
