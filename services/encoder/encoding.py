"""Encoding: a stream of frames through a codec in a child process, and the packets back as they come.

Nothing is held: chunks go to the child as they are, and when it, or the reader of the packets, is slow,
the sender of the frames waits.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass

from moneyprinter.errors import Internal, InvalidArgument, ResourceExhausted, Violation
from services.encoder.backends import Backends
from services.encoder.codec import Format, command, records
from services.runtime import children

# The largest pipe that a user may ask for: most chunks then pass in one write.
PIPE_BYTES = 1 << 20


@dataclass(frozen=True)
class Started:
    """How the frames are being encoded."""

    backend: str
    extradata: bytes
    """SPS and PPS, Annex B."""


@dataclass(frozen=True)
class Packet:
    """A coded frame, its times in frames."""

    data: bytes
    pts: int
    dts: int
    keyframe: bool


@dataclass(frozen=True)
class Summary:
    """What was done."""

    frame_count: int
    packet_count: int
    sha256: str
    """Of all packets' bytes in order."""
    codec_seconds: float


class Slots:
    """How many streams may be encoded at once."""

    def __init__(self, count: int) -> None:
        self._free = count

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold a slot while the context is open. Raises ResourceExhausted when there is none."""
        if self._free < 1:
            raise ResourceExhausted(
                "the encoder has as much work as it can do; try again in a second",
                reason="BUSY",
                retry_after_seconds=1.0,
            )
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


@dataclass(frozen=True)
class Encoder:
    """What streams are encoded with."""

    backends: Backends
    slots: Slots
    threads: int
    max_pixels_per_second: int
    max_seconds: float

    async def encode(self, parts: AsyncIterator[Format | bytes]) -> AsyncGenerator[Started | Packet | Summary, None]:
        """Encode a stream, a format and then bytes of frames: yields the start, packets, at last the summary.

        Raises InvalidArgument with FRAMES_INVALID or REQUEST_INVALID, ResourceExhausted when all slots are
        taken, Unavailable when no encoder works. Closing the generator kills the codec.
        """
        with self.slots.taken():
            format = await anext(parts, None)
            if not isinstance(format, Format):
                raise _wrong("the first message must be the format")
            self._check(format)
            backend = await self.backends.best()
            limits = self.backends.limits(backend, self.max_seconds, self.threads)
            async with children.start(command(backend.name, format, self.threads), limits=limits, stdin=True) as child:
                feeding = asyncio.create_task(_feed(child, parts, format))
                try:
                    async with aclosing(_updates(child, backend.name, feeding)) as updates:
                        async for update in updates:
                            yield update
                finally:
                    feeding.cancel()
                    await asyncio.gather(feeding, return_exceptions=True)

    def _check(self, format: Format) -> None:
        violations = [
            Violation(f"format.canvas.{name}", "must be even")
            for name, pixels in (("width", format.width), ("height", format.height))
            if pixels % 2
        ]
        if format.width * format.height * format.frames_per_second > self.max_pixels_per_second:
            violations.append(Violation("format.canvas", f"has more than {self.max_pixels_per_second} pixels a second"))
        if violations:
            words = "; ".join(f"{violation.field} {violation.description}" for violation in violations)
            raise InvalidArgument(words, reason="REQUEST_INVALID", violations=violations)


async def _updates(
    child: children.Child, backend: str, feeding: asyncio.Task[int]
) -> AsyncGenerator[Started | Packet | Summary, None]:
    """What the child writes, while it is fed."""
    digest, packet_count, end = hashlib.sha256(), 0, None
    async with aclosing(records(child.stdout)) as said:
        async for record in said:
            match record.kind:
                case b"S":
                    yield Started(backend, record.data)
                case b"K" | b"P":
                    digest.update(record.data)
                    packet_count += 1
                    yield Packet(record.data, record.pts, record.dts, record.kind == b"K")
                case b"E":
                    end = json.loads(record.data)
    if feeding.done():
        # What was wrong with the frames is why the child ended.
        feeding.result()
    try:
        await child.succeeded()
    except children.ChildFailed as failure:
        raise Internal(f"{backend} failed: {failure.stderr[-300:]}", reason="RENDER_FAILED") from failure
    frame_count = await feeding
    if end is None or end["frames"] != frame_count:
        raise Internal(f"{backend} lost frames: it was given {frame_count}", reason="RENDER_FAILED")
    yield Summary(frame_count, packet_count, digest.hexdigest(), end["seconds"])


async def _feed(child: children.Child, parts: AsyncIterator[Format | bytes], format: Format) -> int:
    """Give the child its frames, and return how many. When they are wrong, it is killed."""
    with suppress(OSError, ValueError):
        # Refused where the user has many pipes already, or when the child is gone; not needed, only quicker.
        fcntl.fcntl(child.stdin.get_extra_info("pipe").fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    size_bytes, fed = 0, False
    try:
        async for part in parts:
            if isinstance(part, Format):
                raise _wrong("the format came a second time")
            size_bytes += len(part)
            child.stdin.write(part)
            await child.stdin.drain()
        if not size_bytes:
            raise _wrong("no frame came")
        if size_bytes % format.frame_bytes:
            raise _wrong(
                f"{size_bytes} bytes came, which are no whole number of frames: a frame of "
                f"{format.width}x{format.height} has {format.frame_bytes}"
            )
        child.stdin.write_eof()
        fed = True
    except (BrokenPipeError, ConnectionResetError):
        # The child is gone; how it ended says why.
        fed = True
    finally:
        if not fed:
            with suppress(ProcessLookupError):
                child.process.kill()
    return size_bytes // format.frame_bytes


def _wrong(message: str) -> InvalidArgument:
    return InvalidArgument(f"the frames cannot be encoded: {message}", reason="FRAMES_INVALID")
