"""File signatures: unsupported files are named by their first bytes."""

from __future__ import annotations

import pytest

from services.validation.file_signatures import HEAD_BYTES, describe_unsupported


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf#EXTM3U\n", "playlist"),
        (b"\n#EXTM3U\n", "playlist"),
        (b"RIFF\0\0\0\0WAVE", "sound"),
        (b"II+\0", "a picture in an unsupported format (BigTIFF"),
        (b"\xff\x0a\xfa", "JPEG XL"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a picture in an unsupported format (SVG"),
        (b"<?xml version='1.0'?>\n<!-- made by hand -->\n<!DOCTYPE svg PUBLIC '-//W3C'>\n<svg:svg/>", "SVG"),
        (b"\0\0\0\x1cftypavif", "picture"),
        (b"\0\0\0\x1cftypM4A ", "sound"),
        (b"\xff\xfb\x90\x44\0\0", "sound"),
        (b"  <HTML>", "web page"),
        (("é" * 4000).encode()[: HEAD_BYTES - 1], "text"),
    ],
)
def test_unsupported_files_are_named(head: bytes, kind: str) -> None:
    assert kind in (describe_unsupported(head) or "")


@pytest.mark.parametrize(
    "head",
    [
        b"\0\0\0\x20ftypisom",
        b"\x1a\x45\xdf\xa3",
        b"RIFF\0\0\0\0AVI LIST",
        b"G@\0\x10" + b"\0" * 184,
        b"FLV\1\5\0\0\0\t",
        b"RIFF\0\0\0\0WEBP",
        b"\xff\xd8\xff\xe0\0\x10JFIF\0",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"GIF89a\x40\x01",
        b"BM6\0",
        b"II*\0",
        b"MM\0*",
        b"8BPS\0\1",
    ],
)
def test_possible_videos_and_pictures_pass(head: bytes) -> None:
    assert describe_unsupported(head) is None
