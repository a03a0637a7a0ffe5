"""Animated WebP: read chunk by chunk, because PyAV's ffmpeg opens no animation; it opens each frame as a WebP picture.

Runs in the probe child; imports nothing of the platform.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from fractions import Fraction
from typing import IO, Any

import av

from services.validation.checks import (
    PROTOCOLS,
    ClipRefused,
    ProbeRequest,
    check_duration,
    check_pixels,
    check_range,
    decode,
)

PICTURE, ANIMATION = "webp_pipe", "webp_anim"
# A frame with a shorter duration than the first is shown for the second, as in browsers and ffmpeg.
_MIN_MILLISECONDS, _DEFAULT_MILLISECONDS = 11, 100
_HEAD_BYTES = 30


def is_animation(head: bytes) -> bool:
    """Whether a file is an animated WebP, by its first 30 bytes."""
    extended = head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and len(head) >= _HEAD_BYTES
    return extended and bool(head[20] & 2)


def probe_animation(file: IO[bytes], request: ProbeRequest) -> dict[str, Any]:
    """The facts of an animated WebP. Raises `ClipRefused` when it cannot be used."""
    file.seek(24)
    width, height = _uint24(file.read(3)) + 1, _uint24(file.read(3)) + 1
    check_pixels(width, height, request)
    count, milliseconds = 0, 0
    for kind, size in _chunks(file):
        if kind != b"ANMF":
            continue
        header = file.read(min(16, size))
        duration = _uint24(header[12:15])
        milliseconds += duration if duration >= _MIN_MILLISECONDS else _DEFAULT_MILLISECONDS
        count += 1
        if count == 1:
            _check_frame(header, file.read(size - len(header)), request)
    if not count:
        raise ClipRefused("CLIP_NOT_PLAYABLE", "the file is damaged: it is marked as an animation and has no picture")
    check_duration(milliseconds / 1000, request)
    check_range(milliseconds / 1000, request)
    rate = Fraction(count * 1000, milliseconds).limit_denominator(100_000)
    return {
        "duration_seconds": milliseconds / 1000,
        "width": width,
        "height": height,
        "rate_numerator": rate.numerator,
        "rate_denominator": rate.denominator,
        "video_codec": "webp",
        "has_audio": False,
        "source": {
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
    """Yield the type and size of each chunk of a RIFF file, with the file at the beginning of its content."""
    end = os.fstat(file.fileno()).st_size
    at = 12
    while at + 8 <= end:
        file.seek(at)
        kind, size = file.read(4), int.from_bytes(file.read(4), "little")
        if at + 8 + size > end:
            message = f"the file is cut off: it has {end} bytes, and its content continues beyond them"
            raise ClipRefused("CLIP_NOT_PLAYABLE", message)
        yield kind, size
        at += 8 + size + size % 2


def _check_frame(header: bytes, content: bytes, request: ProbeRequest) -> None:
    """Decode a frame of an animation as a picture."""
    # The header of a picture with an alpha chunk must have the ALPHA flag.
    flags = b"\x10" if content[:4] == b"ALPH" else b"\0"
    extended = b"VP8X" + (10).to_bytes(4, "little") + flags + bytes(3) + header[6:12]
    riff = b"WEBP" + extended + content
    data = io.BytesIO(b"RIFF" + len(riff).to_bytes(4, "little") + riff)
    options = {"format_whitelist": PICTURE, "protocol_whitelist": PROTOCOLS, "max_pixels": str(request.max_pixels)}
    with av.open(data, "r", format=PICTURE, options=options, metadata_errors="replace") as container:
        if not decode(container, container.streams.video[0], request, 1):
            raise ClipRefused("CLIP_NOT_PLAYABLE", "the file is damaged: its first picture cannot be decoded")


def _uint24(data: bytes) -> int:
    return int.from_bytes(data, "little")
