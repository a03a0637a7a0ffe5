"""File signatures: name the type of an unsupported file by its first bytes, for the error message."""

from __future__ import annotations

import re

HEAD_BYTES = 4096

# The XML declaration, comments, document type and processing instructions before the root of an SVG. The groups are
# atomic (`?>`), so that the search does not backtrack.
_PROLOG = r"<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>\[]*(?:\[.*?\])?\s*>"
_SVG = re.compile(rf"\ufeff?\s*(?>(?>{_PROLOG})\s*)*<(?:\w+:)?svg\b", re.DOTALL | re.IGNORECASE)


def _picture(kind: str) -> str:
    return f"a picture in an unsupported format ({kind}; PNG, JPEG, WebP, GIF, BMP, TIFF and PSD are supported)"


_PLAYLIST = "a playlist, which refers to other files and is not a video itself"
_STARTS = (
    (b"#EXTM3U", _PLAYLIST),
    (b"ffconcat version", _PLAYLIST),
    (b"[playlist]", _PLAYLIST),
    (b"v=0\r\n", _PLAYLIST),
    (b"v=0\n", _PLAYLIST),
    (b"II+\0", _picture("BigTIFF")),
    (b"MM\0+", _picture("BigTIFF")),
    (b"8BPS\0\2", _picture("PSB")),
    (b"\0\0\0\x0cJXL ", _picture("JPEG XL")),
    (b"\xff\x0a", _picture("JPEG XL")),
    (b"\0\0\0\x0cjP  ", _picture("JPEG 2000")),
    (b"\xff\x4f\xff\x51", _picture("JPEG 2000")),
    (b"\0\0\1\0", _picture("ICO")),
    (b"DDS ", _picture("DDS")),
    (b"\x76\x2f\x31\x01", _picture("EXR")),
    (b"ID3", "sound (MP3)"),
    (b"fLaC", "sound (FLAC)"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "an archive (ZIP)"),
    (b"\x1f\x8b", "an archive (gzip)"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)
_RIFF = {b"WAVE": "sound (WAV)"}
_BRANDS = {
    b"heic": _picture("HEIC"),
    b"heix": _picture("HEIC"),
    b"mif1": _picture("HEIF"),
    b"avif": _picture("AVIF"),
    b"M4A ": "sound (M4A)",
}
# The second byte of MPEG audio and ADTS after 0xFF: a sync word of 11 or 12 bits, which begins no video container.
_SOUND_SYNC = {0xFB, 0xF3, 0xF2, 0xFA, 0xF1, 0xF9}


def describe_unsupported(head: bytes) -> str | None:
    """The type of a file that is neither a video nor a supported picture, by its first `HEAD_BYTES` bytes.

    None when the file may be a video or a supported picture.
    """
    if not head:
        return "empty"
    if head[:4] == b"RIFF" and head[8:12] in _RIFF:
        return _RIFF[head[8:12]]
    if head[4:8] == b"ftyp" and head[8:12] in _BRANDS:
        return _BRANDS[head[8:12]]
    for start, kind in _STARTS:
        if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(start):
            return kind
    if head[0] == 0xFF and head[1:2] and head[1] in _SOUND_SYNC:
        return "sound (MPEG)"
    return _describe_text(head)


def _describe_text(head: bytes) -> str | None:
    try:
        text = head[: HEAD_BYTES - 4].decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        # The head may end in the middle of a character.
        if failure.start < len(failure.object) - 4:
            return None
        text = head[: failure.start].decode("utf-8-sig", errors="replace")
    if any(ord(character) < 32 and character not in "\t\r\n\f\x1b" for character in text):
        return None
    if _SVG.match(text):
        return _picture("SVG; export it as PNG in the desired size")
    if text.lstrip()[:9].lower().startswith(("<!doctype", "<html")):
        return "a web page; the address must lead to the file itself"
    return "a text file"
