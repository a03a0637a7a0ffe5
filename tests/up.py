"""The command `moneyprinter up` in a process of its own, as users run it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from tests.leaks import find_leaks
from tests.variables import VARIABLES

READY = re.compile(r"MoneyPrinter is ready at (https?://127\.0\.0\.1:\d+) \(data in (.+); Ctrl-C stops it\)\n")


class Up:
    """A running command and its output so far."""

    def __init__(self, process: asyncio.subprocess.Process, data: Path) -> None:
        self.process = process
        self.data = data
        self.lines: list[str] = []
        self.url = ""

    async def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        while line := (await self.process.stdout.readline()).decode():
            self.lines.append(line)
            if found := READY.fullmatch(line):
                self.url = found[1]
                return
        raise AssertionError(f"it did not start: {self.lines}")

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    async def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        async with asyncio.timeout(20):
            return await self.process.wait()


@asynccontextmanager
async def up(
    data: Path,
    *options: str,
    environment: Mapping[str, str] | None = None,
    program: Sequence[str] = ("-m", "services.cli"),
) -> AsyncIterator[Up]:
    """Run the command while the context is open; it is ready when the body begins. `program` is what Python runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", *program, "up", "--data", str(data), "--port", "0", *options),
        env={"PATH": os.environ["PATH"], **VARIABLES, **(environment or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    running = Up(process, data)
    try:
        await running.wait_until_ready()
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    # Not where the test has failed, or has removed the folder.
    if data.is_dir():
        assert await find_leaks(data) == []


async def assert_all_end(processes: list[psutil.Process]) -> None:
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, 15)
    assert not alive
