"""Scratch: the folder for the temporary files of one instance of a service, in plaintext.

An instance holds a lock on its folder until it dies. The start of any service removes the folders without a lock: their
instances are dead, even if another process has their pid by now.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from services.runtime.config import CLUSTER_SERVICES, SERVICES

_NAME = re.compile(rf"({'|'.join((*SERVICES, *CLUSTER_SERVICES))})-(?P<pid>\d+)(?P<locked>-\w+)?")


class Scratch:
    """The folder of this instance below `root`, created at first use."""

    def __init__(self, root: Path, service: str) -> None:
        self._root = root
        self._service = service
        self._folder: Path | None = None
        self._lock = -1

    def folder(self) -> Path:
        """Create a new folder for one piece of work. Raises `OSError` when the disk refuses it."""
        return Path(tempfile.mkdtemp(dir=self._folder or self._make()))

    def _make(self) -> Path:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _lock(self._root):
            folder = Path(tempfile.mkdtemp(prefix=f"{self._service}-{os.getpid()}-", dir=self._root))
            self._lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._folder = folder
        return folder

    def close(self) -> None:
        """Remove the folder of this instance."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)
            self._folder = None


def clear(root: Path) -> None:
    """Remove the folders of dead instances of all services."""
    # The root does not exist yet, or belongs to another user.
    with suppress(OSError), _lock(root):
        for folder in root.iterdir():
            found = _NAME.fullmatch(folder.name)
            if found and folder.is_dir() and not folder.is_symlink() and _is_dead(folder, found):
                shutil.rmtree(folder, ignore_errors=True)


def _is_dead(folder: Path, name: re.Match[str]) -> bool:
    if not name["locked"]:
        # Earlier versions held no lock.
        pid = int(name["pid"])
        return pid == os.getpid() or not psutil.pid_exists(pid)
    with suppress(OSError), _lock(folder, wait=False):
        return True
    return False


@contextmanager
def _lock(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a folder while the context is open. Without `wait`, raises `OSError` when it is taken."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(lock)
