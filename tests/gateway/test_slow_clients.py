"""Stalled clients are disconnected and do not delay others; a slow client gets its whole file."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import httpx
import pytest

from moneyprinter.video.v1 import video_service_pb2 as pb
from moneyprinter.video.v1 import video_service_pb2_grpc as pb_grpc
from services.runtime.config import PORTS, RuntimeConfig
from tests.gateway import proxy
from tests.gateway.platform import FILE, Platform, run_gateway
from tests.gateway.proxy import Proxy
from tests.mesh import Mesh

GRACE_SECONDS = 4.0
DELAYED_SECONDS = 0.8 * GRACE_SECONDS
"""A call that waits for the end of stalled clients takes longer."""
SLOW_BYTES = 32 * 1024
"""The bytes that a slow client reads at once, four times a second."""
ACTIVE = "cluster.orchestrator-streams.upstream_rq_active"


@pytest.fixture(scope="module")
async def front(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Platform, Proxy]]:
    """A platform with time limits of a few seconds for clients."""
    config = RuntimeConfig(
        certificates=certificates,
        ports=dict.fromkeys(PORTS, 0),
        scratch=tmp_path_factory.mktemp("scratch"),
        grace_seconds=1.0,
        client_grace_seconds=GRACE_SECONDS,
        client_bytes_per_second=16 * 1024,
    )
    async with Mesh(config) as mesh, run_gateway(mesh, tmp_path_factory.mktemp("slow")) as (platform, _):
        hasty = platform.gateway().model_copy(update={"stalled_seconds": 2 * GRACE_SECONDS})
        async with proxy.run_proxy(hasty, tmp_path_factory.mktemp("hasty")) as gateway:
            await gateway.wait_for_keys()
            yield platform, gateway


def request(platform: Platform, front: Proxy, user: str, verb: str, path: str, more: str = "") -> socket.socket:
    """Send a request on a connection with a small receive buffer."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    found.settimeout(30)
    found.connect(("127.0.0.1", front.gateway.port))
    token = dict(platform.mesh.bearer(user))["authorization"]
    found.sendall(f"{verb} {path} HTTP/1.1\r\nhost: here\r\nauthorization: {token}\r\n{more}\r\n".encode())
    return found


async def measure_slowest_call(platform: Platform, front: Proxy, seconds: float) -> float:
    """Call as another user for some seconds. Returns the longest time of a call; all must succeed."""
    headers, end, found = dict(platform.mesh.bearer("good")), time.monotonic() + seconds, 0.0
    while time.monotonic() < end:
        for path in ("/v1/videos", "/v1/videos/vid_1/file", "/v1/videos/vid_1/watch"):
            began = time.monotonic()
            answer = await front.http.get(path, headers=headers)
            assert answer.status_code == httpx.codes.OK
            found = max(found, time.monotonic() - began)
    return found


async def wait_until_no_stream(front: Proxy) -> None:
    """Wait until no stream is open."""
    async with asyncio.timeout(30):
        while await front.read_stat(ACTIVE):  # noqa: ASYNC110  Envoy sends no notification
            await asyncio.sleep(0.1)


async def test_unread_downloads_do_not_delay_others_and_are_ended(front: tuple[Platform, Proxy]) -> None:
    platform, gateway = front
    unread = [request(platform, gateway, "mallory", "GET", "/v1/videos/vid_1/file") for _ in range(15)]
    await gateway.wait_for_stat(ACTIVE, 15)
    assert await measure_slowest_call(platform, gateway, GRACE_SECONDS / 2) < DELAYED_SECONDS
    await wait_until_no_stream(gateway)
    for connection in unread:
        received = await asyncio.to_thread(_all, connection)
        # A client detects the cut by the length, and resumes from there.
        assert f"content-length: {len(FILE)}".encode() in received
        assert len(received) < len(FILE)


def _all(connection: socket.socket) -> bytes:
    received = bytearray()
    with connection:
        try:
            while part := connection.recv(65536):
                received += part
        except ConnectionError:
            pass
    return bytes(received)


async def test_unread_grpc_streams_do_not_delay_others_and_are_ended(front: tuple[Platform, Proxy]) -> None:
    platform, gateway = front
    async with gateway.channel() as channel:
        stub = pb_grpc.VideoServiceStub(channel)
        metadata = platform.mesh.bearer("mallory")
        large = pb.DownloadVideoRequest(job_id="vid_large")
        unread = [stub.DownloadVideo(large, metadata=metadata) for _ in range(15)]
        for call in unread:
            await call.initial_metadata()
        assert await measure_slowest_call(platform, gateway, GRACE_SECONDS / 2) < DELAYED_SECONDS
        # Other calls on the same connection do not wait either.
        await stub.GetVideo(pb.GetVideoRequest(job_id="vid_1"), metadata=metadata, timeout=2)
        await wait_until_no_stream(gateway)
        for call in unread:
            with pytest.raises(grpc.aio.AioRpcError):
                async for _ in call:
                    pass


async def test_a_slow_reader_gets_the_whole_file(front: tuple[Platform, Proxy]) -> None:
    """The download takes longer than the time limit of a stalled client."""
    platform, gateway = front
    connection = request(platform, gateway, "ann", "GET", "/v1/videos/vid_1/file")
    connection.setblocking(False)
    loop, received, began = asyncio.get_running_loop(), b"", time.monotonic()
    with connection:
        while len(received) < len(FILE):
            part = await loop.sock_recv(connection, SLOW_BYTES)
            assert part, f"cut after {len(received)} bytes and {time.monotonic() - began:.1f} s"
            received += part
            await asyncio.sleep(0.25 * len(part) / SLOW_BYTES)
        _, _, body = received.partition(b"\r\n\r\n")
        while len(body) < len(FILE):
            body += await loop.sock_recv(connection, 65536)
    assert time.monotonic() - began > GRACE_SECONDS
    assert body == FILE


async def test_a_slow_grpc_reader_gets_the_whole_file(front: tuple[Platform, Proxy]) -> None:
    platform, gateway = front
    body, began = b"", time.monotonic()
    async with gateway.channel() as channel:
        call = pb_grpc.VideoServiceStub(channel).DownloadVideo(
            pb.DownloadVideoRequest(job_id="vid_1"), metadata=platform.mesh.bearer("ann")
        )
        async for part in call:
            body += part.data.data
            await asyncio.sleep(0.5)
    assert time.monotonic() - began > GRACE_SECONDS
    assert body == FILE


async def test_a_stalled_upload_is_refused_with_a_reason(front: tuple[Platform, Proxy]) -> None:
    platform, gateway = front
    more = "content-length: 1000000\r\n"
    connection = request(platform, gateway, "mallory", "POST", "/v1/assets?filename=a", more)
    connection.sendall(b"begin")
    received = await asyncio.to_thread(connection.recv, 65536)
    connection.close()
    assert received.startswith(b"HTTP/1.1 429 ")
    assert b"CLIENT_TOO_SLOW" in received
    assert b"retry-after: 1" in received
    await wait_until_no_stream(gateway)


async def test_a_response_may_exceed_the_buffer_of_a_stream(front: tuple[Platform, Proxy]) -> None:
    platform, gateway = front
    answer = await gateway.http.get("/v1/videos?page_token=large", headers=dict(platform.mesh.bearer()))
    assert answer.status_code == httpx.codes.OK, answer.text[:300]
    assert len(answer.json()["videos"]) == 2000
