"""Secrets: versions of named values. The first part of a name is the workload that owns the secret."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from moneyprinter.errors import Error, NotFound, PermissionDenied


@dataclass(frozen=True)
class Secret:
    """A version of a secret."""

    value: bytes = field(repr=False)
    version: int
    """1 for the first value, one more for each value that replaced it."""


@dataclass(frozen=True)
class StoredVersion:
    """A version of a secret or a key, without its value."""

    version: int
    created: float
    """When it was made, in seconds since 1970."""


@dataclass(frozen=True)
class SecretAccess:
    """A workload's access to a secret, or use of a key-encryption key, for the log. It never holds a value."""

    action: str
    """`read` or `write` of a secret, `wrap`, `unwrap` or `rewrap` by a key."""
    name: str
    """The secret, or the key-encryption key."""
    caller: str
    """The workload."""
    version: int
    """The version that was read or written; 0 when there is none, or the caller was refused."""
    outcome: str
    """`done`, or the reason of the error."""


Audit = Callable[[SecretAccess], None]


class SecretStore(Protocol):
    """The store of secrets: encrypted files, memory, or Vault."""

    async def find_newest(self, name: str) -> Secret | None:
        """Return the newest version; None when there is none. Raises `DataLoss` when it was altered."""

    async def add(self, name: str, value: bytes, replaces_version: int) -> int:
        """Store `value` as the version after `replaces_version` (0: as the first), and return its version.

        Raises `Conflict` when the newest version is not `replaces_version`.
        """

    async def list_versions(self, name: str) -> list[StoredVersion]:
        """Return the versions, the newest first."""


async def read_secret(store: SecretStore, audit: Audit, caller: str, name: str) -> Secret:
    """Return the newest version of a secret of the caller.

    Raises `NotFound`, and `PermissionDenied` when the secret belongs to another workload.
    """
    try:
        require_owner(caller, name)
        secret = await _require_newest(store, name)
    except Error as failure:
        audit(SecretAccess("read", name, caller, 0, failure.reason))
        raise
    audit(SecretAccess("read", name, caller, secret.version, "done"))
    return secret


async def write_secret(
    store: SecretStore, audit: Audit, caller: str, name: str, value: bytes, replaces_version: int
) -> int:
    """Store the version after `replaces_version` of a secret of the caller, and return its version.

    Raises `Conflict` when the newest version is not `replaces_version`, and `PermissionDenied` when the secret belongs
    to another workload.
    """
    try:
        require_owner(caller, name)
        version = await store.add(name, value, replaces_version)
    except Error as failure:
        audit(SecretAccess("write", name, caller, 0, failure.reason))
        raise
    audit(SecretAccess("write", name, caller, version, "done"))
    return version


async def _require_newest(store: SecretStore, name: str) -> Secret:
    if secret := await store.find_newest(name):
        return secret
    raise NotFound(f"there is no secret {name}", reason="SECRET_NOT_FOUND")


def require_owner(caller: str, name: str) -> None:
    """Raise `PermissionDenied` when a secret or a key belongs to another workload than the caller."""
    owner = name.partition("/")[0]
    if caller != owner:
        raise PermissionDenied(
            f"{name} belongs to {owner}; {caller} has the names {caller}/...", reason="CALLER_NOT_ALLOWED"
        )
