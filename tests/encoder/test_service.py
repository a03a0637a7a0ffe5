"""The encoder service over mTLS."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from moneyprinter import errors
from moneyprinter.encoder.v1 import encoder_service_pb2 as pb
from moneyprinter.encoder.v1 import encoder_service_pb2_grpc as pb_grpc
from moneyprinter.media.v1 import media_pb2
from services.encoder.config import Config
from services.media.encoding import Codec
from services.runtime import children
from tests.encoder.frames import decode_packets, moving_frames, noise_frames, psnr, split_frames
from tests.encoder.test_interruptions import list_codecs
from tests.mesh import Mesh

ROOT = Path(__file__).parent.parent.parent
FORMAT = pb.Format(
    canvas=media_pb2.Canvas(width=320, height=180, frames_per_second=25), quality=media_pb2.QUALITY_STANDARD
)
FRAME = bytes(320 * 180 * 3 // 2)
CODECS = {
    media_pb2.CODEC_UNSPECIFIED: Codec.H264,
    media_pb2.CODEC_H264: Codec.H264,
    media_pb2.CODEC_H265: Codec.H265,
    media_pb2.CODEC_VP9: Codec.VP9,
    media_pb2.CODEC_AV1: Codec.AV1,
}


@pytest.fixture
async def platform(mesh: Mesh) -> Mesh:
    """A mesh with an encoder that has one slot."""
    await mesh.start("encoder", Config(slots=1))
    return mesh


async def requests(parts: Iterable[pb.Format | bytes]) -> AsyncIterator[pb.EncodeRequest]:
    for part in parts:
        yield pb.EncodeRequest(format=part) if isinstance(part, pb.Format) else pb.EncodeRequest(chunk=part)


async def encode(mesh: Mesh, *parts: pb.Format | bytes) -> list[pb.EncodeResponse]:
    stub = mesh.stub(pb_grpc.EncoderServiceStub, caller="processing")
    return [response async for response in stub.Encode(requests(parts))]


async def load(mesh: Mesh) -> pb.GetLoadResponse:
    return await mesh.stub(pb_grpc.EncoderServiceStub, caller="monitoring").GetLoad(pb.GetLoadRequest())


async def wait_free(mesh: Mesh) -> None:
    """Wait until the slot is free and no codec runs."""
    async with asyncio.timeout(10):
        while (await load(mesh)).free_slots != 1 or list_codecs():  # noqa: ASYNC110 (the service has no event for it)
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("codec", CODECS)
async def test_sixty_frames_end_to_end(platform: Mesh, codec: media_pb2.Codec.ValueType) -> None:
    frames = moving_frames(60, 320, 180)
    format = pb.Format(canvas=FORMAT.canvas, quality=FORMAT.quality, codec=codec)
    accepted, started, *middle, last = await encode(platform, format, *split_frames(frames, 77_777))
    assert accepted.HasField("accepted")
    packets = [response.packet for response in middle]
    back = decode_packets(CODECS[codec], started.started.extradata, [packet.data for packet in packets])
    assert [psnr(one, other) > 33 for one, other in zip(frames, back, strict=True)] == [True] * 60
    assert [packet.pts for packet in packets if packet.keyframe] == [0, 50]
    summary = last.summary
    assert (summary.frame_count, summary.packet_count) == (60, 60)
    assert summary.sha256 == hashlib.sha256(b"".join(packet.data for packet in packets)).hexdigest()
    assert summary.encode_time.ToTimedelta().total_seconds() > 0
    [used] = [backend for backend in (await load(platform)).backends if backend.name == started.started.backend]
    assert (used.streams, used.frame_count, used.frames_per_second) == (0, 60, 6.0)
    assert used.codec == (codec or media_pb2.CODEC_H264)


async def test_the_load_lists_backends_and_free_slots(platform: Mesh) -> None:
    idle = await load(platform)
    assert (idle.slots, idle.free_slots) == (1, 1)
    h264 = [backend for backend in idle.backends if backend.codec == media_pb2.CODEC_H264]
    assert h264[-1] == pb.Backend(name="libx264", codec=media_pb2.CODEC_H264)
    # Hardware first.
    assert [backend.hardware for backend in h264] == sorted((backend.hardware for backend in h264), reverse=True)
    stub = platform.stub(pb_grpc.EncoderServiceStub, caller="processing")

    async def patient() -> AsyncIterator[pb.EncodeRequest]:
        yield pb.EncodeRequest(format=pb.Format(canvas=FORMAT.canvas, quality=FORMAT.quality, backend="libx264"))
        await asyncio.Event().wait()

    call = stub.Encode(patient())
    assert (await anext(aiter(call))).HasField("accepted")
    busy = await load(platform)
    assert busy.free_slots == 0
    assert {backend.name for backend in busy.backends if backend.streams} == {"libx264"}
    with pytest.raises(errors.ResourceExhausted) as refused:
        _ = [response async for response in stub.Encode(patient())]
    assert refused.value.reason == "BUSY"
    call.cancel()
    await wait_free(platform)


async def test_each_available_backend_has_a_health_check(platform: Mesh) -> None:
    backends = (await load(platform)).backends
    channel = platform.channel("encoder", "moneyprinter.encoder.v1.EncoderService", caller="monitoring")
    stub: Any = health_pb2_grpc.HealthStub(channel)
    for name in [backend.name for backend in backends]:
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(errors.NotFound):
        await stub.Check(health_pb2.HealthCheckRequest(service="h264_nonesuch"))


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([], "FRAMES_INVALID"),
        ([FRAME], "FRAMES_INVALID"),
        ([FORMAT], "FRAMES_INVALID"),
        ([FORMAT, FRAME, b"x"], "FRAMES_INVALID"),
        ([FORMAT, FORMAT], "FRAMES_INVALID"),
        ([pb.Format(canvas=FORMAT.canvas)], "REQUEST_INVALID"),
        ([pb.Format(canvas=FORMAT.canvas, quality=FORMAT.quality, codec=9)], "REQUEST_INVALID"),  # type: ignore[arg-type]
        ([FORMAT, bytes((1 << 20) + 1)], "REQUEST_INVALID"),
    ],
)
async def test_invalid_streams_are_refused(platform: Mesh, parts: list[pb.Format | bytes], reason: str) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        await encode(platform, *parts)
    assert refused.value.reason == reason


async def test_a_packet_may_be_larger_than_other_messages(platform: Mesh) -> None:
    canvas = media_pb2.Canvas(width=2560, height=1440, frames_per_second=1)
    format = pb.Format(canvas=canvas, quality=media_pb2.QUALITY_NEAR_LOSSLESS, backend="libx264")
    [frame] = noise_frames(1, 2560 * 1440 * 3 // 2)
    parts = [frame[start : start + (1 << 20)] for start in range(0, len(frame), 1 << 20)]
    _, _, coded, summary = await encode(platform, format, *parts)
    assert len(coded.packet.data) > 4 << 20
    assert summary.summary.packet_count == 1


@pytest.mark.parametrize("point", ["before the format", "accepted", "packets come"])
async def test_a_cancelled_call_leaves_no_child(platform: Mesh, point: str) -> None:
    reached = asyncio.Event()

    async def endless() -> AsyncIterator[pb.EncodeRequest]:
        if point == "before the format":
            reached.set()
            await asyncio.Event().wait()
        yield pb.EncodeRequest(format=FORMAT)
        if point == "accepted":
            await asyncio.Event().wait()
        while True:
            yield pb.EncodeRequest(chunk=FRAME)

    call = platform.stub(pb_grpc.EncoderServiceStub, caller="processing").Encode(endless())

    async def read() -> None:
        async for response in call:
            if response.HasField("accepted" if point == "accepted" else "packet"):
                reached.set()

    reading = asyncio.create_task(read())
    await reached.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await wait_free(platform)
    assert (await encode(platform, FORMAT, FRAME))[-1].summary.frame_count == 1


async def test_a_killed_client_frees_the_slot(platform: Mesh) -> None:
    port = str(platform.config.ports["encoder"])
    command = (sys.executable, "-P", "-m", "tests.encoder.sender", str(platform.config.certificates), port)
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"}
    async with children.start(command, folder=ROOT, environment=environment) as sender:
        assert await sender.stdout.readline() == b"packet\n"
        assert (await load(platform)).free_slots == 0
        sender.process.kill()
        await wait_free(platform)
