"""Backend probe: find the backends that work on this machine, by encoding one frame with each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from moneyprinter.errors import InvalidArgument, Unavailable, Violation
from services.encoder.backends import BACKENDS, Backend, Machine, ffmpeg_command
from services.encoder.frames import Format
from services.media import flv
from services.media.encoding import Codec, Quality
from services.runtime import children

# The driver of a GPU that was idle for a while may take seconds to start.
PROBE_SECONDS = 20.0


class AvailableBackends:
    """The backends that work on this machine. `probe` finds them once; readers wait until it has ended."""

    def __init__(
        self, machine: Machine, candidates: Sequence[Backend] = BACKENDS, probe_seconds: float = PROBE_SECONDS
    ) -> None:
        """`probe_seconds` is how long the probe of one backend may take."""
        self.machine = machine
        self._candidates = candidates
        self._probe_seconds = probe_seconds
        self._available: tuple[Backend, ...] = ()
        self._probed = asyncio.Event()

    async def probe(self) -> None:
        """Probe every candidate. One whose device is missing fails within milliseconds."""
        self._available = tuple([backend for backend in self._candidates if await self._works(backend)])
        self._probed.set()

    async def list_all(self) -> tuple[Backend, ...]:
        """Returns the backends that work, of each codec the best first."""
        await self._probed.wait()
        return self._available

    async def choose(self, format: Format) -> Backend:
        """Returns the backend that a format requests, or else the best one for its codec.

        Raises `Unavailable` when it does not work on this machine, `InvalidArgument` when it encodes another codec.
        """
        available = await self.list_all()
        if not format.backend:
            for backend in available:
                if backend.codec is format.codec:
                    return backend
            raise _unavailable(f"no encoder for {format.codec} works on this machine")
        for backend in available:
            if backend.name == format.backend:
                _check_codec(backend, format.codec)
                return backend
        raise _unavailable(f"{format.backend} does not work on this machine")

    def child_limits(self, backend: Backend, seconds: float) -> children.Limits:
        """Returns the limits of a child that encodes for at most `seconds`."""
        return children.Limits(
            # The driver of a GPU reserves far more addresses than it uses memory.
            memory_bytes=0 if backend.hardware else self.machine.memory_bytes,
            cpu_seconds=int(seconds + 1) * (self.machine.threads + 1),
            file_bytes=1 << 20,
            wall_seconds=seconds,
        )

    async def _works(self, backend: Backend) -> bool:
        # Every backend accepts this size; some refuse smaller ones.
        format = Format(320, 192, 25, Quality.DRAFT, backend.codec)
        try:
            output = await children.run(
                ffmpeg_command(backend, format, self.machine),
                limits=self.child_limits(backend, self._probe_seconds),
                environment=self.machine.environment,
                stdin=bytes(format.frame_bytes),
            )
        except (children.ChildFailed, BrokenPipeError, ConnectionResetError):
            return False
        source = asyncio.StreamReader()
        source.feed_data(output)
        source.feed_eof()
        parts = flv.read_packets(source, format.frames_per_second)
        return [type(part) async for part in parts] == [flv.SequenceHeader, flv.Packet]


def _check_codec(backend: Backend, codec: Codec) -> None:
    if backend.codec is not codec:
        violation = Violation("format.backend", f"makes {backend.codec}, not {codec}")
        message = f"{violation.field}: {backend.name} {violation.description}"
        raise InvalidArgument(message, reason="REQUEST_INVALID", violations=[violation])


def _unavailable(message: str) -> Unavailable:
    return Unavailable(message, reason="ENCODER_UNAVAILABLE")
