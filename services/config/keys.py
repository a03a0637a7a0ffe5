"""Keys: key-encryption keys, which wrap the data keys of workloads and are never returned.

The first part of a name is the workload that owns the key, as with secrets. A key has versions: the newest one wraps,
and each earlier one unwraps what it has wrapped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from moneyprinter.errors import DataLoss, Error
from services.config.secrets import Audit, SecretAccess, StoredVersion, require_owner

T = TypeVar("T")


class KeyWrapper(Protocol):
    """Key-encryption keys by name: those in the store of the secrets, or in Vault's transit engine.

    `context` is authenticated with a wrapped key. A method with a wrapped key raises `DataLoss` when that was altered,
    or was wrapped with another key or context.
    """

    async def wrap(self, name: str, key: bytes, context: bytes) -> bytes:
        """Wrap a data key with the newest version of a key, and create the key when there is none."""

    async def unwrap(self, name: str, wrapped: bytes, context: bytes) -> bytes:
        """Return the data key."""

    async def rewrap(self, name: str, wrapped: bytes, context: bytes) -> bytes:
        """Return the data key wrapped with the newest version; `wrapped` when it is."""

    async def rotate(self, name: str) -> int:
        """Add a version of a key, and return its number. Raises `NotFound` when there is no key of the name."""

    async def list_versions(self, name: str) -> list[StoredVersion]:
        """Return the versions of a key, the newest first."""


async def wrap_key(wrapper: KeyWrapper, audit: Audit, caller: str, name: str, key: bytes, context: bytes) -> bytes:
    """Wrap a data key of the caller. Raises `PermissionDenied` when the key belongs to another workload."""
    return await _run_audited(audit, "wrap", caller, name, lambda: wrapper.wrap(name, key, context))


async def unwrap_key(
    wrapper: KeyWrapper, audit: Audit, caller: str, name: str, wrapped: bytes, context: bytes
) -> bytes:
    """Return a data key of the caller.

    Raises `DataLoss` when it was altered, and `PermissionDenied` when the key belongs to another workload.
    """
    return await _run_audited(audit, "unwrap", caller, name, lambda: wrapper.unwrap(name, wrapped, context))


async def rewrap_key(
    wrapper: KeyWrapper, audit: Audit, caller: str, name: str, wrapped: bytes, context: bytes
) -> bytes:
    """Return a data key of the caller, wrapped with the newest version. Raises as `unwrap_key` does."""
    return await _run_audited(audit, "rewrap", caller, name, lambda: wrapper.rewrap(name, wrapped, context))


def corrupt_key(name: str) -> DataLoss:
    """Return the error for a wrapped key that cannot be unwrapped."""
    return DataLoss(
        f"the data key was altered, or was not wrapped with {name} and this context; restore it from a backup",
        reason="DATA_CORRUPT",
    )


async def _run_audited(audit: Audit, action: str, caller: str, name: str, use: Callable[[], Awaitable[T]]) -> T:
    try:
        require_owner(caller, name)
        result = await use()
    except Error as failure:
        audit(SecretAccess(action, name, caller, 0, failure.reason))
        raise
    audit(SecretAccess(action, name, caller, 0, "done"))
    return result
