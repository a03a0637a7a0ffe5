"""Encoding: a stream of frames through a codec in a child process, and the packets back as they come.

Nothing is held: chunks go to the child as they are, and when it, or the reader of the packets, is slow,
the sender of the frames waits.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, closing, suppress
from dataclasses import dataclass

from moneyprinter.errors import DeadlineExceeded, Internal, InvalidArgument
from services.encoder.backends import command
from services.encoder.frames import Format, check
from services.encoder.load import Load
from services.encoder.pipe import Pipe
from services.encoder.trial import Backends
from services.media import flv
from services.runtime import children


@dataclass(frozen=True)
class Accepted:
    """The format is good and a slot is held."""


@dataclass(frozen=True)
class Started:
    """How the frames are being encoded."""

    backend: str
    extradata: bytes
    """What a decoder must know beforehand, as an MP4 file keeps it."""


@dataclass(frozen=True)
class Summary:
    """What was done."""

    frame_count: int
    packet_count: int
    sha256: str
    """Of all packets' bytes in order."""
    seconds: float
    """From the first frame to the last packet."""


@dataclass(frozen=True)
class Fed:
    """What a codec was given."""

    frame_count: int
    began: float
    """When its first bytes came, on the monotonic clock."""


Update = Accepted | Started | flv.Packet | Summary


@dataclass(frozen=True)
class Encoder:
    """What streams are encoded with."""

    backends: Backends
    load: Load
    max_pixels_per_second: int
    max_seconds: float
    """How long a stream may take."""
    silence_seconds: float
    """How long it may bring nothing."""

    async def encode(self, parts: AsyncIterator[Format | bytes]) -> AsyncGenerator[Update, None]:
        """Encode a stream, a format and then bytes of frames: yields its acceptance, the start, packets, the summary.

        Raises InvalidArgument with FRAMES_INVALID or REQUEST_INVALID, ResourceExhausted when all slots are
        taken, Unavailable when no backend works, DeadlineExceeded when nothing comes any more. Closing the
        generator kills the codec and frees the slot.
        """
        format = await self._next(parts)
        if not isinstance(format, Format):
            raise _wrong("the first message must be the format")
        check(format, self.max_pixels_per_second)
        backend = await self.backends.choose(format)
        machine = self.backends.machine
        with self.load.slot(backend.name) as count:
            limits = self.backends.limits(backend, self.max_seconds)
            told = command(backend, format, machine)
            try:
                async with children.start(told, limits=limits, environment=machine.environment, stdin=True) as child:
                    yield Accepted()
                    feeding = asyncio.create_task(self._feed(child, parts, format))
                    try:
                        async with aclosing(_updates(child, backend.name, format, feeding, count)) as updates:
                            async for update in updates:
                                yield update
                    finally:
                        feeding.cancel()
                        await asyncio.gather(feeding, return_exceptions=True)
            except children.ChildFailed as failure:
                what = f"the frames cannot be encoded with {backend.name}"
                raise children.to_error(failure, what, Internal, reason="RENDER_FAILED") from failure

    async def _feed(self, child: children.Child, parts: AsyncIterator[Format | bytes], format: Format) -> Fed:
        """Give the child its frames. When they are wrong, it is killed."""
        size_bytes, began = 0, None
        with closing(Pipe(child)) as pipe:
            try:
                while (part := await self._next(parts)) is not None:
                    if isinstance(part, Format):
                        raise _wrong("the format came a second time")
                    began = began or time.monotonic()
                    size_bytes += len(part)
                    await pipe.write(part)
                return Fed(_whole(size_bytes, format), began or time.monotonic())
            except BrokenPipeError:
                # The child is gone; how it ended says why.
                return Fed(size_bytes // format.frame_bytes, 0.0)
            except BaseException:
                with suppress(ProcessLookupError):
                    child.process.kill()
                raise

    async def _next(self, parts: AsyncIterator[Format | bytes]) -> Format | bytes | None:
        try:
            async with asyncio.timeout(self.silence_seconds):
                return await anext(parts, None)
        except TimeoutError:
            words = f"nothing came for {self.silence_seconds:g} s; the slot is needed by others"
            raise DeadlineExceeded(words, reason="DEADLINE_EXCEEDED") from None


async def _updates(
    child: children.Child, backend: str, format: Format, feeding: asyncio.Task[Fed], count: Callable[[], None]
) -> AsyncGenerator[Update, None]:
    """What the child writes, while it is fed."""
    digest, packet_count = hashlib.sha256(), 0
    async with aclosing(flv.read_packets(child.stdout, format.frames_per_second)) as written:
        async for part in written:
            if isinstance(part, flv.SequenceHeader):
                yield Started(backend, part.data)
            else:
                digest.update(part.data)
                packet_count += 1
                count()
                yield part
    if feeding.done():
        # What was wrong with the frames is why the child ended.
        feeding.result()
    await child.succeeded()
    fed = await feeding
    if packet_count != fed.frame_count:
        words = f"{backend} lost frames: it was given {fed.frame_count} and returned {packet_count}"
        raise Internal(words, reason="RENDER_FAILED")
    yield Summary(fed.frame_count, packet_count, digest.hexdigest(), time.monotonic() - fed.began)


def _whole(size_bytes: int, format: Format) -> int:
    """How many frames came. Raises InvalidArgument unless they are whole, and there is one."""
    if not size_bytes:
        raise _wrong("no frame came")
    if size_bytes % format.frame_bytes:
        raise _wrong(
            f"{size_bytes} bytes came, which are no whole number of frames: a frame of "
            f"{format.width}x{format.height} has {format.frame_bytes}"
        )
    return size_bytes // format.frame_bytes


def _wrong(message: str) -> InvalidArgument:
    return InvalidArgument(f"the frames cannot be encoded: {message}", reason="FRAMES_INVALID")
