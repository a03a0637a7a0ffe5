"""PostgreSQL: runs a server in one folder, with a role and a password for each service that has a schema.

The server listens on 127.0.0.1 only. Every role signs in with a password (SCRAM) from a file of libpq's format,
`<passwords>/<role>`, readable by its owner only. PostgreSQL refuses to run as root: under root it runs as the user
`nobody`, which owns the server's folder and may traverse the folders above it.
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

from services.embedded import binaries, supervisor
from services.embedded.errors import PlatformError
from services.embedded.ports import BIND
from services.runtime import children

log = structlog.get_logger()

MAJOR_VERSION = "18"
SUPERUSER = "postgres"
DATABASE = "moneyprinter"
ROLES = ("orchestrator", "user")
NOBODY = 65534
PREVIOUS_STOP_SECONDS = 10.0
STATUS_SECONDS = 0.5

_ROOT_REFUSED = (
    "PostgreSQL does not run as root, and this root may not switch to another user; start it as a user that is not root"
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
        """Return the connection string of a role."""
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
async def run_server(
    folder: Path,
    *,
    passwords: Path,
    log_file: Path,
    port: int,
    settings: Mapping[str, str] = SETTINGS,
    wait_until_hung: Callable[[Postgres, int], Awaitable[None]] | None = None,
) -> AsyncIterator[Postgres]:
    """Run a server on the data in `folder` while the context is open. Creates the folder when there is none.

    `wait_until_hung` receives the server and its process id and returns when the server hangs; the supervisor then
    restarts it. Raises `PlatformError` when the folder holds other files or data of another major version, when the
    superuser's password file is missing, or when the server does not start.
    """
    user_id = NOBODY if os.geteuid() == 0 else None
    passwords.mkdir(mode=0o700, exist_ok=True)
    if folder.exists():
        _check_version(folder)
        if not (passwords / SUPERUSER).exists():
            raise PlatformError(
                f"{passwords / SUPERUSER} is missing, and {folder} cannot be opened without it; restore it"
            )
        await _wait_for_previous_server(folder)
    else:
        await _init_folder(folder, _load_password(passwords / SUPERUSER), user_id)
    settings = {**settings, "listen_addresses": BIND, "port": str(port)}

    async def wait_until_hung_or_stopping(pid: int) -> None:
        shutdown_watch = asyncio.create_task(_force_fast_shutdown(folder, pid))
        try:
            if wait_until_hung is None:
                await asyncio.get_running_loop().create_future()
            else:
                await wait_until_hung(Postgres(port, passwords), pid)
        finally:
            shutdown_watch.cancel()

    server = supervisor.Server(
        "PostgreSQL",
        (
            binaries.postgres_program("postgres"),
            "-D",
            folder,
            *(f"--{name}={value}" for name, value in settings.items()),
        ),
        log_file,
        user_id=user_id,
        # Fast shutdown: it ends sessions and writes all data, so that the next start has nothing to recover.
        stop_signal=signal.SIGINT,
        stop_seconds=10.0,
        death_signal=signal.SIGINT,
        wait_until_hung=wait_until_hung_or_stopping,
    )

    async def ready() -> None:
        await supervisor.wait_until_open(port)
        # The server listens before it has recovered, and records here when it is ready.
        while _read_status(folder) != "ready":  # noqa: ASYNC110
            await asyncio.sleep(supervisor.RETRY_SECONDS)

    async with supervisor.run_server(server, ready):
        yield Postgres(port, passwords)


def _read_status(folder: Path) -> str:
    """Return the status that the server records: `starting`, `ready` or `stopping`; empty when there is no server."""
    try:
        return (folder / "postmaster.pid").read_text().splitlines()[-1].strip()
    except (FileNotFoundError, IndexError):
        return ""


async def _force_fast_shutdown(folder: Path, pid: int) -> None:
    """Turn a smart shutdown, which SIGTERM starts, into a fast one: a smart one waits for the end of every session."""
    while True:
        await asyncio.sleep(STATUS_SECONDS)
        if _read_status(folder) == "stopping":
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)


async def create_schemas(postgres: Postgres, roles: Iterable[str] = ROLES, database: str = DATABASE) -> None:
    """Ensure that the database has a schema for each of `roles`, named after it, and that a role has no other rights.

    Raises `PlatformError` when the server refuses the superuser.
    """
    try:
        await _create_schemas(postgres, tuple(roles), database)
    except OperationalError as failure:
        raise PlatformError(f"PostgreSQL refuses the superuser: {' '.join(str(failure).split())}") from None


async def _create_schemas(postgres: Postgres, roles: tuple[str, ...], database: str) -> None:
    name = sql.Identifier(database)
    async with await AsyncConnection.connect(postgres.conninfo(SUPERUSER, SUPERUSER), autocommit=True) as connection:
        for role in roles:
            # The server gets the SCRAM verifier, not the password.
            password = connection.pgconn.encrypt_password(
                _load_password(postgres.passwords / role).encode(), role.encode(), b"scram-sha-256"
            )
            found = await connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
            await connection.execute(
                sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(
                    sql.SQL("ALTER" if found.rowcount else "CREATE"), sql.Identifier(role), password.decode()
                )
            )
        found = await connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,))
        if not found.rowcount:
            await connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
        await connection.execute(sql.SQL("REVOKE ALL ON DATABASE {}, postgres, template1 FROM PUBLIC").format(name))
    async with await AsyncConnection.connect(postgres.conninfo(SUPERUSER, database), autocommit=True) as connection:
        await connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        for owner in map(sql.Identifier, roles):
            # CREATE SCHEMA IF NOT EXISTS needs the CREATE privilege even when the schema exists.
            await connection.execute(sql.SQL("GRANT CONNECT, CREATE ON DATABASE {} TO {}").format(name, owner))
            await connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {0} AUTHORIZATION {0}").format(owner))


def _check_version(folder: Path) -> None:
    try:
        version = (folder / "PG_VERSION").read_text().strip()
    except OSError:
        raise PlatformError(
            f"{folder} is not a PostgreSQL folder (it has no PG_VERSION); move it away, or start with another --data"
        ) from None
    if version != MAJOR_VERSION:
        raise PlatformError(
            f"{folder} was made by PostgreSQL {version}, and this is {MAJOR_VERSION}; start with another --data"
        )


async def _init_folder(folder: Path, password: str, user_id: int | None) -> None:
    """Create a new data folder atomically."""
    part = folder.with_name(f"{folder.name}.part")
    if part.exists():
        await asyncio.to_thread(shutil.rmtree, part)
    part.mkdir(mode=0o700)
    if user_id is not None:
        try:
            os.chown(part, user_id, user_id)
        except OSError:
            raise PlatformError(_ROOT_REFUSED) from None
    command = (
        *(
            binaries.postgres_program("initdb"),
            "-D",
            part,
            "-U",
            SUPERUSER,
            "--auth=scram-sha-256",
            "--pwfile=/dev/stdin",
        ),
        *("-E", "UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        "--no-instructions",
    )
    try:
        await children.run(command, limits=supervisor.UNLIMITED, stdin=f"{password}\n".encode(), user_id=user_id)
    except children.ChildFailed as failure:
        if "cannot change to user" in failure.stderr:
            raise PlatformError(_ROOT_REFUSED) from None
        reason = " ".join(failure.stderr.split())
        raise PlatformError(f"PostgreSQL cannot create its folder {folder}: {reason}") from None
    part.rename(folder)


async def _wait_for_previous_server(folder: Path) -> None:
    """Wait until the server of a killed platform has stopped; remove the process id file of a server that is gone."""
    file = folder / "postmaster.pid"
    try:
        process = psutil.Process(int(file.read_text().split()[0]))
        is_ours = process.name() == "postgres" and str(folder) in process.cmdline()
    except (FileNotFoundError, ValueError, IndexError, psutil.NoSuchProcess):
        return  # PostgreSQL itself replaces the file of a dead process.
    if not is_ours:
        # The kernel gave the dead server's process id to another program.
        file.unlink()
        return
    log.warning("waiting for the previous PostgreSQL to stop", pid=process.pid)
    for next_signal in (signal.SIGQUIT, signal.SIGKILL):
        try:
            await asyncio.to_thread(process.wait, PREVIOUS_STOP_SECONDS)
            return
        except psutil.TimeoutExpired:
            process.send_signal(next_signal)


def _load_password(file: Path) -> str:
    """Return the password in a file of libpq's format. Creates the file with a new password when there is none."""
    if not file.exists():
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as new:
            new.write(f"*:*:*:*:{secrets.token_hex(24)}\n")
    return file.read_text().strip().rpartition(":")[2]
