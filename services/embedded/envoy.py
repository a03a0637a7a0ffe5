"""Envoy: the gateway of the laptop platform."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.render import Gateway, render
from services.embedded import servers, wheels
from services.embedded.folder import write_private


@asynccontextmanager
async def running(gateway: Gateway, file: Path, *, log_file: Path) -> AsyncIterator[None]:
    """Run a gateway, whose configuration is written to `file`, while the context is open.

    Raises PlatformError when it does not start.
    """
    write_private(file, render(gateway).encode())
    if gateway.access_log is not None:
        servers.open_log(gateway.access_log).close()
    command = (wheels.envoy(), "-c", file, "--concurrency", "2", "--disable-hot-restart", "--log-level", "warning")
    async with servers.running(servers.Server("Envoy", command, log_file), lambda: servers.until_open(gateway.port)):
        yield
