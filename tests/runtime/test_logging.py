"""Logging never raises and never waits; what is lost is counted, and reported once it can be written again."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import pytest
import structlog

from services.runtime import telemetry
from services.runtime.config import RuntimeConfig
from tests.stored import limit_file_size

log = structlog.get_logger()


@contextmanager
def logging_to(config: RuntimeConfig, output: TextIO) -> Iterator[telemetry.LogWriter]:
    before = structlog.get_config()
    writer = telemetry.configure(config, output)
    assert writer is not None
    try:
        yield writer
    finally:
        structlog.configure(**before)
        writer.close()


def until(condition: Any, seconds: float = 20.0) -> None:
    """Wait for the thread that writes."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{") and line.endswith("}")]


def test_logging_to_a_full_disk_does_not_raise(config: RuntimeConfig) -> None:
    with open("/dev/full", "w") as full, logging_to(config, full) as writer:
        for number in range(100):
            log.error("said", number=number)
        until(lambda: writer.lost == 100)


def test_an_event_loop_goes_on_when_its_errors_cannot_be_logged(config: RuntimeConfig) -> None:
    """When the exception handler raised, it left `run_forever`, and asyncio cancelled all tasks of the platform.

    Python 3.11.7 then ended in a segmentation fault while the cancelled tasks went on.
    """

    def fail() -> None:
        raise ValueError("in a callback")

    async def work() -> str:
        waiting = asyncio.create_task(asyncio.wait_for(asyncio.Event().wait(), 0.01))
        for _ in range(20):
            asyncio.get_running_loop().call_soon(fail)
            await asyncio.sleep(0)
        await asyncio.wait({waiting})
        return type(waiting.exception()).__name__

    # In a thread of its own: the other tests share the loop of this one, which `asyncio.run` would take away.
    with open("/dev/full", "w") as full, logging_to(config, full) as writer, ThreadPoolExecutor(1) as thread:
        assert thread.submit(asyncio.run, work()).result() == "TimeoutError"
        until(lambda: writer.lost == 20)


def test_lost_lines_are_reported_when_the_disk_has_space_again(config: RuntimeConfig, tmp_path: Path) -> None:
    file = tmp_path / "services.log"
    with file.open("a") as output, logging_to(config, output) as writer:
        log.info("before")
        until(lambda: file.stat().st_size)
        with limit_file_size(file.stat().st_size + 30):
            for _ in range(7):
                log.info("lost")
            until(lambda: writer.lost == 7)
        log.info("after")
        until(lambda: not writer.lost)
    assert [line["event"] for line in lines(file)] == ["before", "log lines lost", "after"]
    assert lines(file)[1]["lines"] == 7


def test_logging_to_a_full_pipe_does_not_block(config: RuntimeConfig) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as output, logging_to(config, output) as writer:
        began = time.monotonic()
        for number in range(telemetry.QUEUED_LINES + 5000):
            log.info("said", number=number, much="x" * 100)
        assert time.monotonic() - began < 20
        until(lambda: writer.lost > 0)
        lost, found = writer.lost, b""
        while b"log lines lost" not in found:
            found += os.read(reading, 1 << 16)
        report = next(json.loads(line) for line in found.splitlines() if b"log lines lost" in line)
        assert report["lines"] >= lost
        os.close(reading)
        log.info("to a closed pipe")
        until(lambda: writer.lost > 0)


def test_lines_that_cannot_be_rendered_are_counted_as_lost(config: RuntimeConfig, tmp_path: Path) -> None:
    class Silent:
        def __repr__(self) -> str:
            raise ValueError("no")

    with (tmp_path / "log").open("a") as output, logging_to(config, output) as writer:
        log.info("said", thing=Silent())
        assert writer.lost == 1
        log.info("after")
    assert [line["event"] for line in lines(tmp_path / "log")] == ["log lines lost", "after"]


@pytest.mark.parametrize("count", [1, 1000])
def test_lines_are_complete_and_in_order(config: RuntimeConfig, tmp_path: Path, count: int) -> None:
    with (tmp_path / "log").open("a") as output, logging_to(config, output):
        for number in range(count):
            log.info("said", number=number)
    assert [line["number"] for line in lines(tmp_path / "log")] == list(range(count))
