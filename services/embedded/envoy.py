"""Envoy: the gateway of the laptop platform."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.config import Gateway
from gateway.render import write
from services.embedded import servers, wheels


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
