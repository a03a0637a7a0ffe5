"""Pools of providers: what other credentials change, when connections close, and what health and metrics show."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import REGISTRY

from moneyprinter.content.v1 import footage_search_service_pb2, footage_search_service_pb2_grpc
from moneyprinter.errors import Unavailable
from services.config.config import Config as SecretsConfig
from services.content.config import Config
from services.providers.client import ProviderClient
from services.providers.credentials import Credentials, Use
from services.providers.failures import ProviderFailure
from services.providers.keys import KeyRing
from services.providers.pool import ProviderPool
from services.runtime.config import ConfigError
from tests.mesh import Mesh
from tests.providers.provider_server import Answer, ProviderServer, Request, json_answer


class GatedServer(ProviderServer):
    """A provider with the key `good`, which answers calls to `/slow` when the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.arrival, self.gate = asyncio.Event(), asyncio.Event()

    def handle(self, request: Request) -> Answer:
        return json_answer({}, 200 if request.headers.get("authorization") == "Bearer good" else 401)

    async def _send(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        if self.requests[-1].path == "/slow":
            self.arrival.set()
            await self.gate.wait()
        await super()._send(writer, answer)


@dataclass(frozen=True)
class Provider:
    client: ProviderClient

    async def call(self, path: str = "/") -> Any:
        return await self.client.request_json("GET", path)


def open_provider(name: str, credentials: Credentials) -> Provider | None:
    if "wrong" in credentials.options:
        raise ConfigError("an option is wrong")
    keys = KeyRing(name, credentials.keys)
    return Provider(ProviderClient(name, credentials.base_url, keys)) if credentials.keys else None


@pytest.fixture
async def server() -> AsyncIterator[GatedServer]:
    async with GatedServer() as server:
        yield server
        server.gate.set()


@pytest.fixture
async def pool() -> AsyncIterator[ProviderPool[Provider]]:
    pool = ProviderPool(Use.SPEECH, open_provider, ("second", "first"), Provider.call)
    async with aclosing(pool):
        yield pool


async def open_pool(pool: ProviderPool[Provider], **credentials: Credentials) -> ProviderPool[Provider]:
    await pool.replace(credentials)
    await pool.wait_checked()
    return pool


@pytest.mark.parametrize("change", ["address", "options", "uses", "removal"])
async def test_a_call_in_progress_ends_before_its_connections_close(
    pool: ProviderPool[Provider], server: GatedServer, change: str
) -> None:
    given = Credentials(("good",), server.url)
    former = (await open_pool(pool, first=given)).adapters["first"]
    call = asyncio.create_task(former.call("/slow"))
    await server.arrival.wait()
    changed = {
        "address": replace(given, base_url=f"{server.url}/v2"),
        "options": replace(given, options={"model": "other"}),
        "uses": replace(given, options={"uses": ["writing"]}),
    }
    await pool.replace({"first": changed[change]} if change in changed else {})
    assert pool.adapters.get("first") is not former
    assert former.client.is_open
    server.gate.set()
    assert await call == {}
    assert not former.client.is_open


async def test_a_narration_in_progress_may_call_a_provider_that_was_replaced(
    pool: ProviderPool[Provider], server: GatedServer
) -> None:
    former = (await open_pool(pool, first=Credentials(("good",), server.url))).adapters["first"]
    await pool.replace({})
    assert not former.client.is_open
    assert await former.call() == {}
    assert not former.client.is_open


async def test_the_end_of_a_pool_closes_the_connections_of_calls_in_progress(server: GatedServer) -> None:
    pool = await open_pool(ProviderPool(Use.SPEECH, open_provider), first=Credentials(("good",), server.url))
    former = pool.adapters["first"]
    call = asyncio.create_task(former.call("/slow"))
    await server.arrival.wait()
    await pool.replace({})
    await pool.aclose()
    assert not former.client.is_open
    with pytest.raises(ProviderFailure):
        await call


async def test_new_keys_keep_the_provider_and_close_its_breaker(
    pool: ProviderPool[Provider], server: GatedServer
) -> None:
    await open_pool(pool, first=Credentials(("bad",), server.url))
    former = pool.adapters["first"]
    assert "refuses the key" in pool.open_breakers()["first"]
    with pytest.raises(ProviderFailure, match="refuses the key"):
        pool.check_breakers()
    checks = len(server.requests)
    await open_pool(pool, first=Credentials(("bad",), server.url))
    assert len(server.requests) == checks, "unchanged keys are not checked again"
    await open_pool(pool, first=Credentials(("good",), server.url))
    assert pool.adapters == {"first": former}
    assert not pool.open_breakers()
    pool.check_breakers()
    assert await former.call() == {}


async def test_providers_are_in_order_and_those_with_wrong_options_are_left_out(pool: ProviderPool[Provider]) -> None:
    given = Credentials(("good",), "http://127.0.0.1:1")
    await pool.replace(
        {
            "third": given,
            "first": given,
            "second": replace(given, options={"uses": ["speech", "writing"]}),
            "fourth": replace(given, options={"wrong": 1}),
            "fifth": replace(given, options={"uses": ["footage"]}),
            "sixth": replace(given, options={"uses": []}),
            "seventh": Credentials(()),
        }
    )
    assert list(pool.adapters) == ["second", "first", "third"]


async def test_metrics_show_the_breaker_of_each_use(server: GatedServer) -> None:
    def measure(use: str) -> float | None:
        labels = {"provider": "acme", "use": use}
        return REGISTRY.get_sample_value("moneyprinter_provider_breaker_open", labels)

    speech, writing = (ProviderPool(use, open_provider) for use in (Use.SPEECH, Use.WRITING))
    async with aclosing(speech), aclosing(writing):
        await speech.replace({"acme": Credentials(("bad",), server.url)})
        await writing.replace({"acme": Credentials(("good",), server.url)})
        for pool in (speech, writing):
            await asyncio.gather(pool.adapters["acme"].call(), return_exceptions=True)
        assert (measure("speech"), measure("writing")) == (1, 0)
        await speech.replace({})
        assert (measure("speech"), measure("writing")) == (None, 0)


async def test_a_provider_of_footage_that_does_not_work_fails_the_check_of_its_service(
    mesh: Mesh, server: GatedServer, tmp_path: Path
) -> None:
    async def is_healthy() -> bool:
        channel = mesh.channel("content", "moneyprinter.content.v1.ContentService", "monitoring")
        health: Any = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(service="providers"))
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    (tmp_path / "master-key").write_bytes(bytes(range(32)))
    await mesh.start("config", SecretsConfig(store=tmp_path / "secrets", master_key_file=tmp_path / "master-key"))
    file = tmp_path / "providers.json"
    file.write_text(json.dumps({"coverr": {"keys": ["bad"], "base_url": server.url}}))
    await mesh.start("content", Config(providers_file=file))
    assert await is_healthy()
    search = mesh.stub(footage_search_service_pb2_grpc.FootageSearchServiceStub, caller="gateway")
    request = footage_search_service_pb2.SearchFootageRequest(terms="sea")
    with pytest.raises(Unavailable, match="refuses the key"):
        await search.SearchFootage(request, metadata=mesh.bearer(roles=("content.manage",)))
    assert not await is_healthy()
