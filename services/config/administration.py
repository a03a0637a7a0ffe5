"""Administration: lists, reads, replaces and rotates secrets and keys for administrators."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from moneyprinter.errors import InvalidArgument, NotFound
from services.config.catalogue import CONFIG, KINDS, SecretKind, find_kind
from services.config.keys import KeyWrapper
from services.config.secrets import Audit, Secret, SecretAccess, SecretStore, StoredVersion

MAX_VERSIONS = 100


@dataclass(frozen=True)
class SecretState:
    """A secret or a key, and its newest version."""

    kind: SecretKind
    newest: StoredVersion
    is_due: bool


class SecretAdministration:
    """The operations of administrators, each with an entry of the log that names the account."""

    def __init__(self, store: SecretStore, wrapper: KeyWrapper, audit: Audit, now: Callable[[], datetime]) -> None:
        self._store = store
        self._wrapper = wrapper
        self._audit = audit
        self._now = now

    async def list_states(self) -> list[SecretState]:
        """Return the secrets and keys that exist, by name."""
        found = [(kind, await self._list_versions(kind)) for kind in sorted(KINDS, key=lambda kind: kind.name)]
        return [SecretState(kind, versions[0], self._is_due(kind, versions[0])) for kind, versions in found if versions]

    async def read(self, account_id: str, name: str) -> Secret:
        """Return the newest version of a secret that operators write.

        Raises `NotFound` when there is none, and `InvalidArgument` when the platform makes it for itself.
        """
        _require_editable(name)
        secret = await self._store.find_newest(name)
        self._audit(SecretAccess("reveal", name, account_id, secret.version if secret else 0, "done"))
        if secret is None:
            raise NotFound(f"there is no secret {name}", reason="SECRET_NOT_FOUND")
        return secret

    async def replace(self, account_id: str, name: str, value: str, replaces_version: int) -> int:
        """Store the next version of a secret that operators write, and return it.

        Raises `Conflict` when the newest version is not `replaces_version`, and `InvalidArgument` when the value is no
        JSON object, or the platform makes the secret for itself.
        """
        _require_editable(name)
        try:
            is_object = isinstance(json.loads(value), dict)
        except ValueError:
            is_object = False
        if not is_object:
            raise InvalidArgument(f"the value of {name} must be a JSON object", reason="REQUEST_INVALID")
        version = await self._store.add(name, value.encode(), replaces_version)
        self._audit(SecretAccess("replace", name, account_id, version, "done"))
        return version

    async def rotate(self, account_id: str, name: str) -> int:
        """Add a version to a key-encryption key, and return it.

        Raises `NotFound` when there is none, and `InvalidArgument` when it is rotated otherwise.
        """
        kind = find_kind(name)
        if kind.rotated_by != CONFIG:
            raise InvalidArgument(f"{name} is not rotated here: {kind.procedure}", reason="REQUEST_INVALID")
        version = await self._wrapper.rotate(name)
        self._audit(SecretAccess("rotate", name, account_id, version, "done"))
        return version

    async def list_versions(self, name: str) -> list[StoredVersion]:
        """Return the newest versions of a secret or a key, the newest first. Raises `NotFound` when there is none."""
        versions = await self._list_versions(find_kind(name))
        if not versions:
            raise NotFound(f"there is no secret {name}", reason="SECRET_NOT_FOUND")
        return versions[:MAX_VERSIONS]

    async def rotate_due_keys(self) -> list[str]:
        """Rotate the keys whose time has come, and return their names."""
        due = [state.kind for state in await self.list_states() if state.is_due and state.kind.rotated_by == CONFIG]
        for kind in due:
            await self.rotate(CONFIG, kind.name)
        return [kind.name for kind in due]

    async def _list_versions(self, kind: SecretKind) -> list[StoredVersion]:
        keeper: _Versions = self._wrapper if kind.store == "key" else self._store
        return await keeper.list_versions(kind.name)

    def _is_due(self, kind: SecretKind, newest: StoredVersion) -> bool:
        age = self._now() - datetime.fromtimestamp(newest.created, UTC)
        return bool(kind.rotation_days) and age >= timedelta(days=kind.rotation_days)


class _Versions(Protocol):
    async def list_versions(self, name: str) -> list[StoredVersion]: ...


def _require_editable(name: str) -> None:
    if not find_kind(name).is_editable:
        raise InvalidArgument(
            f"{name} is made by the platform for itself; its value is neither returned nor replaced",
            reason="REQUEST_INVALID",
        )
