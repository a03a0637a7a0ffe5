"""The standard health service of gRPC, for clients and load balancers, without a token."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.contracts import HEALTH, load_methods
from services.monitoring.public_health import PUBLIC
from tests.gateway.platform import Platform
from tests.gateway.proxy import Proxy

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
VIDEOS = "moneyprinter.video.v1.VideoService"


def test_every_public_service_can_be_checked() -> None:
    assert {
        method.contract: method.service for method in load_methods() if method.public and method.contract != HEALTH
    } == (dict(PUBLIC))


async def status(gateway: Proxy, service: str) -> Any:
    async with gateway.channel() as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        return (await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)).status


async def test_a_check_reports_the_platform_and_each_service(platform: Platform, gateway: Proxy) -> None:
    for service in ("", *PUBLIC):
        assert await status(gateway, service) == SERVING
    platform.monitoring.status, platform.monitoring.down = "unhealthy", {"orchestrator"}
    try:
        assert await status(gateway, "") == NOT_SERVING
        assert await status(gateway, VIDEOS) == NOT_SERVING
        assert await status(gateway, "moneyprinter.user.v1.UserService") == SERVING
    finally:
        platform.monitoring.status, platform.monitoring.down = "healthy", set()


@pytest.mark.parametrize("service", ["nonsense", "moneyprinter.storage.v1.StorageService", "x" * 200])
async def test_an_unknown_or_internal_service_is_not_found(gateway: Proxy, service: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await status(gateway, service)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_watcher_receives_every_change(platform: Platform, gateway: Proxy) -> None:
    async with gateway.channel() as channel, asyncio.timeout(20):
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watching = stub.Watch(health_pb2.HealthCheckRequest(service=VIDEOS))
        assert (await watching.read()).status == SERVING
        platform.monitoring.down = {"orchestrator"}
        try:
            assert (await watching.read()).status == NOT_SERVING
        finally:
            platform.monitoring.down = set()
        assert (await watching.read()).status == SERVING
        watching.cancel()
        unknown = stub.Watch(health_pb2.HealthCheckRequest(service="nonsense"))
        assert (await unknown.read()).status == SERVICE_UNKNOWN
        unknown.cancel()


async def test_a_client_with_health_checks_becomes_ready(platform: Platform, gateway: Proxy) -> None:
    """The client's own health check: gRPC sends no call to a server that does not report SERVING."""
    config = {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": VIDEOS}}
    options = [("grpc.service_config", json.dumps(config))]
    async with grpc.aio.insecure_channel(gateway.address, options=options) as channel, asyncio.timeout(20):
        await channel.channel_ready()
