"""Codec: the child process that encodes, its command line, and the records that it writes."""

from __future__ import annotations

import asyncio
import struct
import sys
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

_CHILD = Path(__file__).with_name("codec_child.py")
_HEAD = struct.Struct(">cIqq")


class Quality(StrEnum):
    """How well, and at what cost."""

    DRAFT = "draft"
    STANDARD = "standard"
    HIGH = "high"


@dataclass(frozen=True)
class Format:
    """What the frames are and how they are encoded."""

    width: int
    """Pixels, even."""
    height: int
    """Pixels, even."""
    frames_per_second: int
    quality: Quality

    @property
    def frame_bytes(self) -> int:
        """The size of a frame: planar YUV 4:2:0, 8 bit."""
        return self.width * self.height * 3 // 2


@dataclass(frozen=True)
class Record:
    """What the child says: `kind` as in `codec_child`, times in frames."""

    kind: bytes
    data: bytes
    pts: int
    dts: int


def command(backend: str, format: Format, threads: int) -> tuple[str | Path, ...]:
    """The command line of a child that encodes."""
    figures = (format.width, format.height, format.frames_per_second, format.quality.value, threads)
    return (sys.executable, "-I", _CHILD, backend, *map(str, figures))


async def records(stdout: asyncio.StreamReader) -> AsyncGenerator[Record, None]:
    """The records of a child, until it ends or is cut."""
    with suppress(asyncio.IncompleteReadError):
        while True:
            kind, size_bytes, pts, dts = _HEAD.unpack(await stdout.readexactly(_HEAD.size))
            yield Record(kind, await stdout.readexactly(size_bytes), pts, dts)
