"""Fragment: read what a rendered segment says of itself: a header, then one fragment (ISO/IEC 14496-12)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from services.media.boxes import BOX_HEADER_BYTES, iterate_boxes

# The header and what precedes the samples' sizes are in this many first bytes.
HEAD_BYTES = 16_384


@dataclass(frozen=True)
class Fragment:
    """What a segment's file says of itself."""

    header_bytes: int
    """How long the header is: what is before the fragment."""
    time_offset: int
    """Where the time of the first frame is: 8 bytes, big endian, in ticks."""
    ticks_per_second: int
    frame_count: int


def read(head: bytes) -> Fragment | None:
    """Read the first bytes of a segment; None when they are none of a segment."""
    try:
        boxes = dict(iterate_boxes(head))
        (ticks_per_second,) = struct.unpack_from(">I", head, boxes[b"mdhd"] + 12)
        (frame_count,) = struct.unpack_from(">I", head, boxes[b"trun"] + 4)
        # Boxes begin with their size and kind; this one goes on with its version, which is 1 for 8 bytes of time.
        if head[boxes[b"tfdt"]] != 1:
            return None
        return Fragment(boxes[b"moof"] - BOX_HEADER_BYTES, boxes[b"tfdt"] + 4, ticks_per_second, frame_count)
    except (KeyError, struct.error, IndexError):
        return None
