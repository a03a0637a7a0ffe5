"""The encoder service as its clients meet it, over mTLS."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable

import psutil
import pytest

from moneyprinter import errors
from moneyprinter.encoder.v1 import encoder_service_pb2 as pb
from moneyprinter.encoder.v1 import encoder_service_pb2_grpc as pb_grpc
from moneyprinter.media.v1 import media_pb2
from services.encoder.config import Config
from tests.encoder.pictures import chunks, decoded, moving, psnr
from tests.mesh import Mesh

FORMAT = pb.Format(
    canvas=media_pb2.Canvas(width=320, height=180, frames_per_second=25), quality=media_pb2.QUALITY_STANDARD
)
FRAME = bytes(320 * 180 * 3 // 2)


@pytest.fixture
async def platform(mesh: Mesh) -> Mesh:
    """A mesh with an encoder of one slot."""
    await mesh.start("encoder", Config(slots=1))
    return mesh


async def requests(parts: Iterable[pb.Format | bytes]) -> AsyncIterator[pb.EncodeRequest]:
    for part in parts:
        yield pb.EncodeRequest(format=part) if isinstance(part, pb.Format) else pb.EncodeRequest(chunk=part)


async def encode(mesh: Mesh, *parts: pb.Format | bytes) -> list[pb.EncodeResponse]:
    stub = mesh.stub(pb_grpc.EncoderServiceStub, caller="processing")
    return [response async for response in stub.Encode(requests(parts))]


async def test_sixty_frames_end_to_end(platform: Mesh) -> None:
    frames = moving(60, 320, 180)
    first, *middle, last = await encode(platform, FORMAT, *chunks(frames, 77_777))
    assert first.started.backend in {"libx264", "h264_nvenc", "h264_qsv"}
    packets = [response.packet for response in middle]
    data = b"".join(packet.data for packet in packets)
    back = decoded(first.started.extradata + data)
    assert len(back) == 60
    assert min(psnr(one, other) for one, other in zip(frames, back, strict=True)) > 34
    assert [packet.pts for packet in packets if packet.keyframe] == [0, 50]
    summary = last.summary
    assert (summary.frame_count, summary.packet_count) == (60, 60)
    assert summary.sha256 == hashlib.sha256(data).hexdigest()
    assert summary.encode_time.ToTimedelta().total_seconds() > 0


async def test_the_encoders_that_work_are_listed(platform: Mesh) -> None:
    stub = platform.stub(pb_grpc.EncoderServiceStub, caller="monitoring")
    backends = (await stub.ListBackends(pb.ListBackendsRequest())).backends
    assert pb.Backend(name="libx264", hardware=False) in backends
    # The best first: those that run on an engine of their own.
    assert [backend.hardware for backend in backends] == sorted((b.hardware for b in backends), reverse=True)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([], "FRAMES_INVALID"),
        ([FRAME], "FRAMES_INVALID"),
        ([FORMAT], "FRAMES_INVALID"),
        ([FORMAT, FRAME, b"x"], "FRAMES_INVALID"),
        ([FORMAT, FORMAT], "FRAMES_INVALID"),
        ([pb.Format(canvas=FORMAT.canvas)], "REQUEST_INVALID"),
        ([FORMAT, bytes((1 << 20) + 1)], "REQUEST_INVALID"),
    ],
)
async def test_wrong_streams_are_refused(platform: Mesh, parts: list[pb.Format | bytes], reason: str) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        await encode(platform, *parts)
    assert refused.value.reason == reason


async def test_a_call_cancelled_in_the_middle_leaves_no_child(platform: Mesh) -> None:
    before = psutil.Process().children()
    stub = platform.stub(pb_grpc.EncoderServiceStub, caller="processing")
    # The encoders must have been tried, or the trial's child would be taken for ours.
    await stub.ListBackends(pb.ListBackendsRequest())

    async def endless() -> AsyncIterator[pb.EncodeRequest]:
        yield pb.EncodeRequest(format=FORMAT)
        while True:
            yield pb.EncodeRequest(chunk=FRAME)

    call = stub.Encode(endless())
    async for response in call:
        if response.HasField("packet"):
            break
    (child,) = set(psutil.Process().children()) - set(before)

    async def patient() -> AsyncIterator[pb.EncodeRequest]:
        # gRPC may lose the reason of a refusal that meets a chunk on its way.
        yield pb.EncodeRequest(format=FORMAT)
        await asyncio.Event().wait()

    with pytest.raises(errors.ResourceExhausted) as refused:
        _ = [response async for response in stub.Encode(patient())]
    assert refused.value.reason == "BUSY"
    call.cancel()
    await asyncio.to_thread(psutil.wait_procs, [child], 10)
    assert not child.is_running()
    # Its slot is free again.
    assert (await encode(platform, FORMAT, FRAME))[-1].summary.frame_count == 1
