"""Sources for the renderer, described by the probe of the validation service."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from moneyprinter.media.v1 import media_pb2
from services.processing.source import Source
from services.validation.probe import ProbeLimits, TimeRange, probe

LIMITS = ProbeLimits(
    max_pixels=4096 * 2304,
    max_still_pixels=8192 * 6144,
    max_duration_seconds=3600.0,
    memory_bytes=1 << 30,
    seconds=30,
)


async def probe_source(file: Path) -> Source:
    """Probe a file and return it as a source of the renderer."""
    facts = (await probe(file, TimeRange(), LIMITS)).source
    return Source(**{name: facts[name] for name in (field.name for field in fields(Source)) if name in facts})


async def stored_source(stored: media_pb2.Object, file: Path) -> media_pb2.Source:
    """Probe a stored file and return it as a source in a segment's contract."""
    return media_pb2.Source(object=stored, **(await probe(file, TimeRange(), LIMITS)).source)
