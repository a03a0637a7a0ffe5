"""What is encoded, decoded again: every frame there, in order, and near the picture that went in."""

from __future__ import annotations

import asyncio
import hashlib
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing

import psutil
import pytest

from moneyprinter import errors
from services.encoder.backends import Backend, Backends
from services.encoder.codec import Format, Quality
from services.encoder.encoding import Encoder, Packet, Slots, Started, Summary
from tests.encoder.pictures import chunks, decoded, moving, psnr

X264 = Backend("libx264", False)
NONE = Backend("h264_nonesuch", True)
SMALL = Format(width=320, height=180, frames_per_second=25, quality=Quality.DRAFT)
# No multiple of anything that a codec likes: its rows are padded.
ODD = Format(width=322, height=182, frames_per_second=30, quality=Quality.STANDARD)


async def encoder(slots: int = 1, *candidates: Backend) -> Encoder:
    backends = Backends(4 << 30, candidates or (X264,))
    await backends.find()
    return Encoder(backends, Slots(slots), threads=2, max_pixels_per_second=320 * 240 * 30, max_seconds=60.0)


async def stream(*parts: Format | bytes) -> AsyncIterator[Format | bytes]:
    for part in parts:
        yield part


async def encode(
    parts: Iterable[Format | bytes], with_: Encoder | None = None
) -> tuple[Started, list[Packet], Summary]:
    updates = [update async for update in (with_ or await encoder()).encode(stream(*parts))]
    started, *packets, summary = updates
    assert isinstance(started, Started)
    assert isinstance(summary, Summary)
    return started, [packet for packet in packets if isinstance(packet, Packet)], summary


@pytest.mark.parametrize(
    ("format", "least_psnr"),
    [
        (SMALL, 30.0),
        (ODD, 36.0),
        (Format(width=320, height=180, frames_per_second=25, quality=Quality.HIGH), 40.0),
    ],
)
async def test_frames_come_back_as_they_went_in(format: Format, least_psnr: float) -> None:
    frames = moving(60, format.width, format.height)
    started, packets, summary = await encode([format, *chunks(frames, 33_333)])
    assert started.backend == "libx264"
    assert started.extradata.startswith(b"\0\0\0\1")
    data = b"".join(packet.data for packet in packets)
    back = decoded(started.extradata + data)
    assert len(back) == len(frames)
    assert min(psnr(one, other) for one, other in zip(frames, back, strict=True)) > least_psnr
    assert (summary.frame_count, summary.packet_count) == (60, 60)
    assert summary.sha256 == hashlib.sha256(data).hexdigest()
    assert 0 < summary.codec_seconds < 30


async def test_times_are_constant_and_key_frames_are_marked() -> None:
    frames = moving(60, SMALL.width, SMALL.height)
    _, packets, _ = await encode([SMALL, *chunks(frames, 1 << 20)])
    assert sorted(packet.pts for packet in packets) == list(range(60))
    assert [packet.dts for packet in packets] == list(range(packets[0].dts, packets[0].dts + 60))
    assert all(packet.dts <= packet.pts for packet in packets)
    keys = [packet.pts for packet in packets if packet.keyframe]
    # One at the beginning, then every two seconds.
    assert keys == [0, 50]


async def test_better_quality_is_nearer_to_the_picture() -> None:
    frames = moving(10, 320, 180)
    found = []
    for quality in (Quality.DRAFT, Quality.STANDARD, Quality.HIGH):
        format = Format(width=320, height=180, frames_per_second=25, quality=quality)
        started, packets, _ = await encode([format, *chunks(frames, 100_000)])
        back = decoded(started.extradata + b"".join(packet.data for packet in packets))
        found.append(sum(psnr(one, other) for one, other in zip(frames, back, strict=True)))
    assert found == sorted(found)


async def test_packets_come_before_the_last_frame_went_in() -> None:
    frames = list(chunks(moving(60, SMALL.width, SMALL.height), 100_000))
    seen = asyncio.Event()

    async def parts() -> AsyncIterator[Format | bytes]:
        yield SMALL
        for chunk in frames[:-1]:
            yield chunk
        await seen.wait()
        yield frames[-1]

    packets = 0
    async for update in (await encoder()).encode(parts()):
        if isinstance(update, Packet):
            seen.set()
            packets += 1
    assert packets == 60


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([], "first message must be the format"),
        ([bytes(10)], "first message must be the format"),
        ([SMALL], "no frame came"),
        ([SMALL, b""], "no frame came"),
        ([SMALL, bytes(SMALL.frame_bytes - 1)], "no whole number of frames"),
        ([SMALL, bytes(SMALL.frame_bytes + 1)], "no whole number of frames"),
        ([SMALL, bytes(SMALL.frame_bytes), SMALL], "a second time"),
    ],
)
async def test_frames_that_do_not_fit_are_refused(parts: list[Format | bytes], words: str) -> None:
    before = psutil.Process().children()
    with pytest.raises(errors.InvalidArgument, match=words) as refused:
        await encode(parts)
    assert refused.value.reason == "FRAMES_INVALID"
    assert psutil.Process().children() == before


@pytest.mark.parametrize(
    ("format", "field"),
    [
        (Format(321, 180, 25, Quality.DRAFT), "format.canvas.width"),
        (Format(320, 181, 25, Quality.DRAFT), "format.canvas.height"),
        (Format(4096, 4096, 25, Quality.DRAFT), "format.canvas"),
    ],
)
async def test_formats_that_cannot_be_encoded_are_refused(format: Format, field: str) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        await encode([format, bytes(10)])
    assert refused.value.reason == "REQUEST_INVALID"
    assert [violation.field for violation in refused.value.violations] == [field]


async def test_the_best_encoder_that_works_is_used() -> None:
    chosen = await encoder(1, NONE, X264)
    assert await chosen.backends.working() == (X264,)
    started, _, _ = await encode([SMALL, bytes(SMALL.frame_bytes)], chosen)
    assert started.backend == "libx264"


async def test_no_encoder_at_all_is_told() -> None:
    with pytest.raises(errors.Unavailable) as refused:
        await encode([SMALL, bytes(SMALL.frame_bytes)], await encoder(1, NONE))
    assert refused.value.reason == "ENCODER_UNAVAILABLE"


async def test_a_codec_that_crashes_is_told_and_its_slot_is_free_again() -> None:
    chosen = await encoder()
    before = psutil.Process().children()

    async def parts() -> AsyncIterator[Format | bytes]:
        yield SMALL
        yield bytes(SMALL.frame_bytes)
        (child,) = set(psutil.Process().children()) - set(before)
        child.send_signal(signal.SIGSEGV)
        while True:
            yield bytes(SMALL.frame_bytes)

    with pytest.raises(errors.Internal) as failed:
        [update async for update in chosen.encode(parts())]
    assert failed.value.reason == "RENDER_FAILED"
    assert psutil.Process().children() == before
    await encode([SMALL, bytes(SMALL.frame_bytes)], chosen)


async def test_a_full_encoder_says_so_at_once() -> None:
    chosen = await encoder()

    async def parts() -> AsyncIterator[Format | bytes]:
        yield SMALL
        await asyncio.Event().wait()

    before = psutil.Process().children()
    async with aclosing(chosen.encode(parts())) as updates:
        assert isinstance(await anext(updates), Started)
        with pytest.raises(errors.ResourceExhausted) as refused:
            await encode([SMALL, bytes(SMALL.frame_bytes)], chosen)
        assert refused.value.reason == "BUSY"
        assert refused.value.retry_after_seconds
    # Leaving in the middle kills the codec and frees the slot.
    assert psutil.Process().children() == before
    await encode([SMALL, bytes(SMALL.frame_bytes)], chosen)


async def test_a_slow_reader_stops_the_sender_and_memory_stays() -> None:
    sent = 0

    async def parts() -> AsyncIterator[Format | bytes]:
        nonlocal sent
        yield SMALL
        for chunk in noise:
            sent += 1
            yield chunk

    # Noise does not compress, so the packets fill every buffer while nobody reads them.
    noise = [hashlib.shake_256(bytes([number])).digest(SMALL.frame_bytes) for number in range(8)] * 100
    stalled = asyncio.Event()
    async with aclosing((await encoder()).encode(parts())) as updates:
        assert isinstance(await anext(updates), Started)
        last = -1
        while sent != last:
            last = sent
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await stalled.wait()
        assert 0 < sent < len(noise) // 2
