"""Servers: a program that serves is started, kept running, and stopped in its own way."""

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
OLD = ".old.log"

# A server that dies is started again after a pause that grows while it keeps dying.
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 10.0
STEADY_SECONDS = 30.0
# How often a server that is killed while it starts is started again.
KILLED_STARTS = 2

UNLIMITED = children.Limits(memory_bytes=0, cpu_seconds=0, file_bytes=0, open_files=0, wall_seconds=0)


@dataclass(frozen=True)
class Server:
    """A program that serves until it is stopped."""

    name: str
    command: tuple[str | Path, ...]
    log: Path
    """The file that gets all that it prints."""
    environment: Mapping[str, str] = field(default_factory=dict)
    user_id: int | None = None
    """Whom root runs it as."""
    stop_signal: signal.Signals = signal.SIGTERM
    """What asks it to stop."""
    stop_seconds: float = 5.0
    """How long it may take to, before it is killed."""
    death_signal: signal.Signals = signal.SIGKILL
    """What it gets when we die."""
    until_hung: Callable[[int], Awaitable[None]] | None = None
    """Returns when the server, whose process id it is given, hangs; None: nobody looks."""


@asynccontextmanager
async def running(server: Server, ready: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Keep a server running while the context is open; it is ready, that is `ready` has ended, when the body begins.

    Raises PlatformError, with its last words, when it ends or is not ready within `START_SECONDS`.
    """
    steady = asyncio.Event()
    keeper = asyncio.create_task(_keep(server, steady), name=server.name)
    try:
        await in_time(ready(), keeper, f"{server.name} is not ready", f"its log is {server.log}")
        steady.set()
        yield
    finally:
        keeper.cancel()
        await asyncio.wait({keeper})


async def in_time(ready: Awaitable[object], failed: asyncio.Future[None], late: str, see: str) -> None:
    """Wait until something is ready. Raises the error of `failed` as soon as there is one.

    Raises PlatformError after `START_SECONDS`; it says what is `late`, and what to `see`.
    """
    waiting: asyncio.Future[Any] = asyncio.ensure_future(ready)
    try:
        await asyncio.wait({waiting, failed}, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            failed.result()
        if not waiting.done():
            raise PlatformError(f"{late} after {START_SECONDS:.0f} s; {see}")
        waiting.result()
    finally:
        waiting.cancel()
        await asyncio.wait({waiting})


async def _keep(server: Server, steady: asyncio.Event) -> None:
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
                    code = await _ended(server, child.process, steady)
                except asyncio.CancelledError:
                    await _stop(server, child.process)
                    raise
        if not steady.is_set():
            # What a signal ended, such as for want of memory, may start the next time.
            starts += 1
            if code > 0 or starts > KILLED_STARTS:
                raise PlatformError(
                    f"{server.name} cannot start: {_words(server, start, code)} (its log is {server.log})"
                )
        if time.monotonic() - began > STEADY_SECONDS:
            pause = FIRST_PAUSE_SECONDS
        log.error("server died and is started again", server=server.name, code=code, pause_seconds=pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def _words(server: Server, start: int, code: int) -> str:
    """Why a server did not start: its last words, or the signal that killed it."""
    if code < 0 and -code in set(signal.Signals):
        return f"it was killed ({signal.Signals(-code).name}) {KILLED_STARTS + 1} times"
    return last_words(server.log, start)


async def _ended(server: Server, process: asyncio.subprocess.Process, steady: asyncio.Event) -> int:
    """Wait for the end of a server, and kill it when it hangs; its exit code."""
    ended = asyncio.create_task(process.wait())
    watching = asyncio.create_task(_until_hung(server, process.pid, steady))
    try:
        await asyncio.wait({ended, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            watching.result()
            log.error("server hangs and is killed", server=server.name, pid=process.pid)
            kill_all(process.pid)
        return await ended
    finally:
        for task in (ended, watching):
            task.cancel()
        await asyncio.gather(ended, watching, return_exceptions=True)


async def _until_hung(server: Server, pid: int, steady: asyncio.Event) -> None:
    await steady.wait()
    if server.until_hung is None:
        await asyncio.get_running_loop().create_future()
    else:
        await server.until_hung(pid)


def kill_all(pid: int) -> None:
    """Kill a process and all that it started, wherever that is stopped or has gone: the next one needs its files."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                one.kill()


async def _stop(server: Server, process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.send_signal(server.stop_signal)
        # One that is stopped would hear of it only later.
        process.send_signal(signal.SIGCONT)
    try:
        async with asyncio.timeout(server.stop_seconds):
            await process.wait()
    except TimeoutError:
        log.warning("server did not stop and is killed", server=server.name, seconds=server.stop_seconds)
        kill_all(process.pid)


async def bound_logs(folder: Path) -> None:
    """Keep every log in a folder, of servers and children that go on writing, below about LOG_BYTES, until cancelled.

    The last LOG_BYTES are kept beside it. Whoever writes appends, so that the file goes on from its new end.
    """
    while True:
        await asyncio.sleep(LOG_PAUSE_SECONDS)
        with suppress(OSError):  # Such as for a full disk: then the next time.
            await asyncio.to_thread(_cut_logs, folder)


def _cut_logs(folder: Path) -> None:
    for path in folder.glob("*.log"):
        if path.name.endswith(OLD) or path.stat().st_size <= LOG_BYTES:
            continue
        try:
            shutil.copyfile(path, path.with_suffix(OLD))
        except OSError:
            path.with_suffix(OLD).unlink(missing_ok=True)
        finally:
            os.truncate(path, 0)


def open_log(path: Path) -> IO[bytes]:
    """Open a log that its owner alone reads, to write to its end; one that has grown too large is put aside."""
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_suffix(OLD))
    file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")
    file.seek(0, os.SEEK_END)
    return file


def last_words(path: Path, start: int = 0, lines: int = 3) -> str:
    """The last lines of a log that were written from byte `start` on, as one."""
    with path.open("rb") as file:
        file.seek(max(start, path.stat().st_size - 4096))
        text = file.read().decode(errors="replace")
    found = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return "; ".join(found[-lines:]) or "it said nothing"


async def until_open(port: int) -> None:
    """Wait until somebody listens on a port."""
    while True:
        try:
            _, writer = await asyncio.open_connection(BIND, port)
        except OSError:
            await asyncio.sleep(RETRY_SECONDS)
        else:
            writer.close()
            return
