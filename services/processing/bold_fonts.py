"""Bold fonts: the bold weight of a variable font, as a file of its own.

libass draws a variable font in its default weight only, which is thin beside the bold letters of captions. So such a
font has two names: its own, and `<family> Bold`, whose file is made at its first use.
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
    """Makes files of bold weights in a folder, each once."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._files: dict[str, Path] = {}
        self._lock = Lock()

    def make_file(self, source: Path, index: int, name: str) -> Path:
        """Returns the file of the bold weight of a face, under the name `name`; makes it at the first call.

        `index` is the index of the face in the font file `source`.
        """
        with self._lock:
            if name not in self._files:
                path = (
                    self._folder or self._temporary_folder
                ) / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.ttf"
                _write_bold_font(source, index, name, path)
                self._files[name] = path
            return self._files[name]

    @cached_property
    def _temporary_folder(self) -> Path:
        folder = tempfile.mkdtemp(prefix="moneyprinter-fonts-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)


def _write_bold_font(source: Path, index: int, name: str, target: Path) -> None:
    """Write the bold weight of a face to the file `target`, under its new name."""
    face = hb.Face(hb.Blob.from_file_path(source), index)
    subset = hb.SubsetInput()
    subset.keep_everything()
    subset.pin_axis_location(face, "wght", bold_weight(face))
    font = bytes(hb.subset(face, subset).blob.data)
    part = target.with_suffix(".part")
    part.write_bytes(_replace_table(font, b"name", _name_table(name)))
    part.rename(target)


def _name_table(name: str) -> bytes:
    """The table `name`: family, style, full name and PostScript name, in English."""
    texts = {1: name, 2: "Regular", 4: name, 6: name.replace(" ", "")}
    records, strings = b"", b""
    for number, text in texts.items():
        encoded = text.encode("utf-16-be")
        records += struct.pack(">6H", *_UNICODE, _ENGLISH, number, len(encoded), len(strings))
        strings += encoded
    return struct.pack(">3H", 0, len(texts), 6 + len(records)) + records + strings


def _replace_table(font: bytes, tag: bytes, table: bytes) -> bytes:
    """A font (OpenType, chapter "Organization of an OpenType font") with one of its tables replaced."""
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
