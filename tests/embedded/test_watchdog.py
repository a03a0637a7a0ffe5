"""A platform that no longer responds ends itself, with its stacks in the log; one that was only suspended goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.embedded import blocked_child
from tests.up import assert_all_end, up

SECONDS = 1


@asynccontextmanager
async def heart(log_file: Path) -> AsyncIterator[Process]:
    """Run an event loop with a watchdog, in a process group of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "tests.embedded.blocked_child", "--heart", str(SECONDS), str(log_file)),
        stdin=PIPE,
        stdout=PIPE,
        stderr=STDOUT,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def test_a_blocked_platform_ends_itself_with_its_stacks_in_the_log(tmp_path: Path) -> None:
    limit = {"MONEYPRINTER_RUNTIME_UNRESPONSIVE_SECONDS": str(SECONDS)}
    async with up(tmp_path, environment=limit, program=(str(blocked_child.__file__),)) as running:
        children = running.children()
        running.process.send_signal(signal.SIGUSR2)
        async with asyncio.timeout(60):
            assert await running.process.wait() == -signal.SIGKILL
            assert running.process.stdout is not None
            [line] = (await running.process.stdout.read()).decode().splitlines()
        assert line.startswith("error: the platform did not respond for 1 s") and "services.log" in line
    stacks = (tmp_path / "logs" / "services.log").read_text()
    assert "most recent call first" in stacks and "in block_interpreter" in stacks
    await assert_all_end(children)


async def test_a_stopped_process_is_ended(tmp_path: Path) -> None:
    async with heart(tmp_path / "log") as process, asyncio.timeout(60):
        process.send_signal(signal.SIGSTOP)
        assert await process.wait() == -signal.SIGKILL
        assert process.stdout is not None
        assert (await process.stdout.readline()).startswith(b"error:")


async def test_a_suspended_process_goes_on(tmp_path: Path) -> None:
    """Ctrl-Z stops the whole process group, as the sleep of a machine does."""
    async with heart(tmp_path / "log") as process, asyncio.timeout(60):
        assert process.stdin is not None and process.stdout is not None
        for number in (signal.SIGSTOP, signal.SIGCONT):
            os.killpg(process.pid, number)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(process.wait()), SECONDS + 1)
        process.stdin.write(b"\n")
        assert await process.stdout.readline() == b"beats\n"
        process.stdin.close()
        assert await process.wait() == 0


async def test_a_killed_watchdog_is_started_again(tmp_path: Path) -> None:
    async with heart(tmp_path / "log") as process, asyncio.timeout(60):
        [first] = psutil.Process(process.pid).children()
        first.kill()
        while not [child for child in psutil.Process(process.pid).children() if child.pid != first.pid]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        process.send_signal(signal.SIGSTOP)
        assert await process.wait() == -signal.SIGKILL
