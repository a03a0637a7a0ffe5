"""The data folder of a platform, which one platform uses at a time.

lock            locked by the running platform; holds its process id
platform.json   the layout version, and the process and port of the last platform
first-account   the account that the first start created
providers.json  the keys of external providers, when an operator put them here
master-key      the key that encrypts the config service's secrets
passwords/      the passwords of the database's roles, one file each
certificates/   the authority's and the workloads' certificates and keys
postgres/ nats/ valkey/ secrets/ objects/ scratch/ logs/
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
from services.runtime.disk import DISK_FULL

LAYOUT_VERSION = 1
"""The version of the folder's layout. A platform starts only on a folder of its own version."""

# A start writes this much; the first one creates a database of 40 MB and its log.
MIN_FREE_BYTES_FIRST, MIN_FREE_BYTES = 128 << 20, 16 << 20

# `find_platform` holds the lock for an instant; a platform that starts in that instant retries.
LOCK_TRIES = 10
LOCK_PAUSE_SECONDS = 0.02


@dataclass(frozen=True)
class RunningPlatform:
    """A running platform. It may not be ready yet: see `platform.wait_until_healthy`."""

    pid: int
    url: str
    """The URL of its gateway."""


def default_folder() -> Path:
    """Return the data folder that commands use without `--data`."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "moneyprinter"


def find_platform(data: Path) -> RunningPlatform | None:
    """Return the platform that runs on a data folder; None when there is none."""
    try:
        with (data / "lock").open("rb") as file:
            if _try_lock(file.fileno(), fcntl.LOCK_SH):
                return None
            pid = int(file.read() or b"0")
        written = json.loads((data / "platform.json").read_text())
        if written["pid"] != pid:
            return None  # It has not chosen its ports yet.
        return RunningPlatform(pid, gateway_url(written["port"], tls=written.get("tls", False)))
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def lock_folder(data: Path) -> Iterator[None]:
    """Lock a data folder for this process while the context is open. Creates it when there is none.

    Raises `AlreadyRunning` when another platform runs on it, and `PlatformError` when the folder has other content,
    another layout version or too little free space, or when a file in it cannot be used. Existing content stays
    unchanged.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        had_lock = (data / "lock").exists()
        if not had_lock:
            # Before the lock file is created, so that a foreign folder stays unchanged.
            _check_ownership(data)
        file = os.fdopen(os.open(data / "lock", os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)
    except OSError as failure:
        if failure.errno in DISK_FULL:
            raise disk_full(data) from None
        raise PlatformError(
            f"cannot use {failure.filename}: {failure.strerror}; fix it, or start with another --data"
        ) from None
    with file:
        for _ in range(LOCK_TRIES):
            if _try_lock(file.fileno(), fcntl.LOCK_EX):
                break
            time.sleep(LOCK_PAUSE_SECONDS)
        else:
            raise AlreadyRunning(_already_running_message(data, file))
        try:
            if had_lock:
                _check_ownership(data)
            file.truncate(0)
            file.write(str(os.getpid()).encode())
            data.chmod(0o700)
            _check_free_space(data)
            yield
        except ResourceExhausted as failure:
            if failure.reason == "STORAGE_FULL":
                raise disk_full(data) from None
            raise
        except OSError as failure:
            if failure.errno in DISK_FULL:
                raise disk_full(data) from None
            # Only a file of the data folder is the user's to fix; any other error is a defect of the platform.
            if failure.filename is None or not Path(os.fsdecode(failure.filename)).is_relative_to(data):
                raise
            raise PlatformError(f"cannot use {failure.filename}: {failure.strerror}; fix it") from None


def gateway_url(port: int, *, tls: bool) -> str:
    """Return the URL of a gateway on this machine."""
    # Commands import this module, and need none of the services' settings.
    from services.embedded.ports import BIND

    return f"http{'s' if tls else ''}://{BIND}:{port}"


def authority_file(data: Path) -> Path:
    """Return the file of the certificate authority with which clients verify a gateway that serves TLS."""
    return data / "certificates" / "ca.pem"


def record_address(data: Path, port: int, *, tls: bool = False) -> None:
    """Record this process and its gateway's port in a data folder that it has locked, for `find_platform`."""
    written = {"version": LAYOUT_VERSION, "pid": os.getpid(), "port": port, "tls": tls}
    write_private(data / "platform.json", json.dumps(written).encode() + b"\n")


def write_private(path: Path, content: bytes) -> None:
    """Write a file atomically and durably, readable by its owner only."""
    part = path.with_name(f"{path.name}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def disk_full(data: Path) -> PlatformError:
    """Return the error for a data folder on a full disk."""
    return PlatformError(f"the disk of {data} is full; free some space, or start with another --data")


def _already_running_message(data: Path, file: IO[bytes]) -> str:
    """Return the message about the platform that holds the lock; its file may not hold a process id yet."""
    for _ in range(LOCK_TRIES):
        file.seek(0)
        if pid := file.read().decode(errors="replace").strip():
            return (
                f"a platform already runs on {data} (process {pid}); use that one, stop it with kill {pid},"
                " or start with another --data"
            )
        time.sleep(LOCK_PAUSE_SECONDS)
    return f"a platform is already starting on {data}; use that one, or start with another --data"


def _check_free_space(data: Path) -> None:
    """Raise `PlatformError` when the disk is too full to start: a later failure would leave half a folder."""
    needed = MIN_FREE_BYTES if (data / "postgres").exists() else MIN_FREE_BYTES_FIRST
    if (free := shutil.disk_usage(data).free) < needed:
        raise PlatformError(
            f"the disk of {data} is full: {free >> 20} MB are free, and {needed >> 20} MB are needed to start; "
            "free some space, or start with another --data"
        )


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _check_ownership(data: Path) -> None:
    """Raise `PlatformError` when a folder holds other files, a broken `platform.json` or another layout version."""
    file = data / "platform.json"
    if not file.exists():
        foreign = {entry.name for entry in data.iterdir()} - {"lock", "platform.json.part", "providers.json"}
        if foreign:
            raise PlatformError(
                f"{data} is not empty and is not a data folder (it holds {min(foreign)}); start with another --data"
            )
        return
    try:
        written: Any = json.loads(file.read_bytes())
        version = written["version"]
    except (ValueError, KeyError, TypeError):
        raise PlatformError(
            f'{file} is broken; if the rest of the folder is intact, write {{"version": {LAYOUT_VERSION}}} into it,'
            " or start with another --data"
        ) from None
    if version != LAYOUT_VERSION:
        raise PlatformError(
            f"{data} was made by another version of MoneyPrinter (its format is {version}, and this version needs"
            f" {LAYOUT_VERSION}); run that version, or start with another --data"
        )
