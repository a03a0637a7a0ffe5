"""Flv: write packets so that ffmpeg reads them from a pipe with their times, one millisecond a frame.

FLV (Adobe's version 10.1, and Enhanced RTMP 2 for codecs other than H.264) because each packet has its decoding and
showing time, whether it is a key frame, and, before the first, what a decoder must know.
"""

from __future__ import annotations

from services.processing.spec import Codec

FILE_HEAD = b"FLV\x01\x01" + (9).to_bytes(4, "big") + bytes(4)

_VIDEO = 9
_KEY, _OTHER = 1, 2
_AVC, _ENHANCED = 7, 0x80
_HEADERS, _CODED = 0, 1
_NAMES = {Codec.H265: b"hvc1", Codec.VP9: b"vp09", Codec.AV1: b"av01"}


def headers(codec: Codec, data: bytes) -> bytes:
    """What a decoder must know beforehand."""
    return _tag(_body(codec, _KEY, _HEADERS, 0) + data, 0)


def packet(codec: Codec, data: bytes, *, dts: int, pts: int, key: bool) -> bytes:
    """A coded frame, its times in frames, from 0 on."""
    return _tag(_body(codec, _KEY if key else _OTHER, _CODED, pts - dts) + data, dts)


def _body(codec: Codec, frame: int, kind: int, later: int) -> bytes:
    wait = later.to_bytes(3, "big", signed=True)
    if codec is Codec.H264:
        return bytes([frame << 4 | _AVC, kind]) + wait
    # Only codecs that show frames in another order than they decode them say how much later.
    waits = codec is Codec.H265 and kind == _CODED
    return bytes([_ENHANCED | frame << 4 | kind]) + _NAMES[codec] + (wait if waits else b"")


def _tag(body: bytes, milliseconds: int) -> bytes:
    size, time = len(body).to_bytes(3, "big"), milliseconds.to_bytes(4, "big")
    tag = bytes([_VIDEO]) + size + time[1:] + time[:1] + bytes(3) + body
    return tag + len(tag).to_bytes(4, "big")
