"""Database: users of PostgreSQL that Vault makes for a service, each with a lease that is renewed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from moneyprinter.errors import Error, NotFound, PermissionDenied
from services.config.secrets import Audit, SecretAccess


@dataclass(frozen=True)
class DatabaseUser:
    """A user of the database, which exists until its lease ends."""

    name: str
    password: str = field(repr=False)
    lease_id: str
    lease_seconds: float


class DatabaseUsers(Protocol):
    """Makes users of the database."""

    async def issue(self, role: str) -> DatabaseUser:
        """Make a user with the rights of a role. Raises `NotFound` when there is no such role."""

    async def renew(self, lease_id: str) -> float:
        """Renew a lease, and return the seconds that remain. Raises `NotFound` when it has ended."""

    def role_of(self, lease_id: str) -> str:
        """Return the role of a lease; empty when it is no lease of a user."""


class NoDatabaseUsers:
    """The DatabaseUsers of a deployment without Vault."""

    async def issue(self, role: str) -> DatabaseUser:
        """Raise `NotFound`."""
        raise NotFound("the config service has no Vault, which makes users of the database", reason="SECRET_NOT_FOUND")

    async def renew(self, lease_id: str) -> float:
        """Raise `NotFound`."""
        raise NotFound("the config service has no Vault, which makes users of the database", reason="SECRET_NOT_FOUND")

    def role_of(self, lease_id: str) -> str:
        """Return no role."""
        return ""


async def issue_database_user(users: DatabaseUsers, audit: Audit, caller: str) -> DatabaseUser:
    """Make a user of the database for the caller. Raises `NotFound` when the caller has no role there."""
    try:
        user = await users.issue(caller)
    except Error as failure:
        audit(SecretAccess("issue", f"{caller}/database", caller, 0, failure.reason))
        raise
    audit(SecretAccess("issue", f"{caller}/database", caller, 0, "done"))
    return user


async def renew_database_user(users: DatabaseUsers, caller: str, lease_id: str) -> float:
    """Renew the lease of a user of the caller, and return the seconds that remain.

    Raises `PermissionDenied` when it is another workload's, and `NotFound` when it has ended.
    """
    role = users.role_of(lease_id)
    if role and role != caller:
        raise PermissionDenied("the lease belongs to another workload", reason="CALLER_NOT_ALLOWED")
    return await users.renew(lease_id)
