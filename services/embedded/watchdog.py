"""Watchdog: ends this process when its event loop is blocked, with the stacks of its threads in the log.

A child process watches a heartbeat of the loop, because no thread of a blocked process runs while a call in C keeps the
interpreter lock, and no thread of a stopped process runs at all. What started the platform starts it again.
"""

from __future__ import annotations

import asyncio
import faulthandler
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import structlog

log = structlog.get_logger()

BEAT_SECONDS = 1.0
# The pause before a watchdog that was killed is started again.
RESTART_SECONDS = 1.0
STACKS_SIGNAL = signal.SIGUSR1

_CHILD = Path(__file__).with_name("watchdog_child.py")


@asynccontextmanager
async def run_watchdog(log_file: Path, limit_seconds: float) -> AsyncIterator[None]:
    """End this process when its event loop does not run for `limit_seconds` while the context is open.

    Then, and when a signal such as SIGSEGV ends this process, the stacks of all its threads are appended to `log_file`.
    """
    with log_file.open("ab") as output:
        faulthandler.enable(output)
        faulthandler.register(STACKS_SIGNAL, output)
        started = asyncio.Event()
        beating = asyncio.create_task(_send_heartbeats(limit_seconds, started), name="watchdog")
        try:
            await started.wait()
            yield
        finally:
            beating.cancel()
            await asyncio.wait({beating})
            faulthandler.unregister(STACKS_SIGNAL)
            faulthandler.disable()


async def _send_heartbeats(limit_seconds: float, started: asyncio.Event) -> None:
    """Run the child, and send it a byte every `BEAT_SECONDS`. Sets `started` when it runs or cannot be started."""
    while True:
        with suppress(OSError):  # For example for lack of memory.
            # It stays in this process's group, so that Ctrl-Z stops both.
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", _CHILD, str(limit_seconds), str(int(STACKS_SIGNAL))),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
            )
            try:
                assert child.stdin is not None
                started.set()
                while child.returncode is None:
                    child.stdin.write(b".")
                    await asyncio.sleep(BEAT_SECONDS)
            finally:
                with suppress(ProcessLookupError):
                    child.kill()
                await child.wait()
            log.warning("watchdog ended, starting it again", code=child.returncode)
        started.set()
        await asyncio.sleep(RESTART_SECONDS)
