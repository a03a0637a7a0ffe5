"""An interrupted stream ends its codec and frees its slot at once; a slow end makes the other end wait."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress

import psutil
import pytest

from moneyprinter import errors
from services.encoder.encoding import Accepted, Encoder, Started
from services.encoder.frames import Format
from services.media.encoding import Quality
from services.media.flv import Packet
from services.media.pipes import PIPE_BYTES
from tests.encoder.frames import noise_frames
from tests.encoder.streams import encode, encoder

SMALL = Format(width=320, height=180, frames_per_second=25, quality=Quality.DRAFT)
FRAME = bytes(SMALL.frame_bytes)


def list_codecs() -> list[psutil.Process]:
    """Returns the children that encode now."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # It ended meanwhile.
            # During `exec` a child has no command line.
            if "pipe:1" in (child.cmdline() or ("pipe:1",)):
                found.append(child)
    return found


async def check_free(chosen: Encoder) -> None:
    """Check that no codec runs, and that the slot is free for the next stream."""
    assert list_codecs() == []
    assert chosen.load.free_slots == chosen.load.slots
    await encode([SMALL, FRAME], chosen)


async def wait_settled(count: Callable[[], int]) -> int:
    """Wait until a count has not changed for a while. Returns the count."""
    last = -1
    while (now := count()) != last:
        last = now
        # There is no event for the lack of progress.
        await asyncio.sleep(0.4)
    return last


@pytest.mark.parametrize("point", ["before the format", "accepted", "in a frame", "packets come", "draining"])
async def test_a_cancelled_stream_ends_at_once(point: str) -> None:
    chosen = await encoder()
    reached = asyncio.Event()

    async def parts() -> AsyncIterator[Format | bytes]:
        async def stay(*points: str) -> None:
            if point in points:
                reached.set()
                await asyncio.Event().wait()

        await stay("before the format")
        # At this size x264 takes long to drain the many frames that it holds.
        yield Format(1280, 720, 25, Quality.NEAR_LOSSLESS) if point == "draining" else SMALL
        await stay("accepted")
        yield FRAME[: len(FRAME) // 2]
        await stay("in a frame")
        if point == "draining":
            frames = b"".join(noise_frames(4, 1280 * 720 * 3 // 2))
            yield frames[len(FRAME) // 2 :]
            for _ in range(10):
                yield frames
            reached.set()
        while point == "packets come":
            yield FRAME

    async def consume() -> None:
        async with aclosing(chosen.encode(parts())) as updates:
            async for update in updates:
                if isinstance(update, Packet) and point == "packets come":
                    reached.set()

    consuming = asyncio.create_task(consume())
    await reached.wait()
    consuming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consuming
    await check_free(chosen)


async def test_a_crash_of_the_codec_is_reported() -> None:
    chosen = await encoder()

    async def parts() -> AsyncIterator[Format | bytes]:
        yield SMALL
        yield FRAME
        [child] = list_codecs()
        child.send_signal(signal.SIGSEGV)
        while True:
            yield FRAME

    with pytest.raises(errors.Internal) as failed:
        _ = [update async for update in chosen.encode(parts())]
    assert failed.value.reason == "CHILD_KILLED"
    assert "SIGSEGV" in failed.value.message
    await check_free(chosen)


async def test_a_full_encoder_refuses_at_once() -> None:
    chosen = await encoder()

    async def parts() -> AsyncIterator[Format | bytes]:
        yield SMALL
        await asyncio.Event().wait()

    async with aclosing(chosen.encode(parts())) as updates:
        assert isinstance(await anext(updates), Accepted)
        with pytest.raises(errors.ResourceExhausted) as refused:
            await encode([SMALL, FRAME], chosen)
        assert refused.value.reason == "BUSY"
        assert refused.value.retry_after_seconds
    await check_free(chosen)


@pytest.mark.parametrize("sent", [[], [SMALL], [SMALL, FRAME[:100]]])
async def test_a_silent_sender_loses_its_slot(sent: list[Format | bytes]) -> None:
    chosen = await encoder(silence_seconds=0.2)

    async def parts() -> AsyncIterator[Format | bytes]:
        for part in sent:
            yield part
        await asyncio.Event().wait()

    with pytest.raises(errors.DeadlineExceeded, match="nothing came"):
        _ = [update async for update in chosen.encode(parts())]
    await check_free(chosen)


async def test_a_slow_codec_makes_the_sender_wait() -> None:
    chosen = await encoder()
    taken = 0

    async def parts() -> AsyncIterator[Format | bytes]:
        nonlocal taken
        yield SMALL
        list_codecs()[0].suspend()
        while True:
            taken += len(FRAME)
            yield FRAME

    async with aclosing(chosen.encode(parts())) as updates:
        assert isinstance(await anext(updates), Accepted)
        waiting = asyncio.ensure_future(anext(updates))
        # At most what the pipe holds, and the chunks that wait for it.
        assert await wait_settled(lambda: taken) <= PIPE_BYTES + 2 * len(FRAME)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await check_free(chosen)


async def test_a_slow_reader_makes_the_sender_wait() -> None:
    chosen = await encoder()
    taken = 0
    # Noise does not compress, so packets that are not read fill every buffer.
    frames = noise_frames(8, SMALL.frame_bytes)

    async def parts() -> AsyncIterator[Format | bytes]:
        nonlocal taken
        yield SMALL
        while True:
            taken += 1
            yield frames[taken % 8]

    async with aclosing(chosen.encode(parts())) as updates:
        assert isinstance(await anext(updates), Accepted)
        assert isinstance(await anext(updates), Started)
        # What the buffers hold, and the frames of the codec's lookahead.
        assert 0 < await wait_settled(lambda: taken) < 200
    await check_free(chosen)
