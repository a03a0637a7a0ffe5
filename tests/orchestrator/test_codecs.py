"""Codecs: the names in a playlist are those of RFC 6381 for what the header of a stream declares."""

from __future__ import annotations

import struct

import pytest

from services.orchestrator.videos import codecs, hls


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


@pytest.mark.parametrize(
    ("header", "names"),
    [
        (box(b"avcC", bytes.fromhex("0164001fffe1")), ["avc1.64001f"]),
        # Main, level 3.1, progressive and frames only.
        (box(b"hvcC", bytes.fromhex("01 01 60000000 900000000000 5d f000")), ["hvc1.1.6.L93.90"]),
        (box(b"vpcC", bytes.fromhex("01000000 00 1f 82 02 02 02 0000")), ["vp09.00.31.08"]),
        (box(b"av1C", bytes.fromhex("81 08 0c 00")), ["av01.0.08M.08"]),
        (box(b"av1C", bytes.fromhex("81 0d 4c 00")), ["av01.0.13M.10"]),
        (box(b"avcC", bytes.fromhex("014d401e")) + box(b"esds", b""), ["avc1.4d401e", "mp4a.40.2"]),
        (b"no known box", []),
    ],
)
def test_codecs_are_named(header: bytes, names: list[str]) -> None:
    assert codecs.codec_names(header) == names


def test_a_playlist_names_the_codecs_of_video_and_sound_or_none() -> None:
    assert hls.codec_names(box(b"avcC", bytes.fromhex("0164001f"))) == "avc1.64001f,mp4a.40.2"
    assert hls.codec_names(b"") == ""
