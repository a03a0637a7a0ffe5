"""Cache: a SecretStore that keeps what it has read, so that services work on while the store behind it is away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from moneyprinter.errors import Conflict, Unavailable
from services.config.secrets import Secret, SecretStore, StoredVersion

log = structlog.get_logger()


@dataclass(frozen=True)
class _Entry:
    secret: Secret
    read_at: float


class CachedSecrets:
    """A SecretStore in front of another one.

    A secret is read again after `fresh_seconds`, so that no instance returns a version that was replaced longer ago.
    While the store behind is unavailable, what was read in the last `stale_seconds` is returned. Absent secrets and
    errors are not kept.
    """

    def __init__(
        self, store: SecretStore, fresh_seconds: float, stale_seconds: float, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._fresh_seconds = fresh_seconds
        self._stale_seconds = stale_seconds
        self._clock = clock
        self._entries: dict[str, _Entry] = {}

    async def find_newest(self, name: str) -> Secret | None:
        """Return the newest version as it is, or was less than `fresh_seconds` ago."""
        entry = self._entries.get(name)
        age = self._clock() - entry.read_at if entry else 0.0
        if entry and age < self._fresh_seconds:
            return entry.secret
        try:
            secret = await self._store.find_newest(name)
        except Unavailable:
            if entry and age < self._stale_seconds:
                log.warning("an earlier read of a secret is used", name=name, age_seconds=round(age))
                return entry.secret
            raise
        self._keep(name, secret)
        return secret

    async def add(self, name: str, value: bytes, replaces_version: int) -> int:
        """Store the next version. Raises `Conflict` when the newest version is not `replaces_version`."""
        try:
            version = await self._store.add(name, value, replaces_version)
        except Conflict:
            self._entries.pop(name, None)
            raise
        self._keep(name, Secret(value, version))
        return version

    async def list_versions(self, name: str) -> list[StoredVersion]:
        """Return the versions of the store behind, the newest first."""
        return await self._store.list_versions(name)

    def _keep(self, name: str, secret: Secret | None) -> None:
        if secret is None:
            self._entries.pop(name, None)
            return
        kept = self._entries.get(name)
        # A slow read may end after a write that followed it.
        if kept is None or kept.secret.version <= secret.version:
            self._entries[name] = _Entry(secret, self._clock())
