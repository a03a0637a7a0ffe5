"""Access: internal methods cannot be reached, and methods with a role need a token."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import grpc
import pytest

from gateway.contracts import Method, load_methods
from moneyprinter.access.v1 import access_pb2
from moneyprinter.contract import rule
from tests.api import calls
from tests.gateway.platform import Platform
from tests.gateway.proxy import Proxy

PUBLIC = [method for method in load_methods() if method.public]
INTERNAL = [method for method in load_methods() if not method.public]
WITH_TOKEN = [method for method in PUBLIC if method.needs_token]
WITHOUT_TOKEN = [method for method in PUBLIC if not method.needs_token]


def addresses(method: Method) -> list[tuple[str, str]]:
    """Return the verbs and paths of a method over REST."""
    return [(binding.verb, re.sub(r"{\w+}", "x", binding.path)) for binding in method.rest]


async def call(gateway: Proxy, path: str, metadata: Any = (), *, lasts: bool = False) -> grpc.StatusCode:
    """The status that a native call with one empty message ends with. With `lasts`, its first answer counts as OK.

    On the wire every kind of method can be called so. grpc.aio's own way with streams of requests now and
    then answers INTERNAL in place of the status when the server ends the call first.
    """
    async with gateway.channel() as channel:
        start: Any = channel.unary_stream(path)
        answers = start(b"", metadata=metadata, timeout=10)
        with suppress(grpc.aio.AioRpcError):
            async for _ in answers:
                if lasts:
                    return grpc.StatusCode.OK
        code: grpc.StatusCode = await answers.code()
        return code


@pytest.mark.parametrize("method", INTERNAL, ids=lambda method: method.path)
async def test_an_internal_method_cannot_be_reached(
    platform: Platform, gateway: Proxy, bearer: dict[str, str], method: Method
) -> None:
    for metadata in (platform.mesh.bearer(), ()):
        assert await call(gateway, method.path, metadata) is grpc.StatusCode.UNIMPLEMENTED
    for verb, path in (*addresses(method), ("POST", method.path)):
        answer = await gateway.http.request(verb, path, json={}, headers=bearer)
        assert answer.status_code == 404
    web = {**bearer, "content-type": "application/grpc-web+proto"}
    answer = await gateway.http.post(method.path, content=bytes(5), headers=web)
    assert (answer.status_code, answer.headers["grpc-status"]) == (200, "12")


async def test_an_open_stream_to_an_internal_method_is_refused_at_once(platform: Platform, gateway: Proxy) -> None:
    """The refusal comes before any message, while the client may still send."""

    async def nothing() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    for path in ("/moneyprinter.storage.v1.StorageService/PutObject", "/a.b.C/D", "/grpc.reflection.v1.Server/X"):
        async with gateway.channel() as channel, asyncio.timeout(20):
            start: Any = channel.stream_stream(path)
            assert await start(nothing(), metadata=platform.mesh.bearer()).code() is grpc.StatusCode.UNIMPLEMENTED


def test_the_table_covers_every_service_but_the_public_ones() -> None:
    assert {method.service for method in INTERNAL} >= {
        *("audio", "concatenation", "config", "content", "encoder", "orchestrator"),
        *("processing", "rendering", "storage", "validation"),
    }


@pytest.mark.parametrize("path", ["/grpc.health.v1.Health/List", "/grpc.reflection.v1alpha.ServerReflection/X", "/a/b"])
async def test_services_without_a_contract_cannot_be_reached(platform: Platform, gateway: Proxy, path: str) -> None:
    assert await call(gateway, path, platform.mesh.bearer()) is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("method", WITH_TOKEN, ids=lambda method: method.path)
async def test_a_method_with_a_role_needs_a_token(gateway: Proxy, method: Method) -> None:
    assert await call(gateway, method.path) is grpc.StatusCode.UNAUTHENTICATED
    for verb, path in addresses(method):
        for base in ("", "/api"):
            answer = await gateway.http.request(verb, base + path)
            assert (answer.status_code, answer.json()["details"][0]["reason"]) == (401, "TOKEN_INVALID")
            assert "authorization: Bearer" in answer.json()["message"]


@pytest.mark.parametrize("method", WITHOUT_TOKEN, ids=lambda method: method.path)
async def test_a_method_without_a_role_needs_no_token(gateway: Proxy, method: Method) -> None:
    lets_in = (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT)
    # A watch lasts until its client disconnects.
    assert await call(gateway, method.path, lasts=method.server_streaming) in lets_in
    for verb, path in addresses(method):
        answer = await gateway.http.request(verb, path, content=b"{}" if verb == "POST" else b"")
        assert answer.status_code not in (401, 403, 404)


def test_the_gateway_and_the_servers_read_the_same_rules() -> None:
    assert calls, "it imports the contracts, with their rules"
    for method in PUBLIC:
        found = rule(method.path) or access_pb2.Rule()
        assert (found.role, "gateway" in found.callers) == (method.role, True)


async def test_the_service_refuses_a_user_without_the_role(platform: Platform, gateway: Proxy) -> None:
    headers = dict(platform.mesh.bearer(roles=["content.manage"]))
    answer = await gateway.http.get("/v1/videos", headers=headers)
    assert answer.status_code == 403
    assert answer.json()["details"][0]["reason"] == "ROLE_MISSING"
    watch = next(method for method in PUBLIC if method.path.endswith("/WatchVideo"))
    assert await call(gateway, watch.path, tuple(headers.items())) is grpc.StatusCode.PERMISSION_DENIED
