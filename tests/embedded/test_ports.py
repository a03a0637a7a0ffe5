"""Ports are checked before anything starts."""

from __future__ import annotations

import socket

import pytest

from services.embedded import ports
from services.embedded.errors import PlatformError
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


@pytest.mark.parametrize("gateway", [65_524, 70_000, -1])
def test_a_port_that_leaves_no_room_is_refused(gateway: int) -> None:
    with pytest.raises(PlatformError, match="--port"):
        ports.of_platform(gateway)


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PlatformError, match=rf"port {port} \(of audio\) is in use; .*--port"):
            ports.check({"audio": port})
