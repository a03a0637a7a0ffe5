"""Encoded streams decode to all their frames, in order and close to the originals."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace

import psutil
import pytest

from moneyprinter import errors
from services.encoder.backends import BACKENDS, Backend
from services.encoder.frames import Format
from services.media.encoding import Codec, Quality
from services.media.flv import Packet
from tests.encoder.frames import decode_packets, moving_frames, psnr, split_frames
from tests.encoder.streams import SOFTWARE, X264, encode, encoder

NONE = Backend("h264_nonesuch_nvenc", Codec.H264, True, (("fast", 23),) * 4)
SMALL = Format(width=320, height=180, frames_per_second=25, quality=Quality.DRAFT)
# Multiples of no block size of a codec.
ODD = Format(width=322, height=182, frames_per_second=30, quality=Quality.STANDARD)


LEVELS = [
    pytest.param(backend, quality, id=f"{backend.name} {quality}")
    for backend in BACKENDS
    for quality in Quality
    if quality is Quality.STANDARD or not backend.hardware
]


@pytest.mark.parametrize(("backend", "quality"), LEVELS)
async def test_decoded_frames_are_close_to_the_originals(backend: Backend, quality: Quality) -> None:
    chosen = await encoder(backend)
    if backend not in await chosen.backends.list_all():
        assert backend.hardware, f"{backend.name} is software; it works everywhere"
        pytest.skip(f"this machine has no {backend.name}")
    frames = moving_frames(64, ODD.width, ODD.height)
    format = replace(ODD, quality=quality, codec=backend.codec)
    encoded = await encode([format, *split_frames(frames, 33_333)], chosen)
    assert encoded.started.backend == backend.name
    back = decode_packets(backend.codec, encoded.started.extradata, encoded.data)
    least = {Quality.DRAFT: 27, Quality.STANDARD: 33, Quality.HIGH: 37, Quality.NEAR_LOSSLESS: 42}[quality]
    assert [psnr(one, other) > least for one, other in zip(frames, back, strict=True)] == [True] * 64
    # In order, one key frame at the beginning and then one every two seconds.
    packets = encoded.packets
    assert sorted(packet.pts for packet in packets) == list(range(64))
    assert [packet.dts for packet in packets] == list(range(packets[0].dts, packets[0].dts + 64))
    assert all(packet.dts <= packet.pts for packet in packets)
    assert [packet.pts for packet in packets if packet.keyframe] == [0, 60]
    summary = encoded.summary
    assert (summary.frame_count, summary.packet_count) == (64, 64)
    assert summary.sha256 == hashlib.sha256(b"".join(encoded.data)).hexdigest()
    assert 0 < summary.seconds < 60


@pytest.mark.parametrize("rate", [1, 7, 24, 50, 97, 120])
async def test_times_are_exact_at_every_frame_rate(rate: int) -> None:
    format = Format(64, 64, rate, Quality.STANDARD)
    count = 2 * rate + 3
    encoded = await encode([format, *split_frames(moving_frames(count, 64, 64), 1 << 20)])
    assert sorted(packet.pts for packet in encoded.packets) == list(range(count))
    first = encoded.packets[0].dts
    assert [packet.dts for packet in encoded.packets] == list(range(first, first + count))
    assert [packet.pts for packet in encoded.packets if packet.keyframe] == list(range(0, count, 2 * rate))


async def test_packets_come_before_the_last_frame_is_sent() -> None:
    frames = list(split_frames(moving_frames(60, SMALL.width, SMALL.height), 100_000))
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
async def test_incomplete_streams_are_refused(parts: list[Format | bytes], words: str) -> None:
    before = psutil.Process().children()
    with pytest.raises(errors.InvalidArgument, match=words) as refused:
        await encode(parts)
    assert refused.value.reason == "FRAMES_INVALID"
    assert psutil.Process().children() == before


@pytest.mark.parametrize(
    ("format", "field"),
    [
        (replace(SMALL, width=321), "format.canvas.width"),
        (replace(SMALL, height=181), "format.canvas.height"),
        (Format(4096, 4096, 25, Quality.DRAFT), "format.canvas"),
        (replace(SMALL, codec=Codec.AV1, backend="libx264"), "format.backend"),
    ],
)
async def test_formats_that_cannot_be_encoded_are_refused(format: Format, field: str) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        await encode([format, bytes(10)])
    assert refused.value.reason == "REQUEST_INVALID"
    assert [violation.field for violation in refused.value.violations] == [field]


async def test_the_best_backend_of_the_codec_is_used() -> None:
    chosen = await encoder(NONE, *SOFTWARE.values())
    assert await chosen.backends.list_all() == tuple(SOFTWARE.values())
    for codec, name in zip(Codec, ("libx264", "libx265", "libvpx-vp9", "libsvtav1"), strict=True):
        format = replace(SMALL, codec=codec)
        assert (await encode([format, bytes(SMALL.frame_bytes)], chosen)).started.backend == name


async def test_the_requested_backend_is_used() -> None:
    # Not the best of two that work; libx265 is declared to encode H.264.
    second = replace(SOFTWARE["libx265"], codec=Codec.H264)
    chosen = await encoder(X264, second)
    assert (await encode([SMALL, bytes(SMALL.frame_bytes)], chosen)).started.backend == "libx264"
    requested = replace(SMALL, backend="libx265")
    assert (await encode([requested, bytes(SMALL.frame_bytes)], chosen)).started.backend == "libx265"


@pytest.mark.parametrize("format", [replace(SMALL, codec=Codec.H265), replace(SMALL, backend="h264_nonesuch_nvenc")])
async def test_a_backend_that_does_not_work_is_unavailable(format: Format) -> None:
    with pytest.raises(errors.Unavailable) as refused:
        await encode([format, bytes(SMALL.frame_bytes)], await encoder(NONE, X264))
    assert refused.value.reason == "ENCODER_UNAVAILABLE"


async def test_the_load_counts_streams_and_frames() -> None:
    chosen = await encoder(slots=3)
    work = chosen.load.backend("libx264")
    free: list[tuple[int, int]] = []

    async def parts() -> AsyncIterator[Format | bytes]:
        yield SMALL
        free.append((chosen.load.free_slots, work.streams))
        yield bytes(3 * SMALL.frame_bytes)

    _ = [update async for update in chosen.encode(parts())]
    assert free == [(2, 1)]
    assert (chosen.load.free_slots, work.streams, work.frame_count) == (3, 0, 3)
    assert 0 < chosen.load.frames_per_second("libx264") <= 0.3
