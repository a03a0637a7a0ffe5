"""The platform listens on loopback only, and without a certificate only the gateway answers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.up import Up, up

REQUEST = b"GET /%s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
# What monitoring, metrics and control interfaces answer.
PATHS = (b"", b"metrics", b"varz", b"connz", b"jsz", b"healthz", b"stats", b"debug/pprof/")


def listening_ports(running: Up) -> dict[int, tuple[str, str]]:
    """Return the address and the program of every port that a platform listens on."""
    found = {}
    for process in [psutil.Process(running.process.pid), *running.children()]:
        with suppress(psutil.NoSuchProcess):
            for connection in process.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    found[connection.laddr.port] = connection.laddr.ip, process.name()
    return found


async def send_request(port: int, path: bytes) -> bytes:
    """Return the response of a port to a request without a key or certificate."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(REQUEST % path)
        async with asyncio.timeout(15):
            return await reader.read(1000)
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize("processes", [False, True], ids=["one process", "processes"])
async def test_only_the_gateway_answers(tmp_path: Path, processes: bool) -> None:
    async with up(tmp_path, *(["--processes"] if processes else [])) as running:
        found = listening_ports(running)
        assert len(found) >= 15
        assert {address.removeprefix("::ffff:") for address, _ in found.values()} == {"127.0.0.1"}
        # Envoy has tests of its own.
        others = [port for port, (_, program) in found.items() if program != "envoy"]
        for port in others:
            for response in await asyncio.gather(*(send_request(port, path) for path in PATHS)):
                assert not response.startswith(b"HTTP/"), (found[port], response)
        assert await running.stop() == 0
