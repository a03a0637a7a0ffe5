"""Fragment: the structure of a rendered segment, a header and one fragment (ISO/IEC 14496-12)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from services.media.boxes import BOX_HEADER_BYTES, iterate_boxes

# The header, and the start of the fragment up to its samples' sizes, are within this many bytes.
HEAD_BYTES = 16_384


@dataclass(frozen=True)
class Fragment:
    """The structure of a segment's file."""

    header_bytes: int
    """The size of the header, which precedes the fragment."""
    time_offset: int
    """The offset of the first frame's time: 8 bytes, big endian, in ticks."""
    ticks_per_second: int
    frame_count: int


def parse_fragment(head: bytes) -> Fragment | None:
    """Parse the first bytes of a segment. Returns None when they are not those of a segment."""
    try:
        boxes = dict(iterate_boxes(head))
        (ticks_per_second,) = struct.unpack_from(">I", head, boxes[b"mdhd"] + 12)
        (frame_count,) = struct.unpack_from(">I", head, boxes[b"trun"] + 4)
        # The content of `tfdt` begins with its version; version 1 has 8 bytes of time.
        if head[boxes[b"tfdt"]] != 1:
            return None
        return Fragment(boxes[b"moof"] - BOX_HEADER_BYTES, boxes[b"tfdt"] + 4, ticks_per_second, frame_count)
    except (KeyError, struct.error, IndexError):
        return None
