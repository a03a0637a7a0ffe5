"""Supervisor: starts a server process, restarts it when it dies or hangs, stops it, and bounds its log."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil
import structlog

from services.embedded.errors import PlatformError
from services.embedded.ports import BIND
from services.runtime import children

log = structlog.get_logger()

START_SECONDS = 60.0
RETRY_SECONDS = 0.02
LOG_BYTES = 10_000_000
LOG_PAUSE_SECONDS = 5.0
OLD_SUFFIX = ".old.log"

# A server that dies restarts after a pause, which doubles until the server has run for STEADY_SECONDS.
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 10.0
STEADY_SECONDS = 30.0
# How many times a server restarts that was killed during its start.
MAX_KILLED_STARTS = 2

UNLIMITED = children.Limits(memory_bytes=0, cpu_seconds=0, file_bytes=0, open_files=0, wall_seconds=0)


@dataclass(frozen=True)
class Server:
    """A server process: how to start it, how to stop it, and where it logs."""

    name: str
    command: tuple[str | Path, ...]
    log: Path
    """The file that receives its output."""
    environment: Mapping[str, str] = field(default_factory=dict)
    user_id: int | None = None
    """The user to switch to when this process runs as root."""
    stop_signal: signal.Signals = signal.SIGTERM
    """The signal that stops it in an orderly way."""
    stop_seconds: float = 5.0
    """How long it may take to stop before it is killed."""
    death_signal: signal.Signals = signal.SIGKILL
    """The signal that it receives when this process dies."""
    wait_until_hung: Callable[[int], Awaitable[None]] | None = None
    """Receives the server's process id and returns when the server hangs; None: hangs are not detected."""


@asynccontextmanager
async def run_server(server: Server, ready: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Keep a server running while the context is open. The body begins when `ready` has returned.

    Raises `PlatformError`, with the end of its log, when the server exits or is not ready within `START_SECONDS`.
    """
    steady = asyncio.Event()
    supervision = asyncio.create_task(_supervise(server, steady), name=server.name)
    try:
        await wait_until_ready(ready(), supervision, f"{server.name} is not ready", f"its log is {server.log}")
        steady.set()
        yield
    finally:
        supervision.cancel()
        await asyncio.wait({supervision})


async def wait_until_ready(ready: Awaitable[object], failed: asyncio.Future[None], problem: str, hint: str) -> None:
    """Wait until `ready` has returned. Raises the error of `failed` as soon as there is one.

    Raises `PlatformError` after `START_SECONDS`; its message has the `problem` and the `hint`.
    """
    waiting: asyncio.Future[Any] = asyncio.ensure_future(ready)
    try:
        await asyncio.wait({waiting, failed}, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            failed.result()
        if not waiting.done():
            raise PlatformError(f"{problem} after {START_SECONDS:.0f} s; {hint}")
        waiting.result()
    finally:
        waiting.cancel()
        await asyncio.wait({waiting})


async def _supervise(server: Server, steady: asyncio.Event) -> None:
    pause, starts = FIRST_PAUSE_SECONDS, 0
    while True:
        began = time.monotonic()
        with open_log(server.log) as output:
            start = output.tell()
            async with children.start(
                server.command,
                limits=UNLIMITED,
                environment=server.environment,
                log=output,
                user_id=server.user_id,
                death_signal=server.death_signal,
            ) as child:
                try:
                    code = await _wait_for_exit(server, child.process, steady)
                except asyncio.CancelledError:
                    await _stop_server(server, child.process)
                    raise
        if not steady.is_set():
            # A process that a signal ended, for example for lack of memory, may start the next time.
            starts += 1
            if code > 0 or starts > MAX_KILLED_STARTS:
                raise PlatformError(
                    f"{server.name} cannot start: {_failure_reason(server, start, code)} (its log is {server.log})"
                )
        if time.monotonic() - began > STEADY_SECONDS:
            pause = FIRST_PAUSE_SECONDS
        log.error("server died, restarting it", server=server.name, code=code, pause_seconds=pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def _failure_reason(server: Server, start: int, code: int) -> str:
    """Return why a server did not start: the end of its log, or the signal that killed it."""
    if code < 0 and -code in set(signal.Signals):
        return f"it was killed ({signal.Signals(-code).name}) {MAX_KILLED_STARTS + 1} times"
    return read_last_lines(server.log, start)


async def _wait_for_exit(server: Server, process: asyncio.subprocess.Process, steady: asyncio.Event) -> int:
    """Wait until a server exits, and kill it when it hangs. Returns its exit code."""
    ended = asyncio.create_task(process.wait())
    watching = asyncio.create_task(_wait_until_hung(server, process.pid, steady))
    try:
        await asyncio.wait({ended, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            watching.result()
            log.error("server hangs, killing it", server=server.name, pid=process.pid)
            kill_all(process.pid)
        return await ended
    finally:
        for task in (ended, watching):
            task.cancel()
        await asyncio.gather(ended, watching, return_exceptions=True)


async def _wait_until_hung(server: Server, pid: int, steady: asyncio.Event) -> None:
    await steady.wait()
    if server.wait_until_hung is None:
        await asyncio.get_running_loop().create_future()
    else:
        await server.wait_until_hung(pid)


def kill_all(pid: int) -> None:
    """Kill a process and its descendants, also stopped ones: the next process needs their files."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                one.kill()


async def _stop_server(server: Server, process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.send_signal(server.stop_signal)
        # A process stopped by SIGSTOP handles the signal only after it continues.
        process.send_signal(signal.SIGCONT)
    try:
        async with asyncio.timeout(server.stop_seconds):
            await process.wait()
    except TimeoutError:
        log.warning("server did not stop, killing it", server=server.name, seconds=server.stop_seconds)
        kill_all(process.pid)


async def bound_logs(folder: Path) -> None:
    """Keep every log in a folder below about `LOG_BYTES` while processes write to it, until cancelled.

    A full log is copied to a file beside it and truncated. The writers append, so they continue at its new end.
    """
    while True:
        await asyncio.sleep(LOG_PAUSE_SECONDS)
        with suppress(OSError):  # On a full disk, the next round retries.
            await asyncio.to_thread(_truncate_logs, folder)


def _truncate_logs(folder: Path) -> None:
    for path in folder.glob("*.log"):
        if path.name.endswith(OLD_SUFFIX) or path.stat().st_size <= LOG_BYTES:
            continue
        try:
            shutil.copyfile(path, path.with_suffix(OLD_SUFFIX))
        except OSError:
            path.with_suffix(OLD_SUFFIX).unlink(missing_ok=True)
        finally:
            os.truncate(path, 0)


def open_log(path: Path) -> IO[bytes]:
    """Open a log for appending, readable by its owner only. Moves a log larger than `LOG_BYTES` aside first."""
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_suffix(OLD_SUFFIX))
    file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")
    file.seek(0, os.SEEK_END)
    return file


def read_last_lines(path: Path, start: int = 0, lines: int = 3) -> str:
    """Return the last `lines` of a log, from byte `start` on, joined to one line."""
    with path.open("rb") as file:
        file.seek(max(start, path.stat().st_size - 4096))
        text = file.read().decode(errors="replace")
    found = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return "; ".join(found[-lines:]) or "its log is empty"


async def wait_until_open(port: int) -> None:
    """Wait until a server listens on a port of this machine."""
    while True:
        try:
            _, writer = await asyncio.open_connection(BIND, port)
        except OSError:
            await asyncio.sleep(RETRY_SECONDS)
        else:
            writer.close()
            return
