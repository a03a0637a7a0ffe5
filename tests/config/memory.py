"""Memory: a store of secrets without a disk."""

from __future__ import annotations

from moneyprinter.errors import Conflict
from services.config.secrets import Secret


class MemorySecrets:
    """A SecretStore in memory."""

    def __init__(self) -> None:
        self._values: dict[str, list[bytes]] = {}

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
        return len(values)
