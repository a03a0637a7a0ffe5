"""Memory: a store of secrets without a disk."""

from __future__ import annotations

import time

from moneyprinter.errors import Conflict
from services.config.secrets import Secret, StoredVersion


class MemorySecrets:
    """A SecretStore in memory."""

    def __init__(self) -> None:
        self._values: dict[str, list[bytes]] = {}
        self._times: dict[tuple[str, int], float] = {}

    async def find_newest(self, name: str) -> Secret | None:
        values = self._values.get(name, [])
        return Secret(values[-1], len(values)) if values else None

    async def add(self, name: str, value: bytes, replaces_version: int) -> int:
        values = self._values.setdefault(name, [])
        if len(values) != replaces_version:
            raise Conflict(
                f"{name} is at version {len(values)}, not {replaces_version}; read it again", reason="SECRET_CONFLICT"
            )
        values.append(value)
        self._times[name, len(values)] = time.time()
        return len(values)

    async def list_versions(self, name: str) -> list[StoredVersion]:
        numbers = range(len(self._values.get(name, [])), 0, -1)
        return [StoredVersion(number, self._times[name, number]) for number in numbers]
