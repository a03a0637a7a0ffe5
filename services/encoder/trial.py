"""Trial: which backends work on this machine, found by letting each encode one frame."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from moneyprinter.errors import InvalidArgument, Unavailable, Violation
from services.encoder.backends import BACKENDS, Backend, Machine, command
from services.encoder.frames import Format
from services.media import flv
from services.media.encoding import Codec, Quality
from services.runtime import children

# The driver of a GPU that nobody has used for a while may take seconds to come up.
TRIAL_SECONDS = 20.0


class Backends:
    """The backends that work here: looked for once (`find`), and waited for by those who ask before it is done."""

    def __init__(
        self, machine: Machine, candidates: Sequence[Backend] = BACKENDS, trial_seconds: float = TRIAL_SECONDS
    ) -> None:
        self.machine = machine
        self._candidates = candidates
        self._trial_seconds = trial_seconds
        self._working: tuple[Backend, ...] = ()
        self._found = asyncio.Event()

    async def find(self) -> None:
        """Try every candidate; one that is not there fails in a few milliseconds."""
        self._working = tuple([backend for backend in self._candidates if await self._works(backend)])
        self._found.set()

    async def working(self) -> tuple[Backend, ...]:
        """The backends that work, of each codec the best first."""
        await self._found.wait()
        return self._working

    async def choose(self, format: Format) -> Backend:
        """The best backend for a format, or the one that it asks for.

        Raises Unavailable when it does not work here, InvalidArgument when it makes another codec.
        """
        working = await self.working()
        if not format.backend:
            for backend in working:
                if backend.codec is format.codec:
                    return backend
            raise _unavailable(f"no encoder for {format.codec} works on this machine")
        for backend in working:
            if backend.name == format.backend:
                return _fits(backend, format.codec)
        raise _unavailable(f"{format.backend} does not work on this machine")

    def limits(self, backend: Backend, seconds: float) -> children.Limits:
        """What a child that encodes may use."""
        return children.Limits(
            # The driver of a GPU reserves far more addresses than it uses memory.
            memory_bytes=0 if backend.hardware else self.machine.memory_bytes,
            cpu_seconds=int(seconds + 1) * (self.machine.threads + 1),
            file_bytes=1 << 20,
            wall_seconds=seconds,
        )

    async def _works(self, backend: Backend) -> bool:
        # Every backend takes this size; some refuse smaller ones.
        trial = Format(320, 192, 25, Quality.DRAFT, backend.codec)
        try:
            written = await children.run(
                command(backend, trial, self.machine),
                limits=self.limits(backend, self._trial_seconds),
                environment=self.machine.environment,
                stdin=bytes(trial.frame_bytes),
            )
        except (children.ChildFailed, BrokenPipeError, ConnectionResetError):
            return False
        source = asyncio.StreamReader()
        source.feed_data(written)
        source.feed_eof()
        return [type(part) async for part in flv.read_packets(source, 25)] == [flv.SequenceHeader, flv.Packet]


def _fits(backend: Backend, codec: Codec) -> Backend:
    if backend.codec is not codec:
        violation = Violation("format.backend", f"makes {backend.codec}, not {codec}")
        words = f"{violation.field}: {backend.name} {violation.description}"
        raise InvalidArgument(words, reason="REQUEST_INVALID", violations=[violation])
    return backend


def _unavailable(words: str) -> Unavailable:
    return Unavailable(words, reason="ENCODER_UNAVAILABLE")
