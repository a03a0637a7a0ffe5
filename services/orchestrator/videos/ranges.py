"""Ranges: which part of a file an HTTP client asks for, and whether it has the file already (RFC 9110, 13 and 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ONE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


@dataclass(frozen=True)
class Part:
    """A part of a file."""

    offset: int
    length: int
    """At least 1."""
    size_bytes: int
    """Of the whole file."""

    @property
    def content_range(self) -> str:
        """How it is told."""
        return f"bytes {self.offset}-{self.offset + self.length - 1}/{self.size_bytes}"


def read(header: str, size_bytes: int) -> Part | None:
    """The part that a `range` header asks for; None for all, which also answers what is wrong or several parts."""
    found = _ONE.fullmatch(header.strip())
    if found is None or not size_bytes or not (found[1] or found[2]):
        return None
    if not found[1]:
        length = min(int(found[2]), size_bytes)
        return Part(size_bytes - length, length, size_bytes) if length else None
    first, last = int(found[1]), min(int(found[2] or size_bytes), size_bytes - 1)
    return Part(first, last - first + 1, size_bytes) if first <= last else None


@dataclass(frozen=True)
class Conditions:
    """What an HTTP client asks of a file, in its headers."""

    range: str = ""
    if_range: str = ""
    if_none_match: str = ""


ALL = Conditions()
"""No conditions: the whole file."""


@dataclass(frozen=True)
class Selection:
    """What is sent of a file."""

    status: int
    """200: all of it; 206: a part; 304: nothing, the client has it; 416: nothing, it has no such part."""
    part: Part | None = None


def etag(sha256: str) -> str:
    """The entity tag of a file: the same bytes have the same one."""
    return f'"{sha256}"'


def select(asked: Conditions, sha256: str, size_bytes: int) -> Selection:
    """What a client gets that asks under some conditions for a file."""
    known = [tag.strip().removeprefix("W/") for tag in asked.if_none_match.split(",")]
    if etag(sha256) in known or known == ["*"]:
        return Selection(304)
    # A part of another file would be joined to what the client has of the old one. Dates are not compared.
    if asked.if_range and asked.if_range.strip() != etag(sha256):
        return Selection(200)
    part = read(asked.range, size_bytes)
    if part is not None:
        return Selection(206, part)
    return Selection(416 if _is_beyond(asked.range, size_bytes) else 200)


def _is_beyond(header: str, size_bytes: int) -> bool:
    """Whether a header asks for one part, in the right form, that the file does not have."""
    found = _ONE.fullmatch(header.strip())
    if found is None or not (found[1] or found[2]):
        return False
    if not found[1]:
        return int(found[2]) == 0 or not size_bytes
    return int(found[1]) >= size_bytes and (not found[2] or int(found[2]) >= int(found[1]))
