"""Envoy: the gateway of the laptop platform."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.config import Gateway
from gateway.render import admin_socket, write
from services.embedded import servers, wheels

LOOK_SECONDS = 0.05
ANSWER_SECONDS = 2.0


@asynccontextmanager
async def running(
    gateway: Gateway, folder: Path, *, log_file: Path, until_hung: Callable[[int], Awaitable[None]] | None = None
) -> AsyncIterator[None]:
    """Run a gateway, whose configuration is written into `folder`, while the context is open.

    Raises PlatformError when it does not start.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    file = write(gateway, folder)
    if gateway.access_log is not None:
        servers.open_log(gateway.access_log).close()
    command = (wheels.envoy(), "-c", file, "--concurrency", "2", "--disable-hot-restart", "--log-level", "warning")
    server = servers.Server("Envoy", command, log_file, until_hung=until_hung)
    async with servers.running(server, lambda: servers.until_open(gateway.port)):
        yield


async def answer(gateway: Gateway, folder: Path) -> None:
    """Return when the gateway, whose configuration is in `folder`, answers. Raises OSError or
    http.client.HTTPException when it does not."""
    await asyncio.to_thread(_ask, admin_socket(gateway, folder), "/ready")


async def all_in_use(gateway: Gateway, folder: Path, services: Collection[str]) -> None:
    """Wait until the gateway, whose configuration is in `folder`, has found every instance of some services healthy:
    until then it sends one nothing, should others die."""
    path = admin_socket(gateway, folder)
    while await asyncio.to_thread(_leaves_out, path, services):  # noqa: ASYNC110  nothing tells us when
        await asyncio.sleep(LOOK_SECONDS)


class _Administration(http.client.HTTPConnection):
    """A connection to Envoy's administration, over its Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("admin", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _leaves_out(path: Path, services: Collection[str]) -> bool:
    """Whether the gateway leaves out an instance; so it does when it does not say."""
    try:
        clusters = json.loads(_ask(path, "/clusters?format=json"))["cluster_statuses"]
    except (OSError, http.client.HTTPException):
        return True
    states = [
        host["health_status"]
        for cluster in clusters
        # A service has a cluster for its calls, and one for its streams.
        if cluster["name"].removesuffix("-streams") in services
        for host in cluster.get("host_statuses", ())
    ]
    return any(state.get("failed_active_health_check") or state.get("failed_outlier_check") for state in states)


def _ask(administration: Path, path: str) -> bytes:
    """What the gateway's own interface says."""
    connection = _Administration(administration)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()
