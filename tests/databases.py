"""Databases: a real PostgreSQL server, and a new database for each test that needs one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from pathlib import Path

from services.embedded import ports, postgres
from services.runtime import db
from services.runtime.config import PREFIX

# On a loaded machine a transaction may take longer than the default limit. Tests of outages keep the default.
TIMEOUT_SECONDS = 10.0
TIMEOUT_VARIABLES = {
    f"{PREFIX}{service}_DATABASE_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS) for service in ("ORCHESTRATOR", "USER")
}


class Databases:
    """A running PostgreSQL server."""

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
            # These data need not survive a crash of the machine.
            settings={**postgres.SETTINGS, "fsync": "off"},
        ) as server:
            yield cls(server)

    async def fresh(self, service: str) -> str:
        """Create an empty database, and return the conninfo with which `service` can create its schema there."""
        database = f"{service}_{next(self._numbers)}"
        await postgres.create_schemas(self.server, [service], database)
        return self.server.conninfo(service, database)


def open_pool(service: str, conninfo: str, *, size: int = 8) -> AbstractAsyncContextManager[db.Pool]:
    """Open a pool as services do, with a time limit for loaded machines."""
    return db.open_pool(service, conninfo, size=size, timeout_seconds=TIMEOUT_SECONDS)
