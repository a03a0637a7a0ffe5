"""Measures wall time, CPU time and peak memory of a process and its children."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Took:
    """The figures of one piece of work."""

    wall_seconds: float
    cpu_seconds: float
    resident_mb: float
    """The peak of the summed resident memory of all processes; a shared page counts in each."""
    proportional_mb: float
    """The peak of the summed proportional memory; a shared page counts once."""


class MemorySampler:
    """Samples the memory of a process and its children."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.resident_mb = self.proportional_mb = 0.0

    def __enter__(self) -> MemorySampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            resident = proportional = 0
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(self._pid)
                for each in (process, *process.children(recursive=True)):
                    with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                        resident += each.memory_info().rss
                        proportional += _proportional(each.pid)
            self.resident_mb = max(self.resident_mb, resident / 1e6)
            self.proportional_mb = max(self.proportional_mb, proportional / 1e6)


def _proportional(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def run(command: Sequence[str]) -> Took:
    """Run a program to its end."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    with MemorySampler(process.pid) as watch:
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{command[0]} ended with {process.returncode}"
    wall = time.monotonic() - began
    return Took(wall, usage.ru_utime + usage.ru_stime, watch.resident_mb, watch.proportional_mb)


class Worker:
    """A running program that executes one task per line and responds with its figures."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def do(self, message: Mapping[str, Any]) -> tuple[Took, dict[str, Any]]:
        """Execute a task. Returns its figures and the whole response."""
        assert self._process.stdin is not None
        with MemorySampler(self._process.pid) as watch:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
            response = self.read_response()
        took = Took(response.pop("wall"), response.pop("cpu"), watch.resident_mb, watch.proportional_mb)
        return took, response

    def read_response(self) -> dict[str, Any]:
        """Read the next response."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the worker ended; what it printed above says why"
        response: dict[str, Any] = json.loads(line)
        return response


@contextmanager
def worker(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Worker]:
    """Run a worker program while the context is open. The body begins once it has started."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    try:
        running = Worker(process)
        running.read_response()
        yield running
    finally:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        process.wait()
        process.stdout.close()
