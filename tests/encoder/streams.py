"""Streams: an encoder in this process, and the updates that it sends for a stream."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.encoder.backend_probe import AvailableBackends
from services.encoder.backends import BACKENDS, Backend, Machine
from services.encoder.encoding import Accepted, Encoder, Started, Summary
from services.encoder.frames import Format
from services.encoder.load import Load
from services.media.flv import Packet
from tests.mesh import ffmpeg_program

MACHINE = Machine(ffmpeg_program(), 2, Path("/dev/dri/renderD128"), 6 << 30, {"SVT_LOG": "1"})
SOFTWARE = {backend.name: backend for backend in BACKENDS if not backend.hardware}
X264 = SOFTWARE["libx264"]


async def encoder(
    *candidates: Backend, slots: int = 1, silence_seconds: float = 60.0, machine: Machine = MACHINE
) -> Encoder:
    """Returns an encoder with libx264, or with `candidates`."""
    backends = AvailableBackends(machine, candidates or (X264,))
    await backends.probe()
    return Encoder(backends, Load(slots, time.monotonic), 4096 * 2304 * 30, 60.0, silence_seconds)


async def stream(parts: Iterable[Format | bytes]) -> AsyncIterator[Format | bytes]:
    """Yields the parts of a stream."""
    for part in parts:
        yield part


@dataclass(frozen=True)
class Encoded:
    """The updates of an encoded stream."""

    started: Started
    packets: Sequence[Packet]
    summary: Summary

    @property
    def data(self) -> list[bytes]:
        """The bytes of the packets."""
        return [packet.data for packet in self.packets]


async def encode(parts: Iterable[Format | bytes], with_: Encoder | None = None) -> Encoded:
    """Encode a stream, and check the order of its updates."""
    updates = [update async for update in (with_ or await encoder()).encode(stream(parts))]
    accepted, started, *packets, summary = updates
    assert isinstance(accepted, Accepted)
    assert isinstance(started, Started)
    assert isinstance(summary, Summary)
    return Encoded(started, [packet for packet in packets if isinstance(packet, Packet)], summary)
