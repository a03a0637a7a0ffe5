"""The platform that a command calls: one on this machine, by its folder, or any other, by its address."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from services.commands.errors import WrongRequest
from services.embedded import data_folder

_PORTS = {"http": 80, "https": 443}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Target:
    """A platform: the one of a data folder on this machine, or the one at an address."""

    folder: Path | None = None
    """The data folder; None when the platform is named by its address."""
    url: str = ""
    """The address, `https://host:port`; empty when the platform is named by its folder."""

    @property
    def state_folder(self) -> Path:
        """The folder with this machine's session and the last verified state of the audit log."""
        if self.folder is not None:
            return self.folder
        home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        return Path(home) / "moneyprinter" / re.sub(r"[^a-z0-9.]+", "-", self.url)

    def __str__(self) -> str:
        return self.url or str(self.folder)


def parse_target(text: str | None) -> Target:
    """Parse the value of `--data` or `--url`; None means the default folder.

    Raises `WrongRequest` when an address has no host, is not http or https, or would send passwords in plain text.
    """
    if text is None or "://" not in text:
        return Target((Path(text).expanduser() if text else data_folder.default_folder()).resolve())
    where = urlsplit(text.strip().lower())
    try:
        port = where.port or _PORTS.get(where.scheme)
    except ValueError:
        port = None
    if where.scheme not in _PORTS or not where.hostname or port is None or where.username or where.path.strip("/"):
        raise WrongRequest(f"{text} is not the address of a platform; write for example https://videos.example.com")
    if where.scheme == "http" and where.hostname not in _LOOPBACK:
        raise WrongRequest(f"{text} would send passwords in plain text; write https://")
    host = f"[{where.hostname}]" if ":" in where.hostname else where.hostname
    return Target(url=f"{where.scheme}://{host}:{port}")
