"""Ports are checked before anything starts."""

from __future__ import annotations

import json
import socket
import sys
from contextlib import AsyncExitStack

import pytest

from services.embedded import ports
from services.embedded.errors import PlatformError
from services.runtime import children
from services.runtime.config import PORTS


def test_the_services_follow_the_gateway() -> None:
    assert ports.platform_ports(8080) == PORTS
    shifted = ports.platform_ports(9000)
    assert shifted["gateway"] == 9000
    assert [shifted[name] - 9000 for name in PORTS] == list(range(len(PORTS)))


def test_free_ports_are_picked() -> None:
    picked = ports.platform_ports(0)
    assert list(picked) == list(PORTS)
    assert len(set(picked.values())) == len(PORTS)
    ports.check_free(picked)


async def test_two_platforms_never_pick_the_same_port() -> None:
    """The claim holds although no server listens on the port yet."""
    pick = "json.dumps(ports.pick_ports(1500))"
    code = f"import json; from services.embedded import ports; print({pick}, flush=True); input()"
    found = [ports.pick_ports(100), ports.pick_ports(100)]
    async with AsyncExitStack() as stack:
        for _ in range(4):
            child = await stack.enter_async_context(children.start((sys.executable, "-P", "-c", code), stdin=True))
            stack.callback(child.process.kill)
            found.append(json.loads(await child.stdout.readline()))
    assert [len(each) for each in found] == [100, 100, *[1500] * 4]
    assert len({port for each in found for port in each}) == 6200


@pytest.mark.parametrize("gateway", [65_524, 70_000, -1])
def test_a_gateway_port_without_room_for_the_services_is_refused(gateway: int) -> None:
    with pytest.raises(PlatformError, match="--port"):
        ports.platform_ports(gateway)


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PlatformError, match=rf"port {port} \(of audio\) is in use; .*--port"):
            ports.check_free({"audio": port})
