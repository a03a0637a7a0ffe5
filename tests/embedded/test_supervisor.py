"""The supervisor starts, restarts and stops servers, and reports why one cannot start."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import psutil
import pytest

from services.embedded import ports, supervisor
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


def program(tmp_path: Path, port: int, more: str = "", stop_seconds: float = 5.0) -> supervisor.Server:
    command = (sys.executable, "-c", LISTEN.replace("{more}", more), tmp_path, str(port))
    return supervisor.Server("listener", command, tmp_path / "listener.log", stop_seconds=stop_seconds)


def processes_of(tmp_path: Path) -> list[psutil.Process]:
    return [process for process in psutil.process_iter(["cmdline"]) if str(tmp_path) in (process.info["cmdline"] or ())]


async def test_a_server_runs_while_its_context_is_open(tmp_path: Path) -> None:
    [port] = ports.pick_ports()
    async with supervisor.run_server(program(tmp_path, port), lambda: supervisor.wait_until_open(port)):
        assert not ports.is_free(port)
        assert len(processes_of(tmp_path)) == 1
    assert ports.is_free(port)
    assert not processes_of(tmp_path)


async def test_a_dead_server_is_restarted(tmp_path: Path) -> None:
    [port] = ports.pick_ports()
    async with supervisor.run_server(program(tmp_path, port), lambda: supervisor.wait_until_open(port)):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"die!")
        assert await reader.read() == b""
        writer.close()
        async with asyncio.timeout(10):
            await supervisor.wait_until_open(port)
    assert (tmp_path / "starts").read_text() == "xx"


async def test_a_server_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    [port] = ports.pick_ports()
    stubborn = program(tmp_path, port, "signal.signal(signal.SIGTERM, signal.SIG_IGN)", stop_seconds=0.1)
    async with supervisor.run_server(stubborn, lambda: supervisor.wait_until_open(port)):
        pass
    assert not processes_of(tmp_path)


async def test_the_error_of_a_failed_start_holds_the_end_of_the_log(tmp_path: Path) -> None:
    [port] = ports.pick_ports()
    broken = program(tmp_path, port, "sys.exit('the disk\\nis on fire')")
    (tmp_path / "listener.log").write_text("lines of an earlier start\n")
    with pytest.raises(PlatformError, match=r"^listener cannot start: the disk; is on fire \(its log is"):
        async with supervisor.run_server(broken, lambda: supervisor.wait_until_open(port)):
            pass
    assert not processes_of(tmp_path)


async def test_a_server_killed_during_its_start_is_restarted(tmp_path: Path) -> None:
    [port] = ports.pick_ports()
    once = str(tmp_path / "once")
    kill_once = f"os.path.exists({once!r}) or (open({once!r}, 'w'), os.kill(os.getpid(), 9))"
    async with supervisor.run_server(
        program(tmp_path, port, f"import os; {kill_once}"), lambda: supervisor.wait_until_open(port)
    ):
        assert (tmp_path / "once").exists()
    doomed = program(tmp_path, port, "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(PlatformError, match=r"^listener cannot start: it was killed \(SIGKILL\) 3 times"):
        async with supervisor.run_server(doomed, lambda: supervisor.wait_until_open(port)):
            pass
    assert not processes_of(tmp_path)


async def test_a_late_start_is_reported_after_the_limit_and_a_failure_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    cancelled = asyncio.Event()

    async def never() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with monkeypatch.context() as patch:
        patch.setattr(supervisor, "START_SECONDS", 0.01)
        with pytest.raises(PlatformError, match=r"^the gateway is asleep after 0 s; see its log$"):
            await supervisor.wait_until_ready(never(), failed, "the gateway is asleep", "see its log")
    assert cancelled.is_set()
    assert not failed.done()
    failed.set_exception(PlatformError("a service cannot start"))
    with pytest.raises(PlatformError, match=r"^a service cannot start$"):
        await supervisor.wait_until_ready(never(), failed, "the gateway is asleep", "see its log")


async def test_an_error_in_the_body_stops_the_server(tmp_path: Path) -> None:
    [port] = ports.pick_ports()
    with pytest.raises(ZeroDivisionError):
        async with supervisor.run_server(program(tmp_path, port), lambda: supervisor.wait_until_open(port)):
            raise ZeroDivisionError
    assert not processes_of(tmp_path)


def test_a_large_log_is_moved_aside(tmp_path: Path) -> None:
    file = tmp_path / "postgres.log"
    file.write_bytes(b"x" * (supervisor.LOG_BYTES + 1))
    with supervisor.open_log(file) as log:
        log.write(b"new")
    assert file.read_bytes() == b"new"
    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "postgres.old.log").exists()
