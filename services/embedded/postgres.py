"""Postgres: a PostgreSQL server in one folder, with a role and a password for each service that has a schema.

It listens on 127.0.0.1 only, and every role signs in with a password (SCRAM) that is kept in a file of
libpq's format, `<passwords>/<role>`, readable by its owner only. PostgreSQL refuses to run as root: root
runs it as nobody, who owns its folder and may pass through the folders above it.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import structlog
from psycopg import AsyncConnection, OperationalError, sql
from psycopg.conninfo import make_conninfo

from services.embedded import servers, wheels
from services.embedded.errors import PlatformError
from services.embedded.ports import BIND
from services.runtime import children

log = structlog.get_logger()

MAJOR_VERSION = "18"
SUPERUSER = "postgres"
DATABASE = "moneyprinter"
ROLES = ("orchestrator", "user")
NOBODY = 65534
FORMER_STOP_SECONDS = 10.0
STATUS_SECONDS = 0.5

_ROOT = (
    "PostgreSQL does not run as root, and this root may not become another user; start it as a user that is not root"
)

SETTINGS = {
    "unix_socket_directories": "",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "io_method": "sync",
    "jit": "off",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] %u@%d ",
}


@dataclass(frozen=True)
class Postgres:
    """A running server."""

    port: int
    passwords: Path
    """The folder with the password file of each role."""

    def conninfo(self, role: str, database: str = DATABASE) -> str:
        """How libpq connects as a role."""
        return make_conninfo(
            host=BIND,
            port=self.port,
            dbname=database,
            user=role,
            passfile=str(self.passwords / role),
            sslmode="disable",
            gssencmode="disable",
        )


@asynccontextmanager
async def running(
    folder: Path,
    *,
    passwords: Path,
    log_file: Path,
    port: int,
    settings: Mapping[str, str] = SETTINGS,
    until_hung: Callable[[Postgres, int], Awaitable[None]] | None = None,
) -> AsyncIterator[Postgres]:
    """Run a server on the data in `folder`, which is made when there is none, while the context is open.

    Raises PlatformError when the folder holds something else, or the server does not start.
    """
    user_id = NOBODY if os.geteuid() == 0 else None
    passwords.mkdir(mode=0o700, exist_ok=True)
    if folder.exists():
        _check(folder)
        if not (passwords / SUPERUSER).exists():
            raise PlatformError(f"{passwords / SUPERUSER} is gone, and nobody gets into {folder} without; put it back")
        await _end_former(folder)
    else:
        await _create(folder, _password(passwords / SUPERUSER), user_id)
    settings = {**settings, "listen_addresses": BIND, "port": str(port)}

    async def until_hung_or_stopping(pid: int) -> None:
        hastening = asyncio.create_task(_hasten_shutdown(folder, pid))
        try:
            if until_hung is None:
                await asyncio.get_running_loop().create_future()
            else:
                await until_hung(Postgres(port, passwords), pid)
        finally:
            hastening.cancel()

    server = servers.Server(
        "PostgreSQL",
        (wheels.postgres("postgres"), "-D", folder, *(f"--{name}={value}" for name, value in settings.items())),
        log_file,
        user_id=user_id,
        # Fast shutdown: sessions end, data is written, the next start has nothing to recover.
        stop_signal=signal.SIGINT,
        stop_seconds=10.0,
        death_signal=signal.SIGINT,
        until_hung=until_hung_or_stopping,
    )

    async def ready() -> None:
        await servers.until_open(port)
        # It listens before it has recovered, and says here when it has.
        while _status(folder) != "ready":  # noqa: ASYNC110
            await asyncio.sleep(servers.RETRY_SECONDS)

    async with servers.running(server, ready):
        yield Postgres(port, passwords)


def _status(folder: Path) -> str:
    """What the server says of itself: `starting`, `ready`, `stopping`; empty when it is not there."""
    try:
        return (folder / "postmaster.pid").read_text().splitlines()[-1].strip()
    except (FileNotFoundError, IndexError):
        return ""


async def _hasten_shutdown(folder: Path, pid: int) -> None:
    """Make a fast shutdown of a smart one, which SIGTERM asks for: it would refuse all and wait for every session."""
    while True:
        await asyncio.sleep(STATUS_SECONDS)
        if _status(folder) == "stopping":
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)


async def prepare(postgres: Postgres, roles: Iterable[str] = ROLES, database: str = DATABASE) -> None:
    """Make sure that a database is there in which each of `roles` has a schema of its name, and no other rights."""
    try:
        await _prepare(postgres, tuple(roles), database)
    except OperationalError as failure:
        raise PlatformError(f"PostgreSQL does not let us in: {' '.join(str(failure).split())}") from None


async def _prepare(postgres: Postgres, roles: tuple[str, ...], database: str) -> None:
    name = sql.Identifier(database)
    async with await AsyncConnection.connect(postgres.conninfo(SUPERUSER, SUPERUSER), autocommit=True) as connection:
        for role in roles:
            # The server is told what verifies the password, not the password.
            password = connection.pgconn.encrypt_password(
                _password(postgres.passwords / role).encode(), role.encode(), b"scram-sha-256"
            )
            known = await connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
            await connection.execute(
                sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(
                    sql.SQL("ALTER" if known.rowcount else "CREATE"), sql.Identifier(role), password.decode()
                )
            )
        known = await connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,))
        if not known.rowcount:
            await connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
        await connection.execute(sql.SQL("REVOKE ALL ON DATABASE {}, postgres, template1 FROM PUBLIC").format(name))
    async with await AsyncConnection.connect(postgres.conninfo(SUPERUSER, database), autocommit=True) as connection:
        await connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        for owner in map(sql.Identifier, roles):
            # CREATE is needed even for CREATE SCHEMA IF NOT EXISTS of a schema that exists.
            await connection.execute(sql.SQL("GRANT CONNECT, CREATE ON DATABASE {} TO {}").format(name, owner))
            await connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {0} AUTHORIZATION {0}").format(owner))


def _check(folder: Path) -> None:
    try:
        version = (folder / "PG_VERSION").read_text().strip()
    except OSError:
        raise PlatformError(
            f"{folder} is no folder of PostgreSQL (it has no PG_VERSION); move it away, or start with another --data"
        ) from None
    if version != MAJOR_VERSION:
        raise PlatformError(
            f"{folder} was made by PostgreSQL {version}, and this is {MAJOR_VERSION}; start with another --data"
        )


async def _create(folder: Path, password: str, user_id: int | None) -> None:
    """Make a new folder, whole or not at all."""
    part = folder.with_name(f"{folder.name}.part")
    if part.exists():
        await asyncio.to_thread(shutil.rmtree, part)
    part.mkdir(mode=0o700)
    if user_id is not None:
        try:
            os.chown(part, user_id, user_id)
        except OSError:
            raise PlatformError(_ROOT) from None
    command = (
        *(wheels.postgres("initdb"), "-D", part, "-U", SUPERUSER, "--auth=scram-sha-256", "--pwfile=/dev/stdin"),
        *("-E", "UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        "--no-instructions",
    )
    try:
        await children.run(command, limits=servers.UNLIMITED, stdin=f"{password}\n".encode(), user_id=user_id)
    except children.ChildFailed as failure:
        if "cannot change to user" in failure.stderr:
            raise PlatformError(_ROOT) from None
        reason = " ".join(failure.stderr.split())
        raise PlatformError(f"PostgreSQL cannot make its folder {folder}: {reason}") from None
    part.rename(folder)


async def _end_former(folder: Path) -> None:
    """Wait for the server of a platform that was killed, which is stopping; forget one that is long gone."""
    file = folder / "postmaster.pid"
    try:
        process = psutil.Process(int(file.read_text().split()[0]))
        ours = process.name() == "postgres" and str(folder) in process.cmdline()
    except (FileNotFoundError, ValueError, IndexError, psutil.NoSuchProcess):
        return  # PostgreSQL itself replaces the file of a process that is gone.
    if not ours:
        # The process id of a server that is gone was given to another program.
        file.unlink()
        return
    log.warning("waiting for the former PostgreSQL to stop", pid=process.pid)
    for harder in (signal.SIGQUIT, signal.SIGKILL):
        try:
            await asyncio.to_thread(process.wait, FORMER_STOP_SECONDS)
            return
        except psutil.TimeoutExpired:
            process.send_signal(harder)


def _password(file: Path) -> str:
    """The password in a file of libpq's format, which is made when there is none."""
    if not file.exists():
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as new:
            new.write(f"*:*:*:*:{secrets.token_hex(24)}\n")
    return file.read_text().strip().rpartition(":")[2]
