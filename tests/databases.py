"""Databases: a real PostgreSQL server, and a new database whenever a test asks for one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

from services.embedded import ports, postgres


class Databases:
    """A running server."""

    def __init__(self, server: postgres.Postgres) -> None:
        self.server = server
        self._numbers = count(1)

    @classmethod
    @asynccontextmanager
    async def running(cls, folder: Path) -> AsyncIterator[Databases]:
        """Run a server on `folder` while the context is open."""
        [port] = ports.pick_ports()
        async with postgres.run_server(
            folder / "postgres",
            passwords=folder / "passwords",
            log_file=folder / "postgres.log",
            port=port,
            # These data need not outlive the machine.
            settings={**postgres.SETTINGS, "fsync": "off"},
        ) as server:
            yield cls(server)

    async def fresh(self, service: str) -> str:
        """How libpq connects as `service` to a new, empty database in which it may make its schema."""
        database = f"{service}_{next(self._numbers)}"
        await postgres.create_schemas(self.server, [service], database)
        return self.server.conninfo(service, database)
