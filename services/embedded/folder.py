"""Folder: the data folder of a platform, which one platform uses at a time.

lock            held by the platform that runs, and its process id
platform.json   what made the folder, and where the last platform ran
first-account   the account that was made at first start
master-key      what the config service's secrets are encrypted with
passwords/      of the database's roles, one file each
certificates/   the authority's and the workloads'
postgres/ nats/ secrets/ objects/ scratch/ logs/
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from moneyprinter.errors import ResourceExhausted
from services.embedded.errors import AlreadyRunning, PlatformError
from services.embedded.ports import BIND
from services.runtime.errors import FULL

VERSION = 1
"""Of the folder's layout. A platform starts on a folder of its own version only."""

# What a start writes: at first a database of 40 MB and its log.
MIN_FREE_BYTES_FIRST, MIN_FREE_BYTES = 128 << 20, 16 << 20

# A look at the lock holds it for an instant; a platform that starts in that instant tries again.
LOCK_TRIES = 10
LOCK_PAUSE_SECONDS = 0.02


@dataclass(frozen=True)
class Running:
    """A platform that runs. It may not be ready yet: see `platform.healthy`."""

    pid: int
    url: str
    """Of its gateway."""


def default() -> Path:
    """The data folder of a user who names none."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "moneyprinter"


def find(data: Path) -> Running | None:
    """Find the platform that runs on a data folder; None when there is none."""
    try:
        with (data / "lock").open("rb") as file:
            if _lock(file.fileno(), fcntl.LOCK_SH):
                return None
            pid = int(file.read() or b"0")
        written = json.loads((data / "platform.json").read_text())
        if written["pid"] != pid:
            return None  # it has not got as far as choosing its ports
        return Running(pid, url(written["port"], tls=written.get("tls", False)))
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """Have a data folder for ourselves while the context is open; it is made when there is none.

    Raises PlatformError when another platform runs on it, or it is not a folder that we can use.
    Whatever it holds is left as it is.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        had_lock = (data / "lock").exists()
        if not had_lock:
            # So that no file is left in a folder that is not ours.
            _check(data)
        file = os.fdopen(os.open(data / "lock", os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)
    except OSError as failure:
        if failure.errno in FULL:
            raise disk_full(data) from None
        raise PlatformError(
            f"cannot use {failure.filename}: {failure.strerror}; put it right, or start with another --data"
        ) from None
    with file:
        for _ in range(LOCK_TRIES):
            if _lock(file.fileno(), fcntl.LOCK_EX):
                break
            time.sleep(LOCK_PAUSE_SECONDS)
        else:
            raise AlreadyRunning(_already_running(data, file))
        try:
            if had_lock:
                _check(data)
            file.truncate(0)
            file.write(str(os.getpid()).encode())
            data.chmod(0o700)
            _check_room(data)
            yield
        except ResourceExhausted as failure:
            if failure.reason == "STORAGE_FULL":
                raise disk_full(data) from None
            raise
        except OSError as failure:
            if failure.errno in FULL:
                raise disk_full(data) from None
            # A part of the folder that cannot be read or written; anything else is a defect of ours.
            if failure.filename is None or not Path(os.fsdecode(failure.filename)).is_relative_to(data):
                raise
            raise PlatformError(f"cannot use {failure.filename}: {failure.strerror}; put it right") from None


def url(port: int, *, tls: bool) -> str:
    """Where a gateway on this machine is reached."""
    return f"http{'s' if tls else ''}://{BIND}:{port}"


def trusted(data: Path) -> Path:
    """The authority that clients of a gateway with TLS trust."""
    return data / "certificates" / "ca.pem"


def announce(data: Path, port: int, *, tls: bool = False) -> None:
    """Write down that this process runs on a data folder that it has locked, and where its gateway is reached."""
    written = {"version": VERSION, "pid": os.getpid(), "port": port, "tls": tls}
    write_private(data / "platform.json", json.dumps(written).encode() + b"\n")


def write_private(path: Path, content: bytes) -> None:
    """Write a file that its owner alone reads, whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def disk_full(data: Path) -> PlatformError:
    """The error for a data folder on a full disk."""
    return PlatformError(f"the disk of {data} is full; free some space, or start with another --data")


def _already_running(data: Path, file: IO[bytes]) -> str:
    """What to say of the platform that holds the lock, whose file may not have its process id yet."""
    for _ in range(LOCK_TRIES):
        file.seek(0)
        if pid := file.read().decode(errors="replace").strip():
            return (
                f"a platform runs on {data} already (process {pid}); use that one, stop it with kill {pid},"
                " or start with another --data"
            )
        time.sleep(LOCK_PAUSE_SECONDS)
    return f"a platform is starting on {data} already; use that one, or start with another --data"


def _check_room(data: Path) -> None:
    """Raise PlatformError when the disk has too little room to start: to fail later would leave half a folder."""
    needed = MIN_FREE_BYTES if (data / "postgres").exists() else MIN_FREE_BYTES_FIRST
    if (free := shutil.disk_usage(data).free) < needed:
        raise PlatformError(
            f"the disk of {data} is full: {free >> 20} MB are free, and {needed >> 20} MB are needed to start; "
            "free some space, or start with another --data"
        )


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _check(data: Path) -> None:
    """Raise PlatformError when a folder is not ours to use."""
    file = data / "platform.json"
    if not file.exists():
        strangers = {entry.name for entry in data.iterdir()} - {"lock", "platform.json.part"}
        if strangers:
            raise PlatformError(
                f"{data} is not empty, and no platform's (it holds {min(strangers)}); start with another --data"
            )
        return
    try:
        written: Any = json.loads(file.read_bytes())
        version = written["version"]
    except (ValueError, KeyError, TypeError):
        raise PlatformError(
            f'{file} is broken; if the rest of the folder is good, write {{"version": {VERSION}}} into it,'
            " or start with another --data"
        ) from None
    if version != VERSION:
        raise PlatformError(
            f"{data} was made by another version of MoneyPrinter (its format is {version}, and this is {VERSION});"
            " run that version, or start with another --data"
        )
