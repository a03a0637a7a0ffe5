"""Checks of an installation: whether this machine has what the laptop platform needs, and each program runs."""

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

from services.embedded import binaries
from services.embedded.errors import PlatformError

MIN_DISK_BYTES = 2_000_000_000
MIN_MEMORY_BYTES = 2_000_000_000
RUN_SECONDS = 20.0


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    passed: bool
    detail: str
    """The version or amount found; for a failed check, what is wrong and what to do."""


def run_checks(data: Path) -> Iterator[Check]:
    """Check this machine and the installation for a platform on the folder `data`. Yields one result at a time."""
    yield _check("Python", _check_python)
    yield _check("PostgreSQL", lambda: _read_version(binaries.postgres_program("postgres")))
    yield _check("NATS", lambda: _read_version(binaries.nats_program()))
    yield _check("Valkey", lambda: _read_version(binaries.valkey_program()))
    yield _check("Envoy", lambda: _read_version(binaries.envoy_program()))
    yield _check("ffmpeg", lambda: _read_version(binaries.ffmpeg_program(), "-version"))
    yield _check("espeak-ng", _check_espeak)
    yield _check("voice", _describe_voice)
    yield _check("fonts", _count_fonts)
    yield _check("disk", lambda: _check_disk(data))
    yield _check("memory", _check_memory)


def _check(name: str, inspect: Callable[[], str]) -> Check:
    try:
        return Check(name, True, inspect())
    except (PlatformError, OSError, subprocess.SubprocessError) as failure:
        return Check(name, False, " ".join(str(failure).split()))


def _check_python() -> str:
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise PlatformError(f"{platform.system()} on {platform.machine()}: the laptop platform needs Linux on x86_64")
    return f"{platform.python_version()} ({sys.executable})"


def _read_version(program: Path, option: str = "--version") -> str:
    """Run a program with its version option and return the first line of its output."""
    result = subprocess.run([program, option], capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
    if result.returncode:
        raise PlatformError(f"{program} does not run: {(result.stderr or result.stdout).strip()[-200:]}")
    lines = [line.strip() for line in result.stdout.splitlines() if line.strip()]
    return lines[0][:70] if lines else str(program)


def _check_espeak() -> str:
    library = binaries.espeak_library()
    ctypes.CDLL(str(library))
    binaries.espeak_data()
    return library.name


def _describe_voice() -> str:
    """Return which voice speaks. A platform without the neural one works."""
    if binaries.kokoro_model():
        return "Kokoro, neural"
    return "espeak-ng only; the neural voice is not installed (rm .venv/setup-*; scripts/setup)"


def _count_fonts() -> str:
    return f"{len([font for folder in binaries.font_folders() for font in folder.rglob('*.?tf')])} files"


def _check_disk(data: Path) -> str:
    existing = next(path for path in (data, *data.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        raise PlatformError(f"{existing} is not writable; choose another --data")
    free = shutil.disk_usage(existing).free
    if free < MIN_DISK_BYTES:
        raise PlatformError(f"{existing} has {free / 1e9:.1f} GB free, and videos need at least 2 GB: free some space")
    return f"{free / 1e9:.0f} GB free at {existing}"


def _check_memory() -> str:
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size < MIN_MEMORY_BYTES:
        raise PlatformError(f"{size / 1e9:.1f} GB of memory; rendering at 1080p needs 2 GB")
    return f"{size / 1e9:.0f} GB, {os.cpu_count()} cores"
