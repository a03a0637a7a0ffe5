"""Hostile servers: every fetch from them and every post to them ends, and other users are not affected."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from moneyprinter import errors
from moneyprinter.validation.v1 import validation_service_pb2 as pb
from moneyprinter.validation.v1 import validation_service_pb2_grpc as pb_grpc
from services.config.config import Config as SecretsConfig
from services.runtime import children
from services.storage.config import Config as StorageConfig
from services.validation import exchange
from services.validation.config import Config
from services.validation.web import FetchRules, WebClient, create_tls_context
from tests.mesh import Mesh
from tests.security.hostile_server import PAGES

GOOD_SECONDS = 2.0
LIMITS = children.Limits(memory_bytes=0, open_files=1024, wall_seconds=300)


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[str]:
    """Run a hostile server; yields its address."""
    async with children.start([sys.executable, "-m", "tests.security.hostile_server"], limits=LIMITS) as child:
        async with asyncio.timeout(30):
            port = int(await child.stdout.readline())
        yield f"http://127.0.0.1:{port}"
        child.process.kill()


@pytest.fixture
async def platform(mesh: Mesh, tmp_path: Path) -> Mesh:
    """A validation service that may fetch from the hostile server."""
    (tmp_path / "master-key").write_bytes(bytes(range(32)))
    await mesh.start("config", SecretsConfig(store=tmp_path / "secrets", master_key_file=tmp_path / "master-key"))
    await mesh.start("storage", StorageConfig(root=tmp_path / "objects"))
    await mesh.start(
        "validation",
        Config(
            allow_http=True,
            allowed_networks=(ip_network("127.0.0.0/8"),),
            fetch_seconds=3.0,
            webhook_seconds=1.0,
            max_bytes=1_000_000,
        ),
    )
    return mesh


async def refused(call: Any) -> tuple[str, float]:
    """Make a call that is refused; returns the reason, and the seconds until then."""
    began = time.monotonic()
    with pytest.raises(errors.InvalidArgument) as failure:
        await call
    return failure.value.reason, time.monotonic() - began


async def longest(platform: Mesh, attack: asyncio.Future[Any]) -> float:
    """Return the longest time in seconds that a second user waits for a response during an attack."""
    stub: Any = platform.stub(pb_grpc.ValidationServiceStub)
    found = 0.0
    while not attack.done():
        began = time.monotonic()
        with pytest.raises(errors.InvalidArgument, match="private"):
            await stub.CheckAddress(pb.CheckAddressRequest(url="https://10.0.0.1/"))
        found = max(found, time.monotonic() - began)
    return found


@pytest.mark.parametrize("page", PAGES)
async def test_a_fetch_ends_and_affects_no_other_user(
    platform: Mesh, server: str, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "GRACE_SECONDS", 0.5)
    monkeypatch.setattr(exchange, "MAX_PAUSE_SECONDS", 1.0)
    stub: Any = platform.stub(pb_grpc.ValidationServiceStub)
    probes = [refused(stub.ProbeClip(pb.ProbeClipRequest(url=server + page))) for _ in range(8)]
    attack = asyncio.gather(*probes)
    assert await longest(platform, attack) < GOOD_SECONDS
    for reason, seconds in await attack:
        assert reason == "CLIP_UNREACHABLE"
        assert seconds < 20.0


@pytest.mark.parametrize("page", PAGES)
async def test_a_post_ends_and_affects_no_other_user(platform: Mesh, server: str, page: str) -> None:
    """The service reads only the status of a response to a post."""
    stub: Any = platform.stub(pb_grpc.ValidationServiceStub)

    async def post() -> str:
        try:
            return str((await stub.PostWebhook(pb.PostWebhookRequest(url=server + page, body=b"{}"))).http_status)
        except errors.InvalidArgument as failure:
            return failure.reason

    attack = asyncio.gather(*(post() for _ in range(16)))
    assert await longest(platform, attack) < GOOD_SECONDS
    assert set(await attack) <= {"200", "302", "WEBHOOK_UNREACHABLE"}


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("/interim", "more than 8 interim responses"),
        ("/slow_interim", "more than 8 interim responses"),
        ("/endless_header", "a head of more than 16384 bytes"),
        ("/many_headers", "more than 100 headers"),
        ("/endless_trailers", "a head of more than 16384 bytes"),
        ("/extensions", "far more than the file itself"),
        ("/tiny_chunks", "far more than the file itself"),
        ("/compressed", "compressed form"),
        ("/trickle", "fewer than 4096 bytes a second"),
        ("/pause", "sent nothing for 1 s"),
        ("/trickled_head", "within 3 s"),
    ],
)
async def test_the_error_message_names_what_the_server_did(
    server: str, page: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "GRACE_SECONDS", 0.5)
    monkeypatch.setattr(exchange, "MAX_PAUSE_SECONDS", 1.0)
    network = ip_network("127.0.0.0/8")
    rules = FetchRules(
        connect_seconds=5.0, total_seconds=3.0, max_redirects=3, allow_http=True, allowed_networks=(network,)
    )
    with pytest.raises(errors.InvalidArgument, match=words):
        async with WebClient(rules, create_tls_context(None)).open(server + page) as download:
            async for _ in download.chunks:
                pass


async def test_a_host_with_very_many_addresses_is_refused() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return [f"8.{number // 256}.{number % 256}.8" for number in range(5000)]

    rules = FetchRules(connect_seconds=5.0, total_seconds=3.0, max_redirects=3)
    reason, seconds = await refused(WebClient(rules, create_tls_context(None), resolve).check("https://many.example/"))
    assert reason == "CLIP_ADDRESS_REFUSED"
    assert seconds < 1.0


async def test_an_endless_handshake_is_aborted() -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The header of a record of 16 KB, then its content byte by byte.
        writer.write(b"\x16\x03\x03\x40\x00")
        while not writer.transport.is_closing():
            writer.write(b"\x02")
            await asyncio.sleep(0.02)

    hostile = await asyncio.start_server(trickle, "127.0.0.1", 0)
    async with hostile:
        port = hostile.sockets[0].getsockname()[1]
        network = ip_network("127.0.0.0/8")
        rules = FetchRules(connect_seconds=0.5, total_seconds=3.0, max_redirects=3, allowed_networks=(network,))
        web = WebClient(rules, create_tls_context(None))
        with pytest.raises(errors.InvalidArgument, match=r"did not answer within 0\.5 s"):
            async with web.open(f"https://127.0.0.1:{port}/"):
                pass
