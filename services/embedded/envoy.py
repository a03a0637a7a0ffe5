"""Envoy: runs the gateway of the laptop platform, and reads its state from its admin interface."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.config import Gateway
from gateway.render import admin_socket, write_config
from services.embedded import binaries, supervisor

POLL_SECONDS = 0.05
RESPONSE_SECONDS = 2.0


@asynccontextmanager
async def run_gateway(
    gateway: Gateway, folder: Path, *, log_file: Path, wait_until_hung: Callable[[int], Awaitable[None]] | None = None
) -> AsyncIterator[None]:
    """Write the gateway's configuration into `folder`, and run the gateway while the context is open.

    `wait_until_hung` receives Envoy's process id and returns when Envoy hangs; the supervisor then restarts it.
    Raises `PlatformError` when Envoy does not start.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    file = write_config(gateway, folder)
    if gateway.access_log is not None:
        supervisor.open_log(gateway.access_log).close()
    command = (
        binaries.envoy_program(),
        "-c",
        file,
        "--concurrency",
        "2",
        "--disable-hot-restart",
        "--log-level",
        "warning",
    )
    server = supervisor.Server("Envoy", command, log_file, wait_until_hung=wait_until_hung)
    async with supervisor.run_server(server, lambda: supervisor.wait_until_open(gateway.port)):
        yield


async def check_ready(gateway: Gateway, folder: Path) -> None:
    """Query the admin interface of the gateway whose configuration is in `folder`.

    Raises `OSError` or `http.client.HTTPException` when Envoy does not answer within `RESPONSE_SECONDS`.
    """
    await asyncio.to_thread(_get, admin_socket(gateway, folder), "/ready")


async def wait_until_all_healthy(gateway: Gateway, folder: Path, services: Collection[str]) -> None:
    """Wait until the gateway whose configuration is in `folder` reports every instance of `services` as healthy.

    Envoy sends no calls to an instance before, not even when the others die.
    """
    path = admin_socket(gateway, folder)
    while await asyncio.to_thread(_has_unhealthy_instance, path, services):  # noqa: ASYNC110  Envoy sends no notification
        await asyncio.sleep(POLL_SECONDS)


class _AdminConnection(http.client.HTTPConnection):
    """A connection to Envoy's admin interface, over its Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("admin", timeout=RESPONSE_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _has_unhealthy_instance(path: Path, services: Collection[str]) -> bool:
    """Report whether Envoy excludes an instance from load balancing; True also when Envoy does not answer."""
    try:
        clusters = json.loads(_get(path, "/clusters?format=json"))["cluster_statuses"]
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


def _get(socket_path: Path, path: str) -> bytes:
    """Return the body of a GET on the admin interface."""
    connection = _AdminConnection(socket_path)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()
