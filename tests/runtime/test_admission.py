"""Admission: one client can hold less of a server than there is, and not for long when it has stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from google.api import httpbody_pb2

from moneyprinter import errors
from moneyprinter.video.v1 import video_service_pb2 as pb
from moneyprinter.video.v1 import video_service_pb2_grpc as pb_grpc
from services.runtime.admission import FairSemaphore
from services.runtime.config import RuntimeConfig
from services.runtime.server import Runtime
from tests.mesh import Mesh

SERVICE = "moneyprinter.video.v1.VideoService"
GRACE = 2.0
CHUNK = 64 * 1024


class Videos(pb_grpc.VideoServiceServicer):
    """Has files without end, and takes uploads without end."""

    def __init__(self) -> None:
        self.open = 0
        self.ended = asyncio.Event()
        self.two = asyncio.Event()
        """Set when two calls are open."""

    async def DownloadVideo(
        self, request: pb.DownloadVideoRequest, context: Any
    ) -> AsyncIterator[pb.DownloadVideoResponse]:
        with self._counted():
            while True:
                yield pb.DownloadVideoResponse(data=httpbody_pb2.HttpBody(data=bytes(CHUNK)))

    async def WatchVideo(self, request: pb.WatchVideoRequest, context: Any) -> AsyncIterator[pb.WatchVideoResponse]:
        with self._counted():
            yield pb.WatchVideoResponse()
            await asyncio.Event().wait()

    async def UploadAsset(
        self, request_iterator: AsyncIterator[pb.UploadAssetRequest], context: Any
    ) -> pb.UploadAssetResponse:
        with self._counted():
            return pb.UploadAssetResponse(size_bytes=sum([len(part.data.data) async for part in request_iterator]))

    async def GetVideo(self, request: pb.GetVideoRequest, context: Any) -> pb.GetVideoResponse:
        if request.job_id == "vid_slow":
            with self._counted():
                await asyncio.Event().wait()
        return pb.GetVideoResponse()

    @asynccontextmanager
    async def wire(self, _: None, runtime: Runtime) -> AsyncIterator[None]:
        runtime.max_calls = 8
        runtime.limit(4, f"/{SERVICE}/UploadAsset")
        runtime.add(pb_grpc.add_VideoServiceServicer_to_server, self)
        yield

    def _counted(self) -> _Counted:
        return _Counted(self)


class _Counted:
    def __init__(self, videos: Videos) -> None:
        self._videos = videos

    def __enter__(self) -> None:
        self._videos.open += 1
        if self._videos.open > 1:
            self._videos.two.set()

    def __exit__(self, *_: object) -> None:
        self._videos.open -= 1
        self._videos.ended.set()


@pytest.fixture
async def hasty(config: RuntimeConfig) -> AsyncIterator[Mesh]:
    """A mesh that waits for its clients two seconds only."""
    update = {"client_grace_seconds": GRACE, "client_bytes_per_second": 1e4, "streams_per_client": 3, "max_streams": 5}
    async with Mesh(config.model_copy(update=update)) as mesh:
        yield mesh


async def stub(mesh: Mesh, videos: Videos) -> Any:
    await mesh.start("orchestrator", None, videos.wire)
    return mesh.stub(pb_grpc.VideoServiceStub, caller="gateway")


async def test_a_download_that_the_client_does_not_read_is_ended(hasty: Mesh) -> None:
    videos = Videos()  # type: ignore[abstract]
    service = await stub(hasty, videos)
    call = service.DownloadVideo(pb.DownloadVideoRequest(job_id="vid_1"), metadata=hasty.bearer("ann"))
    async with asyncio.timeout(20):
        await videos.ended.wait()
    with pytest.raises(errors.ResourceExhausted) as ended:
        async for _ in call:
            pass
    assert ended.value.reason == "CLIENT_TOO_SLOW"
    assert videos.open == 0


async def test_a_slow_download_continues_while_the_client_reads(hasty: Mesh) -> None:
    """For far longer than a client that has stopped is waited for."""
    videos = Videos()  # type: ignore[abstract]
    service = await stub(hasty, videos)
    call = service.DownloadVideo(pb.DownloadVideoRequest(job_id="vid_1"), metadata=hasty.bearer("ann"))
    began = time.monotonic()
    size = 0
    async for part in call:
        size += len(part.data.data)
        if time.monotonic() - began > 2 * GRACE:
            break
        await asyncio.sleep(0.01)
    assert size >= 2 * GRACE * CHUNK
    assert videos.open == 1


async def test_a_stalled_upload_is_ended_and_a_slow_one_continues(hasty: Mesh) -> None:
    service = await stub(hasty, Videos())  # type: ignore[abstract]

    async def parts(pauses: list[float]) -> AsyncIterator[pb.UploadAssetRequest]:
        for pause in pauses:
            yield pb.UploadAssetRequest(filename="a", data=httpbody_pb2.HttpBody(data=bytes(CHUNK)))
            await asyncio.sleep(pause)

    moving = await service.UploadAsset(parts([GRACE / 10] * 15), metadata=hasty.bearer("ann"))
    assert moving.size_bytes == 15 * CHUNK
    for pauses in ([60.0], []):
        silent = service.UploadAsset(parts(pauses) if pauses else _nothing(), metadata=hasty.bearer("ann"))
        async with asyncio.timeout(20):
            with pytest.raises(errors.ResourceExhausted) as ended:
                await silent
        assert ended.value.reason == "CLIENT_TOO_SLOW"
        assert ended.value.retry_after_seconds == 1.0


async def _nothing() -> AsyncIterator[pb.UploadAssetRequest]:
    await asyncio.sleep(60)
    yield pb.UploadAssetRequest()


async def watched(service: Any, mesh: Mesh, user: str, count: int) -> list[Any]:
    """Streams of a user, each of which has begun."""
    streams = [
        service.WatchVideo(pb.WatchVideoRequest(job_id="vid_1"), metadata=mesh.bearer(user)) for _ in range(count)
    ]
    for stream in streams:
        await anext(aiter(stream))
    return streams


async def test_streams_of_one_user_leave_slots_for_others(hasty: Mesh) -> None:
    videos = Videos()  # type: ignore[abstract]
    service = await stub(hasty, videos)
    streams = await watched(service, hasty, "ann", 3)
    with pytest.raises(errors.ResourceExhausted, match="3 streams open") as refused:
        await watched(service, hasty, "ann", 1)
    assert (refused.value.reason, refused.value.retry_after_seconds) == ("STREAMS_EXHAUSTED", 1.0)
    streams += await watched(service, hasty, "bob", 2)
    with pytest.raises(errors.ResourceExhausted) as full:
        await watched(service, hasty, "eve", 1)
    assert full.value.reason == "BUSY"
    # They take no place of those that calls have.
    await asyncio.gather(
        *(service.GetVideo(pb.GetVideoRequest(job_id="vid_1"), metadata=hasty.bearer("ann")) for _ in range(2))
    )
    streams[0].cancel()
    async with asyncio.timeout(20):
        await videos.ended.wait()
    await watched(service, hasty, "ann", 1)


async def test_calls_of_one_user_leave_slots_for_others(hasty: Mesh) -> None:
    """8 places, of which one user has a quarter; who has no token is known by the address."""
    videos = Videos()  # type: ignore[abstract]
    service = await stub(hasty, videos)
    slow = pb.GetVideoRequest(job_id="vid_slow")
    calls = [asyncio.ensure_future(service.GetVideo(slow, metadata=hasty.bearer("ann"))) for _ in range(2)]
    async with asyncio.timeout(20):
        await videos.two.wait()
    with pytest.raises(errors.ResourceExhausted) as refused:
        await service.GetVideo(slow, metadata=hasty.bearer("ann"))
    assert refused.value.reason == "BUSY"
    await service.GetVideo(pb.GetVideoRequest(job_id="vid_1"), metadata=hasty.bearer("bob"))
    for call in calls:
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call


async def test_one_client_leaves_slots_for_others() -> None:
    client = "ann"
    turns = FairSemaphore(2, lambda: client)
    over = await turns.acquire()
    second = asyncio.ensure_future(turns.acquire())
    await asyncio.sleep(0)
    assert not second.done()
    client = "bob"
    async with turns.slot():
        pass
    over()
    (await second)()
    # A client that gives up leaves nothing behind.
    client = ""
    held = [await turns.acquire(), await turns.acquire()]
    client = "ann"
    waiting = asyncio.ensure_future(turns.acquire())
    await asyncio.sleep(0)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    for leave in held:
        leave()
    async with turns.slot():
        pass
