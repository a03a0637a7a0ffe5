"""No server outlives the process that started it, however that ends, and the next start works on the same data."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import pytest

ROOT = Path(__file__).resolve().parents[2]


@asynccontextmanager
async def supervisor(data: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run a supervising process; yields it once its servers are ready, with the connection string of PostgreSQL."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.embedded.servers_child", str(data)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        conninfo = (await process.stdout.readline()).decode().strip()
        assert conninfo, "the supervisor did not start"
        yield process, conninfo
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def servers_of(process: asyncio.subprocess.Process) -> list[psutil.Process]:
    """Return its descendants; PostgreSQL's workers among them may end at any moment."""
    found = psutil.Process(process.pid).children(recursive=True)
    names = set()
    for child in found:
        with suppress(psutil.NoSuchProcess):
            names.add(child.name())
    assert {"postgres", "nats-server"} <= names
    return found


async def assert_all_end(processes: list[psutil.Process]) -> None:
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, 15)
    assert not alive


async def write(conninfo: str) -> None:
    async with await psycopg.AsyncConnection.connect(conninfo) as connection:
        await connection.execute('CREATE TABLE "user".accounts AS SELECT 7 AS id')


async def read(conninfo: str) -> int:
    async with await psycopg.AsyncConnection.connect(conninfo) as connection:
        row = await (await connection.execute('SELECT id FROM "user".accounts')).fetchone()
    assert row is not None
    return int(row[0])


async def test_servers_stop_with_the_supervisor(tmp_path: Path) -> None:
    async with supervisor(tmp_path) as (process, _):
        servers = servers_of(process)
        process.terminate()
        assert await process.wait() == 0
    await assert_all_end(servers)
    assert not (tmp_path / "postgres" / "postmaster.pid").exists()


@pytest.mark.parametrize("group", [False, True], ids=["process", "group"])
async def test_a_killed_supervisor_leaves_no_process_and_loses_no_data(tmp_path: Path, group: bool) -> None:
    async with supervisor(tmp_path) as (process, conninfo):
        await write(conninfo)
        servers = servers_of(process)
        if group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        await process.wait()
        # The next supervisor starts at once, while the previous servers may still be stopping.
        async with supervisor(tmp_path) as (_, next_conninfo):
            assert await read(next_conninfo) == 7
    await assert_all_end(servers)


async def test_the_next_start_works_when_everything_was_killed(tmp_path: Path) -> None:
    async with supervisor(tmp_path) as (process, conninfo):
        await write(conninfo)
        servers = servers_of(process)
        for server in servers:
            with suppress(psutil.NoSuchProcess):
                server.kill()
        process.kill()
        await process.wait()
    await assert_all_end(servers)
    assert (tmp_path / "postgres" / "postmaster.pid").exists()
    async with supervisor(tmp_path) as (_, next_conninfo):
        assert await read(next_conninfo) == 7
