"""Rate limits of several gateways together: the service that Envoy asks, its buckets in Redis, and outages of Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from moneyprinter import errors
from moneyprinter.calls import TypedChannel
from moneyprinter.video.v1 import video_service_pb2 as pb
from moneyprinter.video.v1 import video_service_pb2_grpc as pb_grpc
from services.embedded import ports
from services.ratelimit.config import Config
from services.ratelimit.limits import BucketState, Limit, Taking
from services.ratelimit.redis_buckets import RedisBuckets
from services.runtime import redis
from services.runtime.config import ConfigError, RuntimeConfig
from services.runtime.redis import open_client
from services.runtime.server import run_service
from tests.gateway import proxy
from tests.gateway.platform import Platform
from tests.gateway.test_limits import SIGN_IN, SMALL, statuses
from tests.sessions.servers import RedisServer

SPECIFIED = Limit(per_minute=100, burst=1000)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait longer for Redis, since the test machine may be busy."""
    monkeypatch.setattr(redis, "OPERATION_SECONDS", 10.0)


@asynccontextmanager
async def open_buckets(config: RuntimeConfig) -> AsyncIterator[RedisBuckets]:
    async with open_client(config) as client:
        assert client is not None
        yield RedisBuckets(client)


async def test_a_bucket_holds_a_burst_of_1000_and_gets_100_a_minute(
    redis_server: RedisServer, config: RuntimeConfig
) -> None:
    async with open_buckets(redis_server.configure(config)) as buckets:
        [state] = await buckets.take([Taking("user:ann", SPECIFIED, 1000)])
        assert (state.is_over, state.remaining) == (False, 0)
        over, other = await buckets.take([Taking("user:ann", SPECIFIED, 1), Taking("user:bob", SPECIFIED, 1)])
        assert (over.is_over, over.remaining) == (True, 0)
        assert 0.0 < over.wait_seconds <= 0.6
        assert other == BucketState(False, 999, 0.0)
        # A call that is refused takes nothing: a minute later, there are 100 tokens, and no more.
        name = "moneyprinter:limit:user:ann"
        full = float(await redis_server.command_as_administrator("GET", name)) - 60_000
        await redis_server.command_as_administrator("SET", name, full)
        [state] = await buckets.take([Taking("user:ann", SPECIFIED, 100)])
        assert not state.is_over
        [state] = await buckets.take([Taking("user:ann", SPECIFIED, 50)])
        assert state.is_over
        # A full bucket takes no memory.
        assert 0 < await redis_server.command_as_administrator("PTTL", name) <= 10 * 60_000


async def test_concurrent_calls_take_no_token_twice(redis_server: RedisServer, config: RuntimeConfig) -> None:
    settings, taking = redis_server.configure(config), Taking("user:eve", Limit(1, 20), 1)
    async with open_buckets(settings) as one, open_buckets(settings) as two:
        found = await asyncio.gather(*(buckets.take([taking]) for _ in range(15) for buckets in (one, two)))
    assert sum(not state.is_over for [state] in found) == 20


async def test_gateways_share_limits_and_count_alone_while_redis_is_away(
    platform: Platform, config: RuntimeConfig, redis_servers: dict[str, RedisServer], tmp_path: Path
) -> None:
    server = redis_servers["external"]
    await server.command_as_administrator("FLUSHALL")
    [port] = ports.pick_ports()
    shared = platform.mesh.config.model_copy(update={"ports": {**platform.mesh.config.ports, "ratelimit": port}})
    settings = platform.gateway().model_copy(update={**SMALL, "rate_limit_service": f"127.0.0.1:{port}"})
    users = {name: dict(platform.mesh.bearer(f"{name}-of-{port}")) for name in ("ann", "bob", "eve", "joe", "mia")}
    async with proxy.run_proxy(settings, tmp_path / "one") as one, proxy.run_proxy(settings, tmp_path / "two") as two:
        await one.wait_for_keys()
        await two.wait_for_keys()
        # Without the service, each gateway counts alone.
        for gateway in (one, two):
            assert await statuses(gateway.http, users["joe"], 6) == [200] * 5 + [429]
        async with run_service("ratelimit", server.configure(shared), settings=Config.model_validate(SMALL)) as running:
            assert await statuses(one.http, users["ann"], 3) == [200] * 3
            assert await statuses(two.http, users["ann"], 3) == [200, 200, 429]
            refused = await one.http.get("/v1/videos", headers=users["ann"])
            assert (refused.status_code, refused.json()["details"][0]["reason"]) == (429, "RATE_LIMITED")
            expected = {"retry-after": "60", "x-ratelimit-limit": "5", "x-ratelimit-remaining": "0"}
            assert {name: refused.headers[name] for name in expected} == expected
            assert 0 < int(refused.headers["x-ratelimit-reset"]) <= 60
            assert await statuses(two.http, users["bob"], 1) == [200]
            async with TypedChannel(two.channel(), lambda: tuple(users["ann"].items())) as channel:
                with pytest.raises(errors.ResourceExhausted) as limited:
                    await pb_grpc.VideoServiceStub(channel).ListVideos(pb.ListVideosRequest())
                assert (limited.value.reason, limited.value.retry_after_seconds) == ("RATE_LIMITED", 60)

            signed_in = [await gateway.http.post("/v1/auth/sign-in", json=SIGN_IN) for gateway in (one, two, one, two)]
            assert [answer.status_code for answer in signed_in] == [200, 200, 200, 429]
            assert (await one.http.get("/health")).status_code == 200

            server.kill()
            try:
                for gateway in (one, two):
                    assert await statuses(gateway.http, users["eve"], 6) == [200] * 5 + [429]
                with pytest.raises(errors.Unavailable):
                    await running.health.probes["redis"]()
            finally:
                await server.start()
            async with asyncio.timeout(20):
                while not await _passes(running.health.probes["redis"]):  # noqa: ASYNC110  nothing notifies
                    await asyncio.sleep(0.02)
            assert await statuses(one.http, users["mia"], 3) == [200] * 3
            assert await statuses(two.http, users["mia"], 3) == [200, 200, 429]


async def _passes(probe: Callable[[], Awaitable[object]]) -> bool:
    try:
        await probe()
    except errors.Unavailable:
        return False
    return True


async def test_the_service_does_not_start_without_redis(config: RuntimeConfig) -> None:
    with pytest.raises(ConfigError, match="MONEYPRINTER_RUNTIME_REDIS"):
        async with run_service("ratelimit", config, settings=Config()):
            pass


async def test_the_default_figures_are_those_of_the_gateway(platform: Platform) -> None:
    fields = type(platform.gateway()).model_fields
    assert Config().model_dump() == {name: fields[name].default for name in Config.model_fields}
