"""Store: secrets in a mount of Vault's key-value engine, version 2, under their names.

A value that this platform wrote is in the field `base64`. An operator may write a text as the field `value`, or an
object of any other fields, which is read as JSON: `bao kv put moneyprinter/audio/providers openai=...`.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from datetime import datetime
from typing import Any

import hvac
from hvac import exceptions

from moneyprinter.errors import Conflict, DataLoss, InvalidArgument
from services.config.secrets import Secret, StoredVersion
from services.config.vault.client import VaultClient

# Names become paths of requests; the contract allows no others.
_NAME = re.compile(r"[a-z][a-z0-9-]*(/[a-z0-9][a-z0-9-]*)+")


class VaultSecrets:
    """A SecretStore in Vault."""

    def __init__(self, client: VaultClient, mount: str) -> None:
        self._client = client
        self._mount = mount

    async def find_newest(self, name: str) -> Secret | None:
        """Return the newest version; None when there is none.

        Raises `DataLoss` when it was deleted in Vault or cannot be read as a value, and `Unavailable`.
        """
        _require_name(name)

        def read(client: hvac.Client) -> dict[str, Any] | None:
            try:
                response = client.secrets.kv.v2.read_secret_version(
                    name, mount_point=self._mount, raise_on_deleted_version=False
                )
            except exceptions.InvalidPath:
                return None
            return dict(response["data"])

        found = await self._client.call(read)
        if found is None:
            return None
        version = int(found["metadata"]["version"])
        if found["data"] is None:
            raise DataLoss(
                f"version {version} of {name} was deleted in Vault; undelete it there, or write a new version",
                reason="DATA_CORRUPT",
            )
        return Secret(_decode(name, found["data"]), version)

    async def add(self, name: str, value: bytes, replaces_version: int) -> int:
        """Store the next version. Raises `Conflict` when the newest version is not `replaces_version`."""
        _require_name(name)

        def write(client: hvac.Client) -> int:
            response = client.secrets.kv.v2.create_or_update_secret(
                name, {"base64": base64.b64encode(value).decode()}, cas=replaces_version, mount_point=self._mount
            )
            return int(response["data"]["version"])

        try:
            return await self._client.call(write)
        except exceptions.InvalidRequest as failure:
            if "check-and-set" not in str(failure):
                raise
            raise Conflict(
                f"{name} is no longer at version {replaces_version}; read it again", reason="SECRET_CONFLICT"
            ) from None

    async def list_versions(self, name: str) -> list[StoredVersion]:
        """Return the versions that were neither deleted nor destroyed, the newest first. Raises `Unavailable`."""
        _require_name(name)

        def read(client: hvac.Client) -> dict[str, Any]:
            try:
                response = client.secrets.kv.v2.read_secret_metadata(name, mount_point=self._mount)
            except exceptions.InvalidPath:
                return {}
            return dict(response["data"]["versions"])

        found = await self._client.call(read)
        present = {
            int(version): each for version, each in found.items() if not each["destroyed"] and not each["deletion_time"]
        }
        return [
            StoredVersion(version, datetime.fromisoformat(str(present[version]["created_time"])).timestamp())
            for version in sorted(present, reverse=True)
        ]


def _decode(name: str, fields: dict[str, Any]) -> bytes:
    if fields.keys() == {"base64"}:
        try:
            return base64.b64decode(str(fields["base64"]), validate=True)
        except binascii.Error:
            raise DataLoss(f"the field base64 of {name} in Vault is not Base64", reason="DATA_CORRUPT") from None
    if fields.keys() == {"value"} and isinstance(fields["value"], str):
        return fields["value"].encode()
    return json.dumps(fields).encode()


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidArgument(f"{name!r} is no name of a secret", reason="REQUEST_INVALID")
