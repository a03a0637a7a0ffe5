"""Backends: which encoders work on this machine, found by letting each encode one frame."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from moneyprinter.errors import Unavailable
from services.encoder.codec import Format, Quality, command
from services.runtime import children

# Every encoder takes this size; some refuse smaller ones.
_TRIAL = Format(width=320, height=192, frames_per_second=25, quality=Quality.DRAFT)
_TRIAL_SECONDS = 20.0


@dataclass(frozen=True)
class Backend:
    """An encoder."""

    name: str
    """As ffmpeg spells it."""
    hardware: bool
    """Whether it runs on a GPU or another video engine."""


CANDIDATES = (Backend("h264_nvenc", True), Backend("h264_qsv", True), Backend("libx264", False))


class Backends:
    """The encoders that work here: looked for once (`find`), and waited for by those who ask before it is done."""

    def __init__(self, memory_bytes: int, candidates: Sequence[Backend] = CANDIDATES) -> None:
        self._memory_bytes = memory_bytes
        self._candidates = candidates
        self._working: tuple[Backend, ...] = ()
        self._found = asyncio.Event()

    async def find(self) -> None:
        """Try every candidate."""
        self._working = tuple([backend for backend in self._candidates if await self._works(backend)])
        self._found.set()

    async def working(self) -> tuple[Backend, ...]:
        """The encoders that work, the best first."""
        await self._found.wait()
        return self._working

    async def best(self) -> Backend:
        """The best encoder that works. Raises Unavailable when there is none."""
        working = await self.working()
        if not working:
            raise Unavailable("no encoder works on this machine", reason="ENCODER_UNAVAILABLE")
        return working[0]

    def limits(self, backend: Backend, seconds: float, threads: int) -> children.Limits:
        """What a child that encodes may use."""
        return children.Limits(
            # The driver of a GPU reserves far more addresses than it uses memory.
            memory_bytes=0 if backend.hardware else self._memory_bytes,
            cpu_seconds=int(seconds + 1) * threads,
            file_bytes=1 << 20,
            wall_seconds=seconds,
        )

    async def _works(self, backend: Backend) -> bool:
        limits = self.limits(backend, _TRIAL_SECONDS, 1)
        try:
            await children.run(command(backend.name, _TRIAL, 1), limits=limits, stdin=bytes(_TRIAL.frame_bytes))
        except (children.ChildFailed, TimeoutError, BrokenPipeError, ConnectionResetError):
            return False
        return True
