"""Encrypted files: secrets in a folder, one file a version, for machines without a Vault.

A file is named after the SHA-256 of its secret's name, and its version. It holds the envelope of `runtime.encryption`.
Name and version are authenticated with the value, so that no file can replace another one. An attacker who can write
to the folder can only delete the newest version without detection.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import time
from pathlib import Path

from moneyprinter.errors import Conflict, DataLoss
from services.config.secrets import Secret, StoredVersion
from services.runtime.config import ConfigError
from services.runtime.encryption import KEY_BYTES, AesGcmCipher

MAGIC = b"MPS1"

# Shows that the master key is the folder's. No workload's secret has this name: theirs contain a `/`.
_CANARY = "canary"
# Longer than any write may take.
_ABANDONED_SECONDS = 60.0


def read_key(path: Path) -> bytes:
    """Return the master key in a file. Raises `ConfigError` when there is none."""
    try:
        key = path.read_bytes()
    except OSError as failure:
        raise ConfigError(
            f"the master key cannot be read: {failure}; set MONEYPRINTER_CONFIG_MASTER_KEY_FILE to a file of "
            f"{KEY_BYTES} random bytes"
        ) from None
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{path} holds {len(key)} bytes; a master key is {KEY_BYTES} random bytes")
    return key


class EncryptedFiles:
    """A SecretStore in a folder."""

    def __init__(self, folder: Path, key: bytes) -> None:
        self._folder = folder
        self._cipher = AesGcmCipher(key, MAGIC)

    async def open(self) -> None:
        """Create the folder, delete the temporary files of dead processes, and check the key.

        Raises `ConfigError` when the folder cannot be used, or was created with another key.
        """
        try:
            await asyncio.to_thread(self._open)
        except OSError as failure:
            raise ConfigError(f"the folder of the secrets cannot be used: {failure}") from None
        try:
            if await self.find_newest(_CANARY) is None:
                await self.add(_CANARY, b"", 0)
        except DataLoss:
            raise ConfigError(
                f"{self._folder} was made with another master key; bring that key back, or start with an empty folder"
            ) from None
        except Conflict:
            await self.open()

    async def check(self) -> None:
        """Raise `DataLoss` or `OSError` when the secrets cannot be read."""
        await self.find_newest(_CANARY)

    def _open(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part in self._folder.glob("*.part"):
            if time.time() - part.stat().st_mtime > _ABANDONED_SECONDS:
                part.unlink(missing_ok=True)

    async def find_newest(self, name: str) -> Secret | None:
        """Return the newest version; None when there is none. Raises `DataLoss` when it was altered."""
        return await asyncio.to_thread(self._find_newest, name)

    def _find_newest(self, name: str) -> Secret | None:
        version = self._newest_version(name)
        return Secret(self._decrypt(name, version), version) if version else None

    async def add(self, name: str, value: bytes, replaces_version: int) -> int:
        """Store the next version. Raises `Conflict` when the newest version is not `replaces_version`."""
        return await asyncio.to_thread(self._add, name, value, replaces_version)

    def _add(self, name: str, value: bytes, replaces_version: int) -> int:
        conflict = Conflict(
            f"{name} is no longer at version {replaces_version}; read it again", reason="SECRET_CONFLICT"
        )
        if self._newest_version(name) != replaces_version:
            raise conflict
        version = replaces_version + 1
        try:
            self._write(self._path(name, version), self._cipher.encrypt(value, _associated_data(name, version)))
        except FileExistsError:
            raise conflict from None
        return version

    def _write(self, path: Path, data: bytes) -> None:
        """Write a file and flush it to disk, completely or not at all. Raises `FileExistsError`."""
        part = path.with_suffix(f".{secrets.token_hex(8)}.part")
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            # A link, not a rename, which would replace the file that another process wrote meanwhile.
            os.link(part, path)
        finally:
            part.unlink(missing_ok=True)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _decrypt(self, name: str, version: int) -> bytes:
        problem = (
            f"version {version} of {name} was altered, or was written with another key; restore the folder of "
            "the secrets from a backup"
        )
        return self._cipher.decrypt(self._path(name, version).read_bytes(), _associated_data(name, version), problem)

    async def list_versions(self, name: str) -> list[StoredVersion]:
        """Return the versions, the newest first, with the times of their files."""
        return await asyncio.to_thread(self._list_versions, name)

    def _list_versions(self, name: str) -> list[StoredVersion]:
        numbers = range(self._newest_version(name), 0, -1)
        files = ((number, self._path(name, number)) for number in numbers)
        return [StoredVersion(number, file.stat().st_mtime) for number, file in files if file.exists()]

    def _newest_version(self, name: str) -> int:
        """Return the newest version's number; 0 when there is none."""
        stem = self._path(name, 0).stem
        suffixes = (path.suffix.removeprefix(".") for path in self._folder.glob(f"{stem}.*"))
        return max((int(suffix) for suffix in suffixes if suffix.isdecimal()), default=0)

    def _path(self, name: str, version: int) -> Path:
        return self._folder / f"{hashlib.sha256(name.encode()).hexdigest()}.{version}"


def _associated_data(name: str, version: int) -> bytes:
    return f"moneyprinter secret {name} {version}".encode()
