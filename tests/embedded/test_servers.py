"""Servers are started, kept running, and stopped in their own way; those that cannot start say why."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import psutil
import pytest

from services.embedded import ports, servers
from services.embedded.errors import PlatformError

LISTEN = """
import pathlib, signal, socket, sys
folder, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])
{more}
server = socket.create_server(("127.0.0.1", port))
(folder / "starts").open("a").write("x")
while True:
    connection, _ = server.accept()
    if connection.recv(4) == b"die!":
        sys.exit(3)
"""


def program(tmp_path: Path, port: int, more: str = "", stop_seconds: float = 5.0) -> servers.Server:
    command = (sys.executable, "-c", LISTEN.replace("{more}", more), tmp_path, str(port))
    return servers.Server("listener", command, tmp_path / "listener.log", stop_seconds=stop_seconds)


def those_of(tmp_path: Path) -> list[psutil.Process]:
    return [process for process in psutil.process_iter(["cmdline"]) if str(tmp_path) in (process.info["cmdline"] or ())]


async def test_a_server_runs_while_its_context_is_open(tmp_path: Path) -> None:
    [port] = ports.pick()
    async with servers.running(program(tmp_path, port), lambda: servers.until_open(port)):
        assert not ports.free(port)
        assert len(those_of(tmp_path)) == 1
    assert ports.free(port)
    assert not those_of(tmp_path)


async def test_a_server_that_dies_is_started_again(tmp_path: Path) -> None:
    [port] = ports.pick()
    async with servers.running(program(tmp_path, port), lambda: servers.until_open(port)):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"die!")
        assert await reader.read() == b""
        writer.close()
        async with asyncio.timeout(10):
            await servers.until_open(port)
    assert (tmp_path / "starts").read_text() == "xx"


async def test_a_server_that_will_not_stop_is_killed(tmp_path: Path) -> None:
    [port] = ports.pick()
    stubborn = program(tmp_path, port, "signal.signal(signal.SIGTERM, signal.SIG_IGN)", stop_seconds=0.1)
    async with servers.running(stubborn, lambda: servers.until_open(port)):
        pass
    assert not those_of(tmp_path)


async def test_a_server_that_cannot_start_leaves_its_last_words(tmp_path: Path) -> None:
    [port] = ports.pick()
    broken = program(tmp_path, port, "sys.exit('the disk\\nis on fire')")
    (tmp_path / "listener.log").write_text("words of an earlier start\n")
    with pytest.raises(PlatformError, match=r"^listener cannot start: the disk; is on fire \(its log is"):
        async with servers.running(broken, lambda: servers.until_open(port)):
            pass
    assert not those_of(tmp_path)


async def test_a_server_that_is_killed_while_it_starts_is_started_again(tmp_path: Path) -> None:
    [port] = ports.pick()
    once = str(tmp_path / "once")
    kill_once = f"os.path.exists({once!r}) or (open({once!r}, 'w'), os.kill(os.getpid(), 9))"
    async with servers.running(program(tmp_path, port, f"import os; {kill_once}"), lambda: servers.until_open(port)):
        assert (tmp_path / "once").exists()
    doomed = program(tmp_path, port, "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(PlatformError, match=r"^listener cannot start: it was killed \(SIGKILL\) 3 times"):
        async with servers.running(doomed, lambda: servers.until_open(port)):
            pass
    assert not those_of(tmp_path)


async def test_what_is_not_ready_in_time_is_told_and_a_failure_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    given_up = asyncio.Event()

    async def never() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    with monkeypatch.context() as patch:
        patch.setattr(servers, "START_SECONDS", 0.01)
        with pytest.raises(PlatformError, match=r"^the gateway is asleep after 0 s; see its log$"):
            await servers.in_time(never(), failed, "the gateway is asleep", "see its log")
    assert given_up.is_set()
    assert not failed.done()
    failed.set_exception(PlatformError("a service cannot start"))
    with pytest.raises(PlatformError, match=r"^a service cannot start$"):
        await servers.in_time(never(), failed, "the gateway is asleep", "see its log")


async def test_an_error_in_the_body_stops_the_server(tmp_path: Path) -> None:
    [port] = ports.pick()
    with pytest.raises(ZeroDivisionError):
        async with servers.running(program(tmp_path, port), lambda: servers.until_open(port)):
            raise ZeroDivisionError
    assert not those_of(tmp_path)


def test_a_log_that_has_grown_large_is_put_aside(tmp_path: Path) -> None:
    file = tmp_path / "postgres.log"
    file.write_bytes(b"x" * (servers.LOG_BYTES + 1))
    with servers.open_log(file) as log:
        log.write(b"new")
    assert file.read_bytes() == b"new"
    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "postgres.old.log").exists()
