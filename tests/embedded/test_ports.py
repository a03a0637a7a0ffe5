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
    assert ports.of_platform(8080) == PORTS
    shifted = ports.of_platform(9000)
    assert shifted["gateway"] == 9000
    assert [shifted[name] - 9000 for name in PORTS] == list(range(len(PORTS)))


def test_free_ports_are_picked() -> None:
    picked = ports.of_platform(0)
    assert list(picked) == list(PORTS)
    assert len(set(picked.values())) == len(PORTS)
    ports.check(picked)


async def test_a_port_is_found_by_one_platform_only() -> None:
    """However long it takes until somebody listens there."""
    code = "import json; from services.embedded import ports; print(json.dumps(ports.pick(1500)), flush=True); input()"
    found = [ports.pick(100), ports.pick(100)]
    async with AsyncExitStack() as stack:
        for _ in range(4):
            child = await stack.enter_async_context(children.start((sys.executable, "-P", "-c", code), stdin=True))
            stack.callback(child.process.kill)
            found.append(json.loads(await child.stdout.readline()))
    assert [len(each) for each in found] == [100, 100, *[1500] * 4]
    assert len({port for each in found for port in each}) == 6200


@pytest.mark.parametrize("gateway", [65_524, 70_000, -1])
def test_a_port_that_leaves_no_room_is_refused(gateway: int) -> None:
    with pytest.raises(PlatformError, match="--port"):
        ports.of_platform(gateway)


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PlatformError, match=rf"port {port} \(of audio\) is in use; .*--port"):
            ports.check({"audio": port})
