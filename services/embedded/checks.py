"""Checks of an installation: whether all that the laptop platform needs is here and runs."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from services.embedded import wheels
from services.embedded.errors import PlatformError

LEAST_DISK_BYTES = 2_000_000_000
LEAST_MEMORY_BYTES = 2_000_000_000
RUN_SECONDS = 20.0


@dataclass(frozen=True)
class Check:
    """What was checked, and what was found."""

    name: str
    passed: bool
    found: str
    """What is there, or what is wrong and what to do."""


def run_checks(data: Path) -> Iterator[Check]:
    """Check this machine and the installation, for a platform whose folder is `data`."""
    yield _check("Python", _python)
    yield _check("PostgreSQL", lambda: _version(wheels.postgres("postgres")))
    yield _check("NATS", lambda: _version(wheels.nats()))
    yield _check("Envoy", lambda: _version(wheels.envoy()))
    yield _check("ffmpeg", lambda: _version(wheels.ffmpeg(), "-version"))
    yield _check("espeak-ng", _espeak)
    yield _check("fonts", _fonts)
    yield _check("disk", lambda: _disk(data))
    yield _check("memory", _memory)


def _check(name: str, find: Callable[[], str]) -> Check:
    try:
        return Check(name, True, find())
    except (PlatformError, OSError, subprocess.SubprocessError) as failure:
        return Check(name, False, " ".join(str(failure).split()))


def _python() -> str:
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise PlatformError(f"{platform.system()} on {platform.machine()}: the laptop platform needs Linux on x86_64")
    return f"{platform.python_version()} ({sys.executable})"


def _version(program: Path, option: str = "--version") -> str:
    """The first line of what a program prints of its version."""
    done = subprocess.run([program, option], capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
    if done.returncode:
        raise PlatformError(f"{program} does not run: {(done.stderr or done.stdout).strip()[-200:]}")
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return lines[0][:70] if lines else str(program)


def _espeak() -> str:
    library = wheels.espeak_library()
    ctypes.CDLL(str(library))
    wheels.espeak_data()
    return library.name


def _fonts() -> str:
    return f"{len([font for folder in wheels.fonts() for font in folder.rglob('*.?tf')])} files"


def _disk(data: Path) -> str:
    there = next(path for path in (data, *data.parents) if path.exists())
    if not os.access(there, os.W_OK):
        raise PlatformError(f"{there} cannot be written; choose another --data")
    free = shutil.disk_usage(there).free
    if free < LEAST_DISK_BYTES:
        raise PlatformError(f"{free / 1e9:.1f} GB are free at {there}; videos need at least 2 GB: make room")
    return f"{free / 1e9:.0f} GB free at {there}"


def _memory() -> str:
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size < LEAST_MEMORY_BYTES:
        raise PlatformError(f"{size / 1e9:.1f} GB of memory; rendering at 1080p takes 2 GB")
    return f"{size / 1e9:.0f} GB, {os.cpu_count()} cores"
