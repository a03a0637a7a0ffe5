"""Byte ranges and conditional requests of HTTP clients (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SINGLE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


@dataclass(frozen=True)
class ByteRange:
    """A range of bytes of a file."""

    offset: int
    length: int
    """At least 1."""
    size_bytes: int
    """The size of the whole file."""

    @property
    def content_range(self) -> str:
        """The value of the `Content-Range` header."""
        return f"bytes {self.offset}-{self.offset + self.length - 1}/{self.size_bytes}"


def parse_range(header: str, size_bytes: int) -> ByteRange | None:
    """Return the range that a `Range` header requests from a file of `size_bytes`.

    Returns None for the whole file; also for an invalid header, several ranges, and a range beyond the file.
    """
    found = _SINGLE_RANGE.fullmatch(header.strip())
    if found is None or not size_bytes or not (found[1] or found[2]):
        return None
    if not found[1]:
        length = min(int(found[2]), size_bytes)
        return ByteRange(size_bytes - length, length, size_bytes) if length else None
    first, last = int(found[1]), min(int(found[2] or size_bytes), size_bytes - 1)
    return ByteRange(first, last - first + 1, size_bytes) if first <= last else None


@dataclass(frozen=True)
class Conditions:
    """The headers `Range`, `If-Range` and `If-None-Match` of a request."""

    range: str = ""
    if_range: str = ""
    if_none_match: str = ""


UNCONDITIONAL = Conditions()
"""Requests the whole file."""


@dataclass(frozen=True)
class Selection:
    """The HTTP status of a response, and the range of the file that its body contains."""

    status: int
    """200: the whole file; 206: a range; 304: not modified; 416: the range is beyond the file."""
    range: ByteRange | None = None


def etag(sha256: str) -> str:
    """Return the entity tag of a file, which depends on its content alone."""
    return f'"{sha256}"'


def select_range(conditions: Conditions, sha256: str, size_bytes: int) -> Selection:
    """Return what to send of a file under the conditions of a request."""
    tags = [tag.strip().removeprefix("W/") for tag in conditions.if_none_match.split(",")]
    if etag(sha256) in tags or tags == ["*"]:
        return Selection(304)
    # If the file has changed, the client would append the range to its part of the old file. Dates are not compared.
    if conditions.if_range and conditions.if_range.strip() != etag(sha256):
        return Selection(200)
    byte_range = parse_range(conditions.range, size_bytes)
    if byte_range is not None:
        return Selection(206, byte_range)
    return Selection(416 if _is_beyond(conditions.range, size_bytes) else 200)


def _is_beyond(header: str, size_bytes: int) -> bool:
    """Return whether a header requests a single valid range that lies beyond the file."""
    found = _SINGLE_RANGE.fullmatch(header.strip())
    if found is None or not (found[1] or found[2]):
        return False
    if not found[1]:
        return int(found[2]) == 0 or not size_bytes
    return int(found[1]) >= size_bytes and (not found[2] or int(found[2]) >= int(found[1]))
