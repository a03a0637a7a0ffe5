"""The process that encodes: raw frames come in, packets go out; alone, so that a codec may crash or be killed.

Run by path with `python -I`; imports nothing of the platform. Arguments: backend, width, height, frames a
second, quality (`draft`, `standard`, `high`) and threads. Standard input: planes of one yuv420p frame
after the other. Standard output: records of kind, size, pts and dts (`HEAD`), each followed by `size` bytes:

    S   the codec's global headers; the first record
    K   the packet of a key frame
    P   any other packet
    E   JSON with `frames` and `seconds`; the last record
"""

from __future__ import annotations

import json
import struct
import sys
import time
from fractions import Fraction
from typing import Any, BinaryIO

import av
from av.codec.context import Flags

HEAD = struct.Struct(">cIqq")
# One key frame in this many seconds at least, so that a segment can be cut and searched.
KEY_SECONDS = 2

_LEVELS = {"draft": 0, "standard": 1, "high": 2}
_PRESETS = {
    "libx264": ("ultrafast", "veryfast", "medium"),
    "h264_nvenc": ("p1", "p4", "p6"),
    "h264_qsv": ("veryfast", "fast", "medium"),
}
_RATES = (28, 23, 20)
# What a codec takes, where that is not yuv420p itself.
_PIXELS = {"h264_qsv": "nv12"}


def open_codec(backend: str, width: int, height: int, rate: int, quality: str) -> av.VideoCodecContext:
    """Open a codec for a constant frame rate and closed groups of pictures."""
    level = _LEVELS[quality]
    factor = str(_RATES[level])
    codec = av.CodecContext.create(backend, "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.width, codec.height = width, height
    codec.pix_fmt = _PIXELS.get(backend, "yuv420p")
    codec.framerate, codec.time_base = Fraction(rate), Fraction(1, rate)
    codec.gop_size = KEY_SECONDS * rate
    codec.flags = codec.flags | Flags.closed_gop | Flags.global_header
    codec.options = {
        "preset": _PRESETS[backend][level],
        **{
            "libx264": {"crf": factor},
            "h264_nvenc": {"rc": "vbr", "cq": factor, "b": "0"},
            "h264_qsv": {"global_quality": factor},
        }[backend],
    }
    return codec


def read_frame(source: BinaryIO, width: int, height: int) -> av.VideoFrame | None:
    """Read a frame straight into its planes; None at the end, or where it is cut."""
    frame = av.VideoFrame(width, height, "yuv420p")
    for plane in frame.planes:
        rows = memoryview(plane)
        # Rows are padded where the width is no multiple of what the codec likes.
        step = len(rows) if plane.line_size == plane.width else plane.line_size
        used = len(rows) if plane.line_size == plane.width else plane.width
        for start in range(0, len(rows), step):
            if source.readinto(rows[start : start + used]) < used:  # type: ignore[attr-defined]
                return None
    return frame


class Records:
    """Where records are written."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target

    def write(self, kind: bytes, data: bytes | av.Packet[Any], pts: int = 0, dts: int = 0) -> None:
        """Write a record, now."""
        view = memoryview(data)
        self._target.write(HEAD.pack(kind, view.nbytes, pts, dts))
        self._target.write(view)
        self._target.flush()

    def packets(self, packets: list[av.Packet[Any]]) -> None:
        """Write packets."""
        for packet in packets:
            self.write(b"K" if packet.is_keyframe else b"P", packet, packet.pts or 0, packet.dts or 0)


def main() -> None:
    backend, quality = sys.argv[1], sys.argv[5]
    width, height, rate, threads = (int(sys.argv[place]) for place in (2, 3, 4, 6))
    codec = open_codec(backend, width, height, rate, quality)
    codec.thread_count = threads
    codec.open()
    records = Records(sys.stdout.buffer)
    records.write(b"S", codec.extradata or b"")
    count, seconds = 0, 0.0
    while (frame := read_frame(sys.stdin.buffer, width, height)) is not None:
        frame.pts, frame.time_base = count, codec.time_base
        count += 1
        started = time.perf_counter()
        packets = codec.encode(frame if codec.pix_fmt == "yuv420p" else frame.reformat(format=codec.pix_fmt))
        seconds += time.perf_counter() - started
        records.packets(packets)
    started = time.perf_counter()
    packets = codec.encode(None)
    seconds += time.perf_counter() - started
    records.packets(packets)
    records.write(b"E", json.dumps({"frames": count, "seconds": seconds}).encode())


if __name__ == "__main__":
    main()
