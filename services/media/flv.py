"""FLV: packets with their times, written to a pipe and read from one.

FLV (Adobe's version 10.1, and Enhanced RTMP 2 for codecs other than H.264) because every packet comes at once and
whole, with its decoding and presentation time and whether it is a key frame, and because the codec's sequence header
precedes the first packet. Times are milliseconds: read, they tell the frames of up to 500 a second apart; written, one
millisecond stands for one frame.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass

from services.media.encoding import Codec

FILE_HEADER = b"FLV\x01\x01" + (9).to_bytes(4, "big") + bytes(4)

_TAG_HEADER_BYTES, _TAG_TRAILER_BYTES = 11, 4
_VIDEO = 9
_KEY_FRAME, _INTER_FRAME = 1, 2
_AVC, _ENHANCED = 7, 0x80
# The content of a tag: a sequence header; a frame with its composition time; a frame that is shown when decoded.
_SEQUENCE_HEADER, _CODED_FRAMES, _CODED_FRAMES_X = 0, 1, 3
_FOUR_CCS = {Codec.H265: b"hvc1", Codec.VP9: b"vp09", Codec.AV1: b"av01"}
# ffmpeg begins each frame of AV1 with a temporal delimiter, which an MP4 file must not have.
_AV1_TEMPORAL_DELIMITER = b"\x12\x00"


@dataclass(frozen=True)
class SequenceHeader:
    """What a decoder needs before the first packet (`extradata` in ffmpeg), as an MP4 file holds it."""

    data: bytes


@dataclass(frozen=True)
class Packet:
    """An encoded frame."""

    data: bytes
    pts: int
    """Presentation time, in frames from the first frame shown."""
    dts: int
    """Decoding time, in frames; below 0 where the codec reorders frames."""
    keyframe: bool


Encoded = SequenceHeader | Packet
"""A part of an encoded stream."""


async def read_packets(source: asyncio.StreamReader, frames_per_second: int) -> AsyncGenerator[Encoded, None]:
    """Yields the sequence header, then the packets in decoding order, until the source ends or is cut off."""
    delay: int | None = None
    with suppress(asyncio.IncompleteReadError):
        await source.readexactly(len(FILE_HEADER))
        while True:
            head = await source.readexactly(_TAG_HEADER_BYTES)
            body = await source.readexactly(int.from_bytes(head[1:4], "big"))
            await source.readexactly(_TAG_TRAILER_BYTES)
            if head[0] != _VIDEO:
                continue
            kind, composition_time, data_at = _parse_body(body)
            if kind == _SEQUENCE_HEADER:
                data = body[data_at:]
                yield SequenceHeader(_mark_complete(data) if _four_cc(body) == b"hvc1" else data)
            elif kind in (_CODED_FRAMES, _CODED_FRAMES_X):
                milliseconds = int.from_bytes(head[4:7], "big") | head[7] << 24
                dts, pts = (
                    round(time * frames_per_second / 1000) for time in (milliseconds, milliseconds + composition_time)
                )
                # The first packet is the first frame shown, so its wait is the codec's delay.
                delay = pts - dts if delay is None else delay
                data = body[data_at:]
                data = data.removeprefix(_AV1_TEMPORAL_DELIMITER) if _four_cc(body) == b"av01" else data
                yield Packet(data, pts - delay, dts - delay, body[0] >> 4 & 7 == _KEY_FRAME)


def sequence_header_tag(codec: Codec, data: bytes) -> bytes:
    """Returns the tag of a sequence header."""
    return _tag(_body_header(codec, _KEY_FRAME, _SEQUENCE_HEADER, 0) + data, 0)


def packet_tag(codec: Codec, packet: Packet, origin: int) -> bytes:
    """Returns the tag of a packet, with its times in frames from `origin`, the decoding time of the first packet."""
    frame = _KEY_FRAME if packet.keyframe else _INTER_FRAME
    return _tag(_body_header(codec, frame, _CODED_FRAMES, packet.pts - packet.dts) + packet.data, packet.dts - origin)


def _body_header(codec: Codec, frame: int, kind: int, composition_time: int) -> bytes:
    time = composition_time.to_bytes(3, "big", signed=True)
    if codec is Codec.H264:
        return bytes([frame << 4 | _AVC, kind]) + time
    # Of these codecs only H.265 reorders frames, and has composition times.
    has_time = codec is Codec.H265 and kind == _CODED_FRAMES
    return bytes([_ENHANCED | frame << 4 | kind]) + _FOUR_CCS[codec] + (time if has_time else b"")


def _tag(body: bytes, milliseconds: int) -> bytes:
    size, time = len(body).to_bytes(3, "big"), milliseconds.to_bytes(4, "big")
    tag = bytes([_VIDEO]) + size + time[1:] + time[:1] + bytes(3) + body
    return tag + len(tag).to_bytes(4, "big")


def _four_cc(body: bytes) -> bytes:
    """The codec's name in four letters; empty for H.264."""
    return body[1:5] if body[0] & _ENHANCED else b""


def _mark_complete(hvcc: bytes) -> bytes:
    """An `hvcC` box that declares all its arrays complete, as a file called `hvc1` must (ISO/IEC 14496-15, 8.3.3.1)."""
    marked, at = bytearray(hvcc), 23
    for _ in range(hvcc[22]):
        marked[at] |= 0x80
        units, at = int.from_bytes(hvcc[at + 1 : at + 3], "big"), at + 3
        for _ in range(units):
            at += 2 + int.from_bytes(hvcc[at : at + 2], "big")
    return bytes(marked)


def _parse_body(body: bytes) -> tuple[int, int, int]:
    """The content type of a tag's body, its composition time in milliseconds, and the offset of its data."""
    if four_cc := _four_cc(body):
        kind, at = body[0] & 15, 5
        has_time = kind == _CODED_FRAMES and four_cc == b"hvc1"
    else:
        kind, at = body[1], 2
        has_time = True
    composition_time = int.from_bytes(body[at : at + 3], "big", signed=True) if has_time else 0
    return kind, composition_time, at + 3 * has_time
