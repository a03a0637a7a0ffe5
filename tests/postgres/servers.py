"""Servers: a PgBouncer in front of the tests' PostgreSQL, and a primary with a synchronous standby."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from psycopg import AsyncConnection, OperationalError, conninfo

from services.embedded import binaries, ports, postgres, supervisor
from services.embedded.postgres import NOBODY, SUPERUSER, Postgres
from services.runtime import children
from tests.databases import Databases

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")


@asynccontextmanager
async def run_pgbouncer(databases: Databases, roles: tuple[str, ...], folder: Path) -> AsyncIterator[int]:
    """Run a PgBouncer in transaction mode, with two server connections for each role, while the context is open.

    Yields its port.
    """
    [port] = ports.pick_ports()
    passwords = {role: (databases.server.passwords / role).read_text().strip().rpartition(":")[2] for role in roles}
    (folder / "users.txt").write_text("".join(f'"{role}" "{word}"\n' for role, word in passwords.items()))
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={databases.server.port}\n[pgbouncer]\nlisten_addr=127.0.0.1\n"
        f"listen_port={port}\nunix_socket_dir=\nauth_type=scram-sha-256\nauth_file={folder / 'users.txt'}\n"
        "pool_mode=transaction\ndefault_pool_size=2\nserver_round_robin=1\n"
    )
    user_id = NOBODY if os.geteuid() == 0 else None
    if user_id is not None:
        for path in (folder, folder / "users.txt", folder / "pgbouncer.ini"):
            os.chown(path, user_id, user_id)
    server = supervisor.Server(
        "PgBouncer",
        (PGBOUNCER or "pgbouncer", folder / "pgbouncer.ini"),
        folder.parent / "pgbouncer.log",
        user_id=user_id,
    )
    async with supervisor.run_server(server, lambda: supervisor.wait_until_open(port)):
        yield port


def through(pooler: int, direct: str) -> str:
    """Return a connection string with the port of a pooler."""
    return conninfo.make_conninfo(direct, port=pooler)


@dataclass
class Pair:
    """A primary and its standby."""

    primary: Postgres
    standby: Postgres
    folder: Path

    def conninfo(self, role: str, database: str) -> str:
        """Return the connection string with both hosts, which finds the one that accepts writes."""
        both = f"{self.primary.port},{self.standby.port}"
        return conninfo.make_conninfo(
            self.primary.conninfo(role, database),
            host="127.0.0.1,127.0.0.1",
            port=both,
            target_session_attrs="read-write",
        )

    def kill_primary(self) -> None:
        """Kill the primary and its processes, as a loss of its machine does."""
        pid = int((self.folder / "primary" / "postmaster.pid").read_text().split()[0])
        supervisor.kill_all(pid)

    async def promote(self) -> None:
        """Promote the standby."""
        async with await _connect(self.standby) as connection:
            await connection.execute("SELECT pg_promote()")


async def _connect(server: Postgres) -> AsyncConnection:
    return await AsyncConnection.connect(server.conninfo(SUPERUSER, SUPERUSER), autocommit=True)


@asynccontextmanager
async def run_pair(folder: Path) -> AsyncIterator[Pair]:
    """Run a primary, whose commits wait for its standby, and that standby, while the context is open."""
    first, second = ports.pick_ports(2)
    settings = {**postgres.SETTINGS, "wal_level": "replica", "max_wal_senders": "4", "fsync": "off"}
    settings["max_replication_slots"] = "4"
    passwords = folder / "passwords"
    user_id = NOBODY if os.geteuid() == 0 else None
    async with AsyncExitStack() as stack:
        # The primary is not restarted: its supervisor would bring it back beside the promoted standby.
        primary = await stack.enter_async_context(
            _run_once(folder / "primary", passwords, folder / "primary.log", first, settings)
        )
        copy = (
            *(binaries.postgres_program("pg_basebackup"), "-d", primary.conninfo(SUPERUSER, SUPERUSER)),
            *("-D", folder / "standby", "-R", "-C", "-S", "standby", "-X", "stream", "-c", "fast"),
        )
        (folder / "standby").mkdir(mode=0o700)
        if user_id is not None:
            os.chown(folder / "standby", user_id, user_id)
            # `-R` records the password file, which the server itself reads.
            os.chown(passwords / SUPERUSER, user_id, user_id)
            passwords.chmod(0o711)
        await children.run(copy, limits=supervisor.UNLIMITED, user_id=user_id)
        standby = await stack.enter_async_context(
            _run_once(folder / "standby", passwords, folder / "standby.log", second, settings)
        )
        async with await _connect(primary) as connection:
            await connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            await connection.execute("SELECT pg_reload_conf()")
            async with asyncio.timeout(30):
                while not await _is_synchronous(connection):  # noqa: ASYNC110  nothing notifies
                    await asyncio.sleep(0.02)
        yield Pair(primary, standby, folder)


async def _is_synchronous(connection: AsyncConnection) -> bool:
    found = await (await connection.execute("SELECT sync_state FROM pg_stat_replication")).fetchall()
    return found == [("sync",)]


@asynccontextmanager
async def _run_once(
    folder: Path, passwords: Path, log_file: Path, port: int, settings: dict[str, str]
) -> AsyncIterator[Postgres]:
    """Run a server that is not started again when it dies."""
    async with AsyncExitStack() as stack:
        if not folder.exists():
            # Creates the folder, and stops.
            async with postgres.run_server(
                folder, passwords=passwords, log_file=log_file, port=port, settings=settings
            ):
                pass
        words = (f"--{name}={value}" for name, value in {**settings, "listen_addresses": "127.0.0.1"}.items())
        command: list[str | Path] = [binaries.postgres_program("postgres"), "-D", folder, f"--port={port}", *words]
        with log_file.open("ab") as log:
            running = children.start(
                command,
                limits=supervisor.UNLIMITED,
                environment={},
                log=log,
                user_id=NOBODY if os.geteuid() == 0 else None,
            )
            child = await stack.enter_async_context(running)
        server = Postgres(port, passwords)
        async with asyncio.timeout(60):
            while True:
                try:
                    await (await _connect(server)).close()
                    break
                except OperationalError:
                    await asyncio.sleep(0.02)
        try:
            yield server
        finally:
            if child.process.returncode is None:
                child.process.send_signal(signal.SIGQUIT)
                await child.process.wait()
