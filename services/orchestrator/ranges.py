"""Ranges: which part of a file an HTTP client asks for (RFC 9110, 14)."""

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
