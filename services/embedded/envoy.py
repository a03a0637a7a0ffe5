"""Envoy: the gateway of the laptop platform."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.config import Gateway
from gateway.render import write
from services.embedded import servers, wheels
from services.embedded.ports import BIND

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


async def answer(gateway: Gateway) -> None:
    """Return when the gateway answers. Raises OSError or http.client.HTTPException when it does not."""
    await asyncio.to_thread(_ask, gateway.admin_port, "/ready")


async def all_in_use(gateway: Gateway, services: Collection[str]) -> None:
    """Wait until the gateway has found every instance of some services healthy: until then it sends one nothing, should
    others die."""
    while await asyncio.to_thread(_leaves_out, gateway.admin_port, services):  # noqa: ASYNC110  nothing tells us when
        await asyncio.sleep(LOOK_SECONDS)


def _leaves_out(admin_port: int, services: Collection[str]) -> bool:
    """Whether the gateway leaves out an instance; so it does when it does not say."""
    try:
        clusters = json.loads(_ask(admin_port, "/clusters?format=json"))["cluster_statuses"]
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


def _ask(admin_port: int, path: str) -> bytes:
    """What the gateway's own interface says."""
    connection = http.client.HTTPConnection(BIND, admin_port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()
