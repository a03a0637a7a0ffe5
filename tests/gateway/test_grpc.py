"""gRPC: the same port serves native gRPC unchanged."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.api import httpbody_pb2

from moneyprinter import errors
from moneyprinter.calls import TypedChannel
from moneyprinter.video.v1 import video_service_pb2 as pb
from moneyprinter.video.v1 import video_service_pb2_grpc as pb_grpc
from tests.gateway.platform import FILE, Platform
from tests.gateway.proxy import Proxy

WALK = pb.CreateVideoRequest(title="A walk", clips=[pb.Clip(url="https://example.com/a.mp4")])


def stub(channel: grpc.aio.Channel) -> pb_grpc.VideoServiceAsyncStub:
    """Return a stub of the public service on a channel."""
    return pb_grpc.VideoServiceStub(channel)


@pytest.fixture
async def videos(platform: Platform, gateway: Proxy) -> AsyncIterator[pb_grpc.VideoServiceAsyncStub]:
    """A stub through the gateway, as in the SDK."""
    async with TypedChannel(gateway.channel(), platform.mesh.bearer) as channel:
        yield stub(channel)


async def test_a_call_that_is_202_over_rest_is_ok(platform: Platform, gateway: Proxy) -> None:
    async with gateway.channel() as channel:
        created = stub(channel).CreateVideo(WALK, metadata=platform.mesh.bearer(), timeout=10)
        assert (await created).job_id == "vid_12345abc"
        assert await created.code() is grpc.StatusCode.OK


async def test_a_stream_is_followed_to_its_end(videos: pb_grpc.VideoServiceAsyncStub) -> None:
    seen = [answer.status.progress async for answer in videos.WatchVideo(pb.WatchVideoRequest(job_id="vid_1"))]
    assert seen == [0, 50, 100]


async def test_files_travel_both_ways(videos: pb_grpc.VideoServiceAsyncStub) -> None:
    got = [answer.data.data async for answer in videos.DownloadVideo(pb.DownloadVideoRequest(job_id="vid_1"))]
    assert b"".join(got) == FILE

    async def chunks() -> AsyncIterator[pb.UploadAssetRequest]:
        # Twice what a body that is not an upload may hold.
        for _ in range(2):
            yield pb.UploadAssetRequest(filename="a.mp4", data=httpbody_pb2.HttpBody(data=FILE))

    assert (await videos.UploadAsset(chunks())).size_bytes == 2 * len(FILE)


async def test_a_cut_stream_is_an_error(videos: pb_grpc.VideoServiceAsyncStub) -> None:
    with pytest.raises(errors.DataLoss) as failed:
        async for _ in videos.DownloadVideo(pb.DownloadVideoRequest(job_id="vid_cut")):
            pass
    assert failed.value.reason == "DATA_CORRUPT"


async def test_errors_of_services_keep_their_reasons(videos: pb_grpc.VideoServiceAsyncStub) -> None:
    with pytest.raises(errors.NotFound) as missing:
        await videos.GetVideoStatus(pb.GetVideoStatusRequest(job_id="vid_none"))
    assert missing.value.reason == "VIDEO_NOT_FOUND"
    with pytest.raises(errors.InvalidArgument) as invalid:
        await videos.CreateVideo(pb.CreateVideoRequest())
    assert [violation.field for violation in invalid.value.violations] == ["title"]


async def test_errors_of_the_gateway_have_codes_and_reasons(
    gateway: Proxy, videos: pb_grpc.VideoServiceAsyncStub
) -> None:
    async with TypedChannel(gateway.channel()) as channel:
        with pytest.raises(errors.Unauthenticated, match="sign in") as refused:
            await stub(channel).CreateVideo(WALK)
        assert refused.value.reason == "TOKEN_INVALID"
    with pytest.raises(errors.ResourceExhausted, match="larger than any valid one") as large:
        await videos.CreateVideo(pb.CreateVideoRequest(title="x" * (1 << 20)))
    assert large.value.reason == "REQUEST_TOO_LARGE"


@pytest.mark.parametrize("called", ["GetVideo", "WatchVideo", "UploadAsset"])
@pytest.mark.parametrize("garbage", [b"\xff\xff\xff", b"\x0a\x05ab", b"\x12\x03\x0a"])
async def test_invalid_message_bytes_are_an_invalid_argument(
    platform: Platform, gateway: Proxy, called: str, garbage: bytes
) -> None:
    async with gateway.channel() as channel:
        start: Any = channel.unary_stream(f"/moneyprinter.video.v1.VideoService/{called}")
        call = start(garbage, metadata=platform.mesh.bearer(), timeout=10)
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "bytes" in await call.details()
        # A caller without a token learns no more than that.
        refused = start(garbage, timeout=10)
        assert await refused.code() is grpc.StatusCode.UNAUTHENTICATED
