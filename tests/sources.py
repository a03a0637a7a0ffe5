"""Sources: clips and pictures as the renderer is told of them: by the probe of the validation service."""

from __future__ import annotations

from pathlib import Path

from moneyprinter.media.v1 import media_pb2
from services.processing.source import Source
from services.validation.probe import Bounds, Part, probe

BOUNDS = Bounds(
    max_pixels=4096 * 2304,
    max_still_pixels=8192 * 6144,
    max_duration_seconds=3600.0,
    memory_bytes=1 << 30,
    seconds=30,
)


async def look(file: Path) -> Source:
    """What must be known of a file before it is drawn."""
    return Source(**(await probe(file, Part(), BOUNDS)).picture)


async def source(stored: media_pb2.Object, file: Path) -> media_pb2.Source:
    """A file that is stored, as a segment names it."""
    return media_pb2.Source(object=stored, **(await probe(file, Part(), BOUNDS)).picture)
