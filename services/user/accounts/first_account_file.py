"""First account file: the file that shows the first account's password to the operator of the platform."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from services.runtime.config import ConfigError


class PrivateFile:
    """A file with username and password, readable by its owner only."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def claim(self, username: str, password: str) -> str:
        """Write username and password unless the file exists; return the password that the file holds.

        Raises `ConfigError` when the file cannot be written, or holds something else.
        """
        try:
            self._write(json.dumps({"username": username, "password": password}))
        except FileExistsError:
            return self._read()
        except OSError as failure:
            raise ConfigError(
                f"the first account cannot be written: {failure}; set MONEYPRINTER_USER_FIRST_ACCOUNT_FILE to a "
                "file in a folder that can be written"
            ) from None
        return password

    def remove(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)

    def _write(self, text: str) -> None:
        """Write the file completely or not at all. Raises `FileExistsError`."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self._path.with_name(f".{self._path.name}.{secrets.token_hex(8)}")
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(part, self._path)
        finally:
            part.unlink(missing_ok=True)

    def _read(self) -> str:
        try:
            password = json.loads(self._path.read_text())["password"]
        except (OSError, ValueError, KeyError, TypeError):
            password = None
        if not isinstance(password, str) or not password:
            raise ConfigError(f"{self._path} holds no first account, and there is no account yet; remove the file")
        return password
