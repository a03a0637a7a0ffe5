"""Database: users of PostgreSQL from Vault's database engine, of a role with the name of the service."""

from __future__ import annotations

import re
from typing import Any

import hvac
from hvac import exceptions

from moneyprinter.errors import NotFound
from services.config.database import DatabaseUser
from services.config.vault.client import VaultClient


class VaultDatabaseUsers:
    """DatabaseUsers of a mount of the database engine."""

    def __init__(self, client: VaultClient, mount: str) -> None:
        self._client = client
        self._mount = mount
        self._lease = re.compile(rf"{re.escape(mount)}/creds/([a-z]+)/[A-Za-z0-9.]+")

    async def issue(self, role: str) -> DatabaseUser:
        """Make a user with the rights of a role. Raises `NotFound` when there is no such role."""

        def generate(client: hvac.Client) -> dict[str, Any]:
            return dict(client.secrets.database.generate_credentials(role, mount_point=self._mount))

        try:
            made = await self._client.call(generate)
        except (exceptions.InvalidPath, exceptions.InvalidRequest):
            raise NotFound(
                f"Vault's database engine has no usable role {role}; create it at {self._mount}/roles/{role}",
                reason="SECRET_NOT_FOUND",
            ) from None
        data = made["data"]
        return DatabaseUser(
            str(data["username"]), str(data["password"]), str(made["lease_id"]), float(made["lease_duration"])
        )

    async def renew(self, lease_id: str) -> float:
        """Renew a lease, and return the seconds that remain. Raises `NotFound` when it has ended."""
        error = NotFound("the lease has ended", reason="SECRET_NOT_FOUND")
        if not self.role_of(lease_id):
            raise error

        def renew(client: hvac.Client) -> float:
            return float(client.sys.renew_lease(lease_id)["lease_duration"])

        try:
            return await self._client.call(renew)
        except (exceptions.InvalidPath, exceptions.InvalidRequest):
            raise error from None

    def role_of(self, lease_id: str) -> str:
        """Return the role of a lease; empty when it is no lease of this mount."""
        found = self._lease.fullmatch(lease_id)
        return found[1] if found else ""
