"""Encoding: pass a stream of frames through a codec in a child process, and return its packets as they come.

Nothing is buffered here. Chunks go to the child as they come. When the child or the reader of the packets is slow, the
sender of the frames waits.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, closing, suppress
from dataclasses import dataclass

from moneyprinter.errors import DeadlineExceeded, Internal, InvalidArgument
from services.encoder.backend_probe import AvailableBackends
from services.encoder.backends import ffmpeg_command
from services.encoder.frames import Format, check_format
from services.encoder.input_pipe import InputPipe
from services.encoder.load import Load
from services.media import flv
from services.runtime import children


@dataclass(frozen=True)
class Accepted:
    """The format is valid, and the stream holds a slot."""


@dataclass(frozen=True)
class Started:
    """The codec has started."""

    backend: str
    extradata: bytes
    """What a decoder needs before the first packet, as an MP4 file holds it."""


@dataclass(frozen=True)
class Summary:
    """The totals of an encoded stream."""

    frame_count: int
    packet_count: int
    sha256: str
    """Of the bytes of all packets, in order."""
    seconds: float
    """From the first frame to the last packet."""


@dataclass(frozen=True)
class ReceivedFrames:
    """The frames that the codec received."""

    frame_count: int
    start: float
    """When the first bytes came, on the monotonic clock."""


# Larger packets are hashed in a thread: 14 MB take 40 ms, in which the loop serves no other stream.
_THREAD_BYTES = 1 << 20

Update = Accepted | Started | flv.Packet | Summary


@dataclass(frozen=True)
class Encoder:
    """Encodes streams, each in a child process."""

    backends: AvailableBackends
    load: Load
    max_pixels_per_second: int
    max_seconds: float
    """How long a stream may take."""
    silence_seconds: float
    """How long a stream may send nothing."""

    async def encode(self, parts: AsyncIterator[Format | bytes]) -> AsyncGenerator[Update, None]:
        """Encode a stream: a format, then the bytes of frames in chunks of any size.

        Yields `Accepted`, `Started`, the packets and the summary. Raises `InvalidArgument` with the reason
        FRAMES_INVALID or REQUEST_INVALID, `ResourceExhausted` when no slot is free, `Unavailable` when no backend
        works, `DeadlineExceeded` when the stream sends nothing for `silence_seconds`. Closing the generator kills the
        codec and frees the slot.
        """
        format = await self._next_part(parts)
        if not isinstance(format, Format):
            raise _invalid_frames("the first message must be the format")
        check_format(format, self.max_pixels_per_second)
        backend = await self.backends.choose(format)
        machine = self.backends.machine
        with self.load.slot(backend.name) as count_frame:
            limits = self.backends.child_limits(backend, self.max_seconds)
            command = ffmpeg_command(backend, format, machine)
            try:
                async with children.start(command, limits=limits, environment=machine.environment, stdin=True) as child:
                    yield Accepted()
                    feeding = asyncio.create_task(self._feed(child, parts, format))
                    try:
                        updates = _read_updates(child, backend.name, format, feeding, count_frame)
                        async with aclosing(updates):
                            async for update in updates:
                                yield update
                    finally:
                        feeding.cancel()
                        await asyncio.gather(feeding, return_exceptions=True)
            except children.ChildFailed as failure:
                what = f"the frames cannot be encoded with {backend.name}"
                raise children.to_error(failure, what, Internal, reason="RENDER_FAILED") from failure

    async def _feed(
        self, child: children.Child, parts: AsyncIterator[Format | bytes], format: Format
    ) -> ReceivedFrames:
        """Write the frames of a stream to the child. Kills the child when they are invalid."""
        size_bytes, start = 0, None
        with closing(InputPipe(child)) as pipe:
            try:
                while (part := await self._next_part(parts)) is not None:
                    if isinstance(part, Format):
                        raise _invalid_frames("the format came a second time")
                    start = start or time.monotonic()
                    size_bytes += len(part)
                    await pipe.write(part)
                return ReceivedFrames(_count_frames(size_bytes, format), start or time.monotonic())
            except BrokenPipeError:
                # The child has ended; its exit code has the reason.
                return ReceivedFrames(size_bytes // format.frame_bytes, 0.0)
            except BaseException:
                with suppress(ProcessLookupError):
                    child.process.kill()
                raise

    async def _next_part(self, parts: AsyncIterator[Format | bytes]) -> Format | bytes | None:
        try:
            async with asyncio.timeout(self.silence_seconds):
                return await anext(parts, None)
        except TimeoutError:
            message = f"nothing came for {self.silence_seconds:g} s; the slot is needed by others"
            raise DeadlineExceeded(message, reason="DEADLINE_EXCEEDED") from None


async def _read_updates(
    child: children.Child,
    backend: str,
    format: Format,
    feeding: asyncio.Task[ReceivedFrames],
    count_frame: Callable[[], None],
) -> AsyncGenerator[Update, None]:
    """Yields what the child writes while `feeding` writes to it."""
    digest, packet_count = hashlib.sha256(), 0
    async with aclosing(flv.read_packets(child.stdout, format.frames_per_second)) as parts:
        async for part in parts:
            if isinstance(part, flv.SequenceHeader):
                yield Started(backend, part.data)
            else:
                if len(part.data) > _THREAD_BYTES:
                    await asyncio.to_thread(digest.update, part.data)
                else:
                    digest.update(part.data)
                packet_count += 1
                count_frame()
                yield part
    if feeding.done():
        # Invalid frames are why the child ended: their error comes first.
        feeding.result()
    await child.check_success()
    received = await feeding
    if packet_count != received.frame_count:
        message = f"{backend} lost frames: it was given {received.frame_count} and returned {packet_count}"
        raise Internal(message, reason="RENDER_FAILED")
    yield Summary(received.frame_count, packet_count, digest.hexdigest(), time.monotonic() - received.start)


def _count_frames(size_bytes: int, format: Format) -> int:
    """Returns the number of frames in so many bytes. Raises `InvalidArgument` for none, and for a part of a frame."""
    if not size_bytes:
        raise _invalid_frames("no frame came")
    if size_bytes % format.frame_bytes:
        raise _invalid_frames(
            f"{size_bytes} bytes came, which are no whole number of frames: a frame of "
            f"{format.width}x{format.height} has {format.frame_bytes}"
        )
    return size_bytes // format.frame_bytes


def _invalid_frames(message: str) -> InvalidArgument:
    return InvalidArgument(f"the frames cannot be encoded: {message}", reason="FRAMES_INVALID")
