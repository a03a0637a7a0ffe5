"""Floods: the gateway disconnects clients that send slowly, too much, or abusively; a good client hardly notices."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from moneyprinter.video.v1 import video_service_pb2 as pb
from moneyprinter.video.v1 import video_service_pb2_grpc as pb_grpc
from services.runtime import children
from tests.gateway import proxy
from tests.gateway.platform import SLOW_SECONDS, Platform
from tests.gateway.proxy import Proxy

GOOD_SECONDS = 0.2
LIMITS = children.Limits(memory_bytes=0, open_files=1024, wall_seconds=60)


@pytest.fixture(scope="module")
async def front(both: tuple[Platform, Proxy], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proxy]:
    """A gateway of its own, with shorter timeouts than usual to keep the tests fast."""
    hasty = both[0].gateway().model_copy(update={"headers_seconds": 1.0, "body_seconds": 1.5})
    async with proxy.run_proxy(hasty, tmp_path_factory.mktemp("floods")) as running:
        await running.wait_for_keys()
        yield running


@asynccontextmanager
async def attacked(platform: Platform, front: Proxy, name: str) -> AsyncIterator[children.Child]:
    """Run an attack while the context is open; it has started when the body runs."""
    token = platform.mesh.token("mallory", exp=int(time.time()) + 300)
    command = [sys.executable, "-m", "tests.security.attacks", name, str(front.gateway.port), token]
    async with children.start(command, limits=LIMITS) as child:
        connections = await front.read_stat("http.public.downstream_cx_total")
        await front.wait_for_stat("http.public.downstream_cx_total", connections + 1)
        yield child
        child.process.kill()


async def rounds(child: children.Child) -> dict[str, Any]:
    """Return the report of an attack's next round."""
    async with asyncio.timeout(30):
        line = await child.stdout.readline()
    assert line, "the attack broke off"
    found: dict[str, Any] = json.loads(line)
    return found


async def p95(platform: Platform, front: Proxy, count: int = 100) -> float:
    """Return the 95th percentile of a good client's latencies in seconds; every call must succeed."""
    headers = dict(platform.mesh.bearer("good"))
    times = []
    for _ in range(count):
        began = time.perf_counter()
        answer = await front.http.get("/v1/videos", headers=headers)
        times.append(time.perf_counter() - began)
        assert answer.status_code == 200
    return sorted(times)[int(count * 0.95)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("slow_headers", {"answers": {"HTTP/1.1 408 Request Timeout": 200}}),
        ("slow_bodies", {"answers": {"HTTP/1.1 408 Request Timeout": 200}}),
        ("silent", {"sockets": 200}),
        ("rapid_reset", None),
        ("too_many_streams", {"refused": 50}),
        ("endless_headers", None),
        ("large_bodies", {"answers": {"HTTP/1.1 413 Payload Too Large": 1}}),
        ("deep_json", {"answers": {"HTTP/1.1 400 Bad Request": 1}}),
    ],
)
async def test_a_good_client_hardly_notices(
    platform: Platform, front: Proxy, name: str, expected: dict[str, Any] | None
) -> None:
    async with attacked(platform, front, name) as attack:
        assert await p95(platform, front) < GOOD_SECONDS
        for _ in range(2 if expected and "answers" in expected else 1):
            found = await rounds(attack)
            assert expected is None or found == expected


async def test_messages_of_10_mb_are_refused_meanwhile(platform: Platform, front: Proxy) -> None:
    async def refused() -> None:
        async with front.channel() as channel:
            request = pb.CreateVideoRequest(title="x" * 10_000_000)
            call = pb_grpc.VideoServiceStub(channel).CreateVideo(request, metadata=platform.mesh.bearer(), timeout=20)
            assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(refused())
        assert await p95(platform, front) < GOOD_SECONDS


async def test_timeouts_apply_to_clients_only(platform: Platform, front: Proxy) -> None:
    """The gateway waits for a service for longer than for the body of a request."""
    assert front.gateway.body_seconds < SLOW_SECONDS
    answer = await front.http.get("/v1/videos/vid_slow", headers=dict(platform.mesh.bearer()))
    assert answer.status_code == 200
    async with front.channel() as channel:
        call = pb_grpc.VideoServiceStub(channel).GetVideo(
            pb.GetVideoRequest(job_id="vid_slow"), metadata=platform.mesh.bearer()
        )
        assert (await call).video.job_id == "vid_slow"


async def test_a_slow_upload_is_accepted(platform: Platform, front: Proxy) -> None:
    """Only a pause without any data ends it."""

    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"x"
            await asyncio.sleep(front.gateway.body_seconds / 3)

    answer = await front.http.post("/v1/assets?filename=a", content=slowly(), headers=dict(platform.mesh.bearer()))
    assert (answer.status_code, answer.json()["size_bytes"]) == (201, 4)
