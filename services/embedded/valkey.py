"""Valkey: runs a server in memory, on a Unix socket that only this user can open.

It holds nothing that PostgreSQL does not, so it writes no files.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from gateway.render import shorten_socket
from services.embedded import binaries, health, supervisor
from services.runtime.config import RuntimeConfig
from services.runtime.redis import open_client

MEMORY = "64mb"


def socket_url(folder: Path) -> str:
    """Return the URL of the server whose folder this is. Raises `ConfigError` when its socket cannot be private."""
    return f"unix://{shorten_socket(folder / 'valkey.sock')}"


@asynccontextmanager
async def run_server(folder: Path, *, log_file: Path) -> AsyncIterator[str]:
    """Run a server while the context is open. Yields its URL. Raises `PlatformError` when it does not start."""
    folder.mkdir(mode=0o700, exist_ok=True)
    url = socket_url(folder)
    options = {
        "port": "0",
        "unixsocket": url.removeprefix("unix://"),
        "unixsocketperm": "700",
        "dir": str(folder),
        "save": "",
        "appendonly": "no",
        "maxmemory": MEMORY,
        # When it is full, writes fail, and what is stored stays.
        "maxmemory-policy": "noeviction",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    command: tuple[str | Path, ...] = (binaries.valkey_program(), *words)
    async with open_client(RuntimeConfig(redis=url)) as client:
        assert client is not None
        server = supervisor.Server(
            "Valkey", command, log_file, wait_until_hung=lambda pid: health.wait_until_hung(pid, client.check)
        )

        async def ready() -> None:
            while True:
                with suppress(OSError):
                    _, writer = await asyncio.open_unix_connection(options["unixsocket"])
                    return writer.close()
                await asyncio.sleep(supervisor.RETRY_SECONDS)

        async with supervisor.run_server(server, ready):
            yield url
