"""Animated WebP: read chunk by chunk, for PyAV's ffmpeg cannot open it; each of its frames is a WebP, which it can.

Part of the process that reads clips; imports nothing of the platform.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from fractions import Fraction
from typing import IO, Any

import av

from services.validation.rules import PROTOCOLS, Refused, Wanted, check_duration, check_pixels, check_range, decode

PICTURE, ANIMATION = "webp_pipe", "webp_anim"
# What an animated WebP shows for less than this is shown so long, as browsers and ffmpeg have it.
_MIN_MILLISECONDS, _SHOWN_MILLISECONDS = 11, 100
_HEAD_BYTES = 30


def is_animation(head: bytes) -> bool:
    """Whether a file that begins so, with 30 bytes or more, is an animated WebP."""
    extended = head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and len(head) >= _HEAD_BYTES
    return extended and bool(head[20] & 2)


def facts(file: IO[bytes], wanted: Wanted) -> dict[str, Any]:
    """The facts of an animated WebP. Raises Refused."""
    file.seek(24)
    width, height = _uint24(file.read(3)) + 1, _uint24(file.read(3)) + 1
    check_pixels(width, height, wanted)
    count, milliseconds = 0, 0
    for kind, size in _chunks(file):
        if kind != b"ANMF":
            continue
        header = file.read(min(16, size))
        shown = _uint24(header[12:15])
        milliseconds += shown if shown >= _MIN_MILLISECONDS else _SHOWN_MILLISECONDS
        count += 1
        if count == 1:
            _check_frame(header, file.read(size - len(header)), wanted)
    if not count:
        raise Refused("CLIP_NOT_PLAYABLE", "the file is damaged: it promises an animation, and holds no picture")
    check_duration(milliseconds / 1000, wanted)
    check_range(milliseconds / 1000, wanted)
    rate = Fraction(count * 1000, milliseconds).limit_denominator(100_000)
    return {
        "duration_seconds": milliseconds / 1000,
        "width": width,
        "height": height,
        "rate_numerator": rate.numerator,
        "rate_denominator": rate.denominator,
        "video_codec": "webp",
        "has_audio": False,
        "picture": {
            "width": width,
            "height": height,
            "has_matrix": True,
            "has_primaries": True,
            "has_alpha": True,
            "format": ANIMATION,
            "seconds": milliseconds / 1000,
            "picture_end": milliseconds / 1000,
        },
    }


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """The chunks of a RIFF file: kind and size, with the file at the beginning of each's content."""
    end = os.fstat(file.fileno()).st_size
    at = 12
    while at + 8 <= end:
        file.seek(at)
        kind, size = file.read(4), int.from_bytes(file.read(4), "little")
        if at + 8 + size > end:
            raise Refused("CLIP_NOT_PLAYABLE", f"the file is cut off: it has {end} bytes, and its content goes further")
        yield kind, size
        at += 8 + size + size % 2


def _check_frame(header: bytes, content: bytes, wanted: Wanted) -> None:
    """Decode a frame of an animation as the picture that it is."""
    # ALPHA is the flag of a picture with an alpha chunk, which must be told.
    flags = b"\x10" if content[:4] == b"ALPH" else b"\0"
    extended = b"VP8X" + (10).to_bytes(4, "little") + flags + bytes(3) + header[6:12]
    riff = b"WEBP" + extended + content
    data = io.BytesIO(b"RIFF" + len(riff).to_bytes(4, "little") + riff)
    options = {"format_whitelist": PICTURE, "protocol_whitelist": PROTOCOLS, "max_pixels": str(wanted.max_pixels)}
    with av.open(data, "r", format=PICTURE, options=options, metadata_errors="replace") as container:
        if not decode(container, container.streams.video[0], wanted, 1):
            raise Refused("CLIP_NOT_PLAYABLE", "the file is damaged: its first picture cannot be decoded")


def _uint24(data: bytes) -> int:
    return int.from_bytes(data, "little")
