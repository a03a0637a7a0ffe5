"""Flv: read the packets that ffmpeg writes, with their times.

FLV because every packet comes at once and whole, with its decoding and showing time, whether it is a key
frame, and, before the first, what a decoder must know: all of it after a few fixed bytes. Its times are
milliseconds, which tell the frames of up to 500 a second apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass

_FILE_HEAD_BYTES, _TAG_HEAD_BYTES, _TAG_TAIL_BYTES = 13, 11, 4
_VIDEO = 9
# What a tag holds: what a decoder must know; a picture with how much later it is shown; one that is shown at once.
_HEADERS, _CODED, _CODED_AT_ONCE = 0, 1, 3
# AV1 begins each frame with a mark that is not kept in an MP4 file (a temporal delimiter).
_AV1_MARK = b"\x12\x00"


@dataclass(frozen=True)
class Headers:
    """What a decoder must know beforehand; comes first."""

    data: bytes


@dataclass(frozen=True)
class Packet:
    """A coded frame, its times in frames."""

    data: bytes
    pts: int
    dts: int
    keyframe: bool


async def read(source: asyncio.StreamReader, frames_per_second: int) -> AsyncGenerator[Headers | Packet, None]:
    """The headers, then the packets, until the source ends or is cut."""
    delay: int | None = None
    with suppress(asyncio.IncompleteReadError):
        await source.readexactly(_FILE_HEAD_BYTES)
        while True:
            head = await source.readexactly(_TAG_HEAD_BYTES)
            body = await source.readexactly(int.from_bytes(head[1:4], "big"))
            await source.readexactly(_TAG_TAIL_BYTES)
            if head[0] != _VIDEO:
                continue
            kind, later, data_at = _layout(body)
            if kind == _HEADERS:
                headers = body[data_at:]
                yield Headers(_complete(headers) if _name(body) == b"hvc1" else headers)
            elif kind in (_CODED, _CODED_AT_ONCE):
                milliseconds = int.from_bytes(head[4:7], "big") | head[7] << 24
                dts, pts = (round(time * frames_per_second / 1000) for time in (milliseconds, milliseconds + later))
                # The first to be decoded is the first to be shown: what it waits is the codec's delay.
                delay = pts - dts if delay is None else delay
                data = body[data_at:]
                data = data.removeprefix(_AV1_MARK) if _name(body) == b"av01" else data
                yield Packet(data, pts - delay, dts - delay, body[0] >> 4 & 7 == 1)


def _name(body: bytes) -> bytes:
    """The codec's name in four letters; H.264 has none."""
    return body[1:5] if body[0] & 0x80 else b""


def _complete(headers: bytes) -> bytes:
    """The same `hvcC`, which says that the packets have no more of its kind, as it must in a file called `hvc1`."""
    said, at = bytearray(headers), 23
    for _ in range(headers[22]):
        said[at] |= 0x80
        units, at = int.from_bytes(headers[at + 1 : at + 3], "big"), at + 3
        for _ in range(units):
            at += 2 + int.from_bytes(headers[at : at + 2], "big")
    return bytes(said)


def _layout(body: bytes) -> tuple[int, int, int]:
    """What the body of a tag holds, how many milliseconds later than decoded it is shown, and where its data begins."""
    if name := _name(body):
        kind, at = body[0] & 15, 5
        # The one of them that shows frames in another order than it decodes them.
        waits = kind == _CODED and name == b"hvc1"
    else:
        kind, at = body[1], 2
        waits = True
    later = int.from_bytes(body[at : at + 3], "big", signed=True) if waits else 0
    return kind, later, at + 3 * waits
