"""Random faults: a schedule of kills, stops and signals from a seed, for all processes of a platform."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from services.runtime.config import SERVICES

SERVERS = ("postgres", "nats-server", "envoy")
CHILD = "child"
# The child processes of services, by a part of their command lines.
CHILDREN = ("ffmpeg", "_child.py")

# The maximum wait for a child process to start.
CHILD_SECONDS = 3.0

# The weights of the kinds of faults.
KINDS = {
    (CHILD, "kill"): 8,
    (CHILD, "stop"): 3,
    ("service", "kill"): 6,
    ("service", "terminate"): 3,
    ("service", "stop"): 4,
    ("server", "kill"): 2,
    ("server", "stop"): 2,
    ("worker", "kill"): 1,
    ("platform", "kill"): 1,
}
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM)


@dataclass(frozen=True)
class Fault:
    """A fault: its action, time and target."""

    at_seconds: float
    target: str
    """A service, a server, `child`, `worker` (a PostgreSQL process) or `platform`."""
    action: str
    number: signal.Signals
    pick: int
    """The index among several processes."""
    seconds: float
    """The duration for which a process is stopped."""

    def __str__(self) -> str:
        what = f"{self.action} ({self.number.name})" if self.action == "kill" else self.action
        duration = f" for {self.seconds:.1f} s" if self.action == "stop" else ""
        return f"{self.at_seconds:6.1f} s  {what} {self.target}{duration}"


def schedule(seed: int, seconds: float) -> Iterator[Fault]:
    """Generate the faults of a seed, deterministically."""
    rng = random.Random(seed)
    at = 5.0
    while at < seconds:
        kind, action = rng.choices(list(KINDS), list(KINDS.values()))[0]
        target = {"service": rng.choice(SERVICES), "server": rng.choice(SERVERS)}.get(kind, kind)
        number = rng.choice(SIGNALS) if kind == CHILD else signal.SIGKILL
        stop_seconds = rng.uniform(0.2, 3.0) if kind == CHILD else rng.choice([0.5, 2.0, 8.0, 20.0])
        yield Fault(at, target, action, number, rng.randrange(1000), stop_seconds)
        # The platform works between faults, and some faults coincide.
        at += rng.choice([0.3, 2.0, 4.0, 6.0])


class FaultInjector:
    """Injects faults into the processes of a platform whose supervisor is `pid`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.log: list[str] = []
        self._stopped: list[asyncio.Task[None]] = []

    def find(self, target: str) -> list[psutil.Process]:
        """Find the possible processes of a target, oldest first."""
        found = []
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    if _is(process, target):
                        found.append(process)
        return sorted(found, key=lambda process: process.pid)

    async def inject(self, fault: Fault) -> None:
        """Inject a fault, if there is such a process."""
        if fault.target == CHILD:
            end = time.monotonic() + CHILD_SECONDS
            while not (found := self.find(CHILD)) and time.monotonic() < end:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        else:
            found = self.find(fault.target)
        if not found:
            self.log.append(f"{fault} (there is none)")
            return
        process = found[fault.pick % len(found)]
        with suppress(psutil.NoSuchProcess):
            self.log.append(f"{fault} [{process.pid}: {' '.join(process.cmdline())[-60:]}]")
            match fault.action:
                case "kill":
                    process.send_signal(fault.number)
                case "terminate":
                    process.terminate()
                case _:
                    process.send_signal(signal.SIGSTOP)
                    self._stopped.append(asyncio.create_task(_continue(process, fault.seconds)))

    async def close(self) -> None:
        """Continue all stopped processes."""
        for task in self._stopped:
            await task


def _is(process: psutil.Process, target: str) -> bool:
    command = process.cmdline()
    line = " ".join(command)
    if target == CHILD:
        return any(part in line for part in CHILDREN) and "services.cli" not in line
    if target == "worker":
        return process.name() == "postgres" and "-D" not in command
    if target in SERVERS:
        return process.name() == target and (target != "postgres" or "-D" in command)
    return command[-2:] == ["serve", target]


async def _continue(process: psutil.Process, seconds: float) -> None:
    await asyncio.sleep(seconds)
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGCONT)


def left_of(data: Path) -> list[str]:
    """List the processes that still use a data folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            places = [*process.cmdline(), process.cwd()]
            if any(str(data) in place for place in places) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid}: {' '.join(process.cmdline())[:100]}")
    return found
