"""Boxes: the structure of an MP4 file (ISO/IEC 14496-12)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_CONTAINERS = (b"moov", b"trak", b"mdia", b"moof", b"traf")
# A box begins with its size and its type, 4 bytes each.
BOX_HEADER_BYTES = 8


def iterate_boxes(head: bytes, begin: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int]]:
    """Yields the type of each box and the offset of its content, in file order.

    The boxes inside of containers of tracks and fragments are among them. `head` may be cut off anywhere.
    """
    end = len(head) if end is None else min(end, len(head))
    while begin + BOX_HEADER_BYTES <= end:
        size, kind = struct.unpack_from(">I4s", head, begin)
        if size < BOX_HEADER_BYTES:
            return
        yield kind, begin + BOX_HEADER_BYTES
        if kind in _CONTAINERS:
            yield from iterate_boxes(head, begin + BOX_HEADER_BYTES, begin + size)
        begin += size
