"""PostgreSQL admits each service to its own schema only, keeps acknowledged data, and recovers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict

from services.embedded import ports, supervisor
from services.embedded import postgres as embedded
from services.embedded.errors import PlatformError
from tests.databases import Databases


@asynccontextmanager
async def run_server(folder: Path) -> AsyncIterator[embedded.Postgres]:
    [port] = ports.pick_ports()
    async with embedded.run_server(
        folder / "postgres", passwords=folder / "passwords", log_file=folder / "postgres.log", port=port
    ) as server:
        yield server


async def query(conninfo: str, statement: str) -> list[Any]:
    async with await AsyncConnection.connect(conninfo, autocommit=True) as connection:
        cursor = await connection.execute(statement)
        return await cursor.fetchall() if cursor.description else []


async def test_a_service_uses_its_own_schema(postgres: Databases) -> None:
    conninfo = await postgres.fresh("user")
    await query(conninfo, 'CREATE SCHEMA IF NOT EXISTS "user"')
    await query(conninfo, 'CREATE TABLE "user".accounts (id text)')


async def test_a_service_cannot_read_the_schema_of_another(postgres: Databases) -> None:
    server, database = postgres.server, "shared"
    await embedded.create_schemas(server, embedded.ROLES, database)
    user, orchestrator = server.conninfo("user", database), server.conninfo("orchestrator", database)
    await query(user, 'CREATE TABLE "user".accounts (id text)')
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await query(orchestrator, 'SELECT * FROM "user".accounts')
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await query(orchestrator, 'CREATE TABLE "user".mine (id text)')
    for statement in ("CREATE TABLE public.t ()", "CREATE ROLE other", "CREATE DATABASE other", "SET ROLE postgres"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await query(user, statement)


async def test_a_service_cannot_open_another_database(postgres: Databases) -> None:
    users = conninfo_to_dict(await postgres.fresh("user"))["dbname"]
    conninfo = await postgres.fresh("orchestrator")
    await query(conninfo, "SELECT 1")
    for database in ("postgres", "template1", str(users)):
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            await query(postgres.server.conninfo("orchestrator", database), "SELECT 1")


@pytest.mark.parametrize("given", ["", "password=wrong"])
async def test_a_wrong_password_is_refused(postgres: Databases, given: str) -> None:
    await postgres.fresh("user")
    conninfo = f"host=127.0.0.1 port={postgres.server.port} dbname=postgres user=postgres passfile=/dev/null {given}"
    with pytest.raises(psycopg.OperationalError, match="password"):
        await query(conninfo, "SELECT 1")


async def test_the_server_listens_on_loopback_only(postgres: Databases) -> None:
    superuser = postgres.server.conninfo("postgres", "postgres")
    assert await query(superuser, "SHOW listen_addresses") == [("127.0.0.1",)]
    assert await query(superuser, "SHOW unix_socket_directories") == [("",)]


async def test_passwords_and_data_are_readable_by_their_owner_only(postgres: Databases) -> None:
    await postgres.fresh("user")
    passwords = postgres.server.passwords
    assert passwords.stat().st_mode & 0o777 == 0o700
    assert (passwords.parent / "postgres").stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in passwords.iterdir()} == {0o600}
    assert len({file.read_text() for file in passwords.iterdir()}) == len(list(passwords.iterdir()))


async def test_data_outlives_the_server(tmp_path: Path) -> None:
    async with run_server(tmp_path) as server:
        await embedded.create_schemas(server)
        await query(server.conninfo("user"), 'CREATE TABLE "user".accounts AS SELECT 7 AS id')
        assert await query(server.conninfo("user"), "SHOW fsync") == [("on",)]
    async with run_server(tmp_path) as server:
        await embedded.create_schemas(server)
        assert await query(server.conninfo("user"), 'SELECT id FROM "user".accounts') == [(7,)]


async def test_a_lost_password_of_a_service_is_replaced(tmp_path: Path) -> None:
    async with run_server(tmp_path) as server:
        await embedded.create_schemas(server)
        (tmp_path / "passwords" / "user").unlink()
        await embedded.create_schemas(server)
        assert await query(server.conninfo("user"), "SELECT 1") == [(1,)]


async def test_a_lost_password_of_the_superuser_is_reported(tmp_path: Path) -> None:
    async with run_server(tmp_path):
        pass
    file = tmp_path / "passwords" / "postgres"
    kept = file.read_text()
    file.unlink()
    with pytest.raises(PlatformError, match="restore it"):
        async with run_server(tmp_path):
            pass
    file.write_text(kept.replace(kept[-5:], "wrong"))
    async with run_server(tmp_path) as server:
        with pytest.raises(PlatformError, match=r"refuses the superuser: .*password"):
            await embedded.create_schemas(server)


async def test_a_dead_servers_lock_file_does_not_stop_the_next_start(tmp_path: Path) -> None:
    async with run_server(tmp_path):
        pass
    # The process id of the dead server belongs to another program by now.
    stale = f"{os.getppid()}\n{tmp_path / 'postgres'}\n1\n5432\n\n127.0.0.1\n       1         1\nready   \n"
    (tmp_path / "postgres" / "postmaster.pid").write_text(stale)
    async with run_server(tmp_path) as server:
        assert await query(server.conninfo("postgres", "postgres"), "SELECT 1") == [(1,)]


async def test_a_dead_server_is_restarted(tmp_path: Path) -> None:
    async with run_server(tmp_path) as server:
        pid = int((tmp_path / "postgres" / "postmaster.pid").read_text().split()[0])
        first = psutil.Process(pid)
        first.kill()
        await asyncio.to_thread(psutil.wait_procs, [first], 10)
        answer: list[Any] = []
        async with asyncio.timeout(30):
            while not answer:
                await supervisor.wait_until_open(server.port)
                with suppress(psycopg.OperationalError):
                    answer = await query(server.conninfo("postgres", "postgres"), "SELECT 1")


async def test_sigterm_does_not_wait_for_sessions(tmp_path: Path) -> None:
    """PostgreSQL's own SIGTERM refuses new sessions and waits for the open ones, and those of pools last."""
    async with run_server(tmp_path) as server:
        pid = int((tmp_path / "postgres" / "postmaster.pid").read_text().split()[0])
        async with await psycopg.AsyncConnection.connect(server.conninfo("postgres", "postgres")):
            former = psutil.Process(pid)
            former.terminate()
            gone, _ = await asyncio.to_thread(psutil.wait_procs, [former], 15)
            assert gone
        answer: list[Any] = []
        async with asyncio.timeout(30):
            while not answer:
                await supervisor.wait_until_open(server.port)
                with suppress(psycopg.OperationalError):
                    answer = await query(server.conninfo("postgres", "postgres"), "SELECT 1")


async def test_an_interrupted_first_start_is_repeated(tmp_path: Path) -> None:
    (tmp_path / "postgres.part").mkdir()
    (tmp_path / "postgres.part" / "half").touch()
    async with run_server(tmp_path) as server:
        assert await query(server.conninfo("postgres", "postgres"), "SELECT 1") == [(1,)]
    assert not (tmp_path / "postgres.part").exists()


async def test_a_folder_with_other_files_stays_unchanged(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "mine").touch()
    with pytest.raises(PlatformError, match="no PG_VERSION"):
        async with run_server(tmp_path):
            pass
    assert (tmp_path / "postgres" / "mine").exists()


async def test_a_folder_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("19\n")
    with pytest.raises(PlatformError, match="made by PostgreSQL 19"):
        async with run_server(tmp_path):
            pass


async def test_a_broken_folder_is_reported_with_the_servers_message(tmp_path: Path) -> None:
    async with run_server(tmp_path):
        pass
    (tmp_path / "postgres" / "global" / "pg_control").unlink()
    with pytest.raises(PlatformError, match=r"PostgreSQL cannot start: .*pg_control") as refused:
        async with run_server(tmp_path):
            pass
    assert "\n" not in str(refused.value)
