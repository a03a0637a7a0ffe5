"""Scratch: the folder in which one instance of a service has files of work in progress, in plaintext.

An instance holds a lock on its folder for as long as it lives, whatever becomes of it. At the start of any service, the
folders that are not locked are removed: their instances are dead, whether or not another process has their pid by now.
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

from services.runtime.config import SERVICES

_NAME = re.compile(rf"({'|'.join(SERVICES)})-(?P<pid>\d+)(?P<locked>-\w+)?")


class Scratch:
    """The folder of this instance below `root`; it is made when it is first needed."""

    def __init__(self, root: Path, service: str) -> None:
        self._root = root
        self._service = service
        self._folder: Path | None = None
        self._lock = -1

    def folder(self) -> Path:
        """Make a new folder within, for one piece of work. Raises OSError."""
        return Path(tempfile.mkdtemp(dir=self._folder or self._make()))

    def _make(self) -> Path:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(self._root):
            folder = Path(tempfile.mkdtemp(prefix=f"{self._service}-{os.getpid()}-", dir=self._root))
            self._lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._folder = folder
        return folder

    def close(self) -> None:
        """Remove the folder."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)
            self._folder = None


def clear(root: Path) -> None:
    """Remove the folders of instances, of whatever service, that are dead."""
    # Nothing is there yet, or it is another user's.
    with suppress(OSError), _locked(root):
        for folder in root.iterdir():
            found = _NAME.fullmatch(folder.name)
            if found and folder.is_dir() and not folder.is_symlink() and _is_dead(folder, found):
                shutil.rmtree(folder, ignore_errors=True)


def _is_dead(folder: Path, name: re.Match[str]) -> bool:
    if not name["locked"]:
        # Versions before this one held no lock.
        pid = int(name["pid"])
        return pid == os.getpid() or not psutil.pid_exists(pid)
    with suppress(OSError), _locked(folder, wait=False):
        return True
    return False


@contextmanager
def _locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a folder while the context is open. Raises OSError when it is taken, unless it waits."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(lock)
