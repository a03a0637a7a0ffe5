"""Watchdog: measures how long single steps block an event loop.

A step is the code that runs in one iteration of the loop. Its CPU time is measured instead of the wall time, because a
loaded machine hardly changes it. Steps of tests do not count, nor does garbage collection, of which a test process does
far more than a platform. As a pytest plugin it fails a test in which a step of ours takes more than LONGEST_SECONDS
for the second time, or more than FAR_TOO_LONG_SECONDS once, and lists the longest. As a script, `python -P
tests/watchdog.py FILE up ...` runs the command line and appends long steps to FILE, one JSON a line.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

# The limit of a step, in CPU time.
LONGEST_SECONDS = 0.05
# A step above LONGEST_SECONDS fails a test only when it has happened before: the guest's CPU time includes what the
# hypervisor took away and page faults, and one health check in some 7,600 tests "took" 73 ms. A step of ours that is
# too long is so each time.
FAR_TOO_LONG_SECONDS = 0.2
TESTS = str(Path(__file__).parent)
# The tasks of the clients that tests use: a test that sends 10 MB spends the time itself.
CLIENTS = ("/httpx/", "/grpc/aio/_call.py")
long_steps: list[tuple[Any, str]] = []
"""The long steps, each with its test."""


@dataclass(frozen=True)
class Step:
    """A long step."""

    seconds: float
    """CPU time."""
    what: str
    """The function that ran, or the coroutine of its task."""


def watch(
    report: Callable[[Step], None], least_seconds: float = LONGEST_SECONDS, *, ignored: Sequence[str] = ()
) -> Callable[[], None]:
    """Report the steps of all loops of this process that take longer than `least_seconds` of CPU time.

    `ignored` are parts of the paths of source files whose tasks are not measured. Returns the function that ends it.
    """
    handle_type: Any = asyncio.Handle
    plain = handle_type._run
    clock = time.thread_time
    collected, begun = 0.0, 0.0

    def collect(phase: str, _: object) -> None:
        nonlocal collected, begun
        if phase == "start":
            begun = clock()
        else:
            collected += clock() - begun

    gc.callbacks.append(collect)

    def run(handle: Any) -> None:
        began, before = clock(), collected
        try:
            plain(handle)
        finally:
            seconds = clock() - began - (collected - before)
            if seconds > least_seconds and (what := _measured(handle, ignored)):
                report(Step(round(seconds, 4), what))

    handle_type._run = run

    def end() -> None:
        handle_type._run = plain
        gc.callbacks.remove(collect)

    return end


def _measured(handle: Any, ignored: Sequence[str]) -> str:
    """The name of a step; empty for one of a test, or of a file that is ignored."""
    task = getattr(handle._callback, "__self__", None)
    if not isinstance(task, asyncio.Task):
        return repr(handle._callback)
    coroutine: Any = task.get_coro()
    code = getattr(coroutine, "cr_code", None)
    file = code.co_filename if code is not None else ""
    if file.startswith(TESTS) or any(part in file for part in ("pytest", *ignored)):
        return ""
    return f"{task.get_name()}: {getattr(coroutine, '__qualname__', coroutine)}"


@pytest.fixture(autouse=True)
def watchdog() -> Iterator[list[Step]]:
    """Fail a test in which a step of a service took too long."""
    found: list[Step] = []
    end = watch(found.append, ignored=CLIENTS)
    yield found
    end()
    too_long = repeated_steps(found, [step for step, _ in long_steps])
    long_steps.extend((step, os.environ.get("PYTEST_CURRENT_TEST", "")) for step in found)
    assert not too_long, f"single steps blocked the loop: {too_long}"


def repeated_steps(steps: Sequence[Step], before: Sequence[Step]) -> list[Step]:
    """Return the long steps that are no single exception: far too long, or long before or more than once."""
    times = Counter(step.what for step in (*before, *steps) if step.seconds > LONGEST_SECONDS)
    return [
        step
        for step in steps
        if step.seconds > FAR_TOO_LONG_SECONDS or (step.seconds > LONGEST_SECONDS and times[step.what] > 1)
    ]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the longest steps."""
    for step, test in sorted(long_steps, key=lambda each: -each[0].seconds)[:10]:
        terminalreporter.write_line(f"a step blocked the loop for {step.seconds:.3f} s: {step.what} ({test})")


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
