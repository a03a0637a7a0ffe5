"""Secrets: read and write versions of named values; a name's first part is the workload that owns it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from moneyprinter.errors import Error, NotFound, PermissionDenied


@dataclass(frozen=True)
class Secret:
    """A version of a secret."""

    value: bytes = field(repr=False)
    """What is kept."""
    version: int
    """1 for the first value, one more for each that replaced it."""


@dataclass(frozen=True)
class Access:
    """That a workload asked for a secret, for the log. It never holds a value."""

    action: str
    """`read` or `write`."""
    name: str
    """The secret."""
    caller: str
    """The workload."""
    version: int
    """The version read or written; 0 when there is none, or the caller was refused."""
    outcome: str
    """`done`, or the reason why not."""


Audit = Callable[[Access], None]


class SecretStore(Protocol):
    """Where secrets are kept: files of ours, memory, or Vault."""

    async def newest(self, name: str) -> Secret | None:
        """The newest version; None when there is none. Raises DataLoss when it was altered."""

    async def add(self, name: str, value: bytes, replaces_version: int) -> int:
        """Keep `value` as the version after `replaces_version` (0: as the first), and return its version.

        Raises Conflict when the newest version is another one.
        """


async def read(store: SecretStore, audit: Audit, caller: str, name: str) -> Secret:
    """Read the newest version of a secret of the caller's. Raises NotFound."""

    async def found() -> Secret:
        if secret := await store.newest(name):
            return secret
        raise NotFound(f"there is no secret {name}", reason="SECRET_NOT_FOUND")

    try:
        _owned(caller, name)
        secret = await found()
    except Error as failure:
        audit(Access("read", name, caller, 0, failure.reason))
        raise
    audit(Access("read", name, caller, secret.version, "done"))
    return secret


async def write(store: SecretStore, audit: Audit, caller: str, name: str, new: Secret) -> int:
    """Write a secret of the caller's as `new.version`, which must be the one after the newest. Raises Conflict."""
    try:
        _owned(caller, name)
        version = await store.add(name, new.value, new.version - 1)
    except Error as failure:
        audit(Access("write", name, caller, 0, failure.reason))
        raise
    audit(Access("write", name, caller, version, "done"))
    return version


def _owned(caller: str, name: str) -> None:
    owner = name.partition("/")[0]
    if caller != owner:
        raise PermissionDenied(
            f"{name} belongs to {owner}; {caller} has the names {caller}/...", reason="CALLER_NOT_ALLOWED"
        )
