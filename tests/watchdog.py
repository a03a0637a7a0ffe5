"""Watchdog: how long single steps keep an event loop busy, in which it serves nobody else.

A step is what runs between two turns of the loop. Its CPU time is measured, not the time that passed, so that a busy
machine makes no step longer. Steps of tests are not counted. As a pytest plugin it fails a test in which a step of ours
took more than LONGEST_SECONDS. As a script, `python -P tests/watchdog.py FILE up ...` runs the command line and appends
such steps to FILE, one JSON a line.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

LONGEST_SECONDS = 0.05
TESTS = str(Path(__file__).parent)


@dataclass(frozen=True)
class Step:
    """A step that took long."""

    seconds: float
    """Of CPU time."""
    what: str
    """The function that ran, or the coroutine of its task."""


def watch(report: Callable[[Step], None], least_seconds: float = LONGEST_SECONDS) -> Callable[[], None]:
    """Report the steps of all loops of this process that take longer; what is returned ends it."""
    handle_type: Any = asyncio.Handle
    plain = handle_type._run
    clock = time.thread_time

    def run(handle: Any) -> None:
        began = clock()
        try:
            plain(handle)
        finally:
            seconds = clock() - began
            if seconds > least_seconds and (what := _ours(handle)):
                report(Step(round(seconds, 4), what))

    handle_type._run = run

    def end() -> None:
        handle_type._run = plain

    return end


def _ours(handle: Any) -> str:
    """What a step was; empty: one of a test."""
    task = getattr(handle._callback, "__self__", None)
    if not isinstance(task, asyncio.Task):
        return repr(handle._callback)
    coroutine: Any = task.get_coro()
    code = getattr(coroutine, "cr_code", None)
    if code is not None and (code.co_filename.startswith(TESTS) or "pytest" in code.co_filename):
        return ""
    return f"{task.get_name()}: {getattr(coroutine, '__qualname__', coroutine)}"


@pytest.fixture(autouse=True)
def watchdog() -> Iterator[list[Step]]:
    """Fail a test in which a step of a service took too long; the steps may be looked at, and cleared."""
    found: list[Step] = []
    end = watch(found.append, 0.015 if os.environ.get("WATCHDOG_LOG") else LONGEST_SECONDS)
    yield found
    end()
    if log := os.environ.get("WATCHDOG_LOG"):
        with Path(log).open("a") as file:
            for step in found:
                file.write(f"{step} {os.environ.get('PYTEST_CURRENT_TEST')}\n")
        return
    assert not found, f"the loop was kept busy by single steps: {found}"


def main() -> None:
    """Run the command line, watched."""
    from services.cli import main as command

    log = Path(sys.argv[1])
    sys.argv = ["moneyprinter", *sys.argv[2:]]

    def report(step: Step) -> None:
        with log.open("a") as file:
            file.write(json.dumps(asdict(step)) + "\n")

    watch(report)
    command()


if __name__ == "__main__":
    main()
