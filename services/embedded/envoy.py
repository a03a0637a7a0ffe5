"""Envoy: the gateway of the laptop platform."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.config import Gateway
from gateway.render import write
from services.embedded import servers, wheels
from services.embedded.ports import BIND

LOOK_SECONDS = 0.05
ANSWER_SECONDS = 2.0


@asynccontextmanager
async def running(gateway: Gateway, folder: Path, *, log_file: Path) -> AsyncIterator[None]:
    """Run a gateway, whose configuration is written into `folder`, while the context is open.

    Raises PlatformError when it does not start.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    file = write(gateway, folder)
    if gateway.access_log is not None:
        servers.open_log(gateway.access_log).close()
    command = (wheels.envoy(), "-c", file, "--concurrency", "2", "--disable-hot-restart", "--log-level", "warning")
    async with servers.running(servers.Server("Envoy", command, log_file), lambda: servers.until_open(gateway.port)):
        yield


async def all_in_use(gateway: Gateway, services: Collection[str]) -> None:
    """Wait until the gateway has found every instance of some services healthy: until then it sends one nothing, should
    others die."""
    while await asyncio.to_thread(_leaves_out, gateway.admin_port, services):  # noqa: ASYNC110  nothing tells us when
        await asyncio.sleep(LOOK_SECONDS)


def _leaves_out(admin_port: int, services: Collection[str]) -> bool:
    """Whether the gateway leaves out an instance; so it does when it does not say."""
    connection = http.client.HTTPConnection(BIND, admin_port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/clusters?format=json")
        clusters = json.loads(connection.getresponse().read())["cluster_statuses"]
    except (OSError, http.client.HTTPException):
        return True
    finally:
        connection.close()
    states = [
        host["health_status"]
        for cluster in clusters
        # A service has a cluster for its calls, and one for its streams.
        if cluster["name"].removesuffix("-streams") in services
        for host in cluster.get("host_statuses", ())
    ]
    return any(state.get("failed_active_health_check") or state.get("failed_outlier_check") for state in states)
