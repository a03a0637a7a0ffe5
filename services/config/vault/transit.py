"""Transit: key-encryption keys in Vault's transit engine, which wraps and unwraps without releasing them.

A key is derived for each context, so that a wrapped key is bound to its context. A wrapped key is stored as "MPV1", the
key's version, 4 bytes, and the bytes of Vault's ciphertext: its text form would allow several texts for one ciphertext.
"""

from __future__ import annotations

import asyncio
import base64
import random
import re
from collections.abc import Callable
from typing import Any, TypeVar

import hvac
from hvac import exceptions

from moneyprinter.errors import DataLoss, InvalidArgument, NotFound, Unavailable
from services.config.keys import corrupt_key
from services.config.secrets import StoredVersion
from services.config.vault.client import VaultClient, is_write_conflict

T = TypeVar("T")

MAGIC = b"MPV1"
_VERSION_BYTES = 4
_CONFLICT_PAUSES = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
_START_BYTES = len(MAGIC) + _VERSION_BYTES
_CIPHERTEXT = re.compile(r"vault:v([0-9]{1,9}):([A-Za-z0-9+/=]+)")
_NAME = re.compile(r"[a-z][a-z0-9-]*(/[a-z0-9][a-z0-9-]*)+")


class TransitKeys:
    """A KeyWrapper in Vault."""

    def __init__(self, client: VaultClient, mount: str) -> None:
        self._client = client
        self._mount = mount

    async def wrap(self, name: str, key: bytes, context: bytes) -> bytes:
        """Wrap a data key with the newest version of a key. Vault creates the key when there is none.

        Raises `Unavailable` when Vault has no transit engine.
        """
        fields = {"plaintext": _encode(key), "context": _encode(context), "type": "aes256-gcm96"}
        try:
            return _parse(str((await self._post("encrypt", name, fields))["ciphertext"]))
        except exceptions.InvalidPath:
            raise Unavailable(
                f"Vault has no transit engine at {self._mount}; enable it", reason="SECRETS_UNAVAILABLE"
            ) from None

    async def unwrap(self, name: str, wrapped: bytes, context: bytes) -> bytes:
        """Return the data key. Raises `DataLoss` when it was altered, or wrapped with another key or context."""
        fields = {"ciphertext": _format(name, wrapped), "context": _encode(context)}
        return base64.b64decode(str((await self._post_wrapped("decrypt", name, fields))["plaintext"]))

    async def rewrap(self, name: str, wrapped: bytes, context: bytes) -> bytes:
        """Return the data key wrapped with the newest version. Raises `DataLoss` as `unwrap` does."""
        fields = {"ciphertext": _format(name, wrapped), "context": _encode(context)}
        found = _parse(str((await self._post_wrapped("rewrap", name, fields))["ciphertext"]))
        return wrapped if found[:_START_BYTES] == wrapped[:_START_BYTES] else found

    async def rotate(self, name: str) -> int:
        """Add a version of a key, and return its number. Raises `NotFound` when there is no key of the name."""

        def rotate(client: hvac.Client) -> int:
            path = _path_name(name)
            found = client.secrets.transit.read_key(path, mount_point=self._mount)
            client.secrets.transit.rotate_key(path, mount_point=self._mount)
            return int(found["data"]["latest_version"]) + 1

        try:
            return await self._call(rotate)
        except exceptions.InvalidPath:
            raise NotFound(f"there is no key {name}", reason="SECRET_NOT_FOUND") from None

    async def list_versions(self, name: str) -> list[StoredVersion]:
        """Return the versions of a key, the newest first."""

        def read(client: hvac.Client) -> dict[str, Any]:
            try:
                return dict(client.secrets.transit.read_key(_path_name(name), mount_point=self._mount)["data"]["keys"])
            except exceptions.InvalidPath:
                return {}

        found = {int(version): float(created) for version, created in (await self._client.call(read)).items()}
        return [StoredVersion(version, found[version]) for version in sorted(found, reverse=True)]

    async def _post_wrapped(self, action: str, name: str, fields: dict[str, str]) -> dict[str, Any]:
        try:
            return await self._post(action, name, fields)
        except (exceptions.InvalidRequest, exceptions.InvalidPath):
            raise corrupt_key(name) from None

    async def _post(self, action: str, name: str, fields: dict[str, str]) -> dict[str, Any]:
        path = f"/v1/{self._mount}/{action}/{_path_name(name)}"

        def post(client: hvac.Client) -> dict[str, Any]:
            return dict(client.adapter.post(path, json=fields)["data"])

        return await self._call(post)

    async def _call(self, operation: Callable[[hvac.Client], T]) -> T:
        """Call Vault, and repeat what conflicted with the creation or rotation of the same key by another caller.

        Raises `Unavailable` when it conflicts every time.
        """
        for pause in _CONFLICT_PAUSES:
            try:
                return await self._client.call(operation)
            except exceptions.InternalServerError as failure:
                if not is_write_conflict(failure):
                    raise
                # Apart from each other: all callers of a moment began together.
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
        raise Unavailable(
            "the keys are written by too many callers at once", reason="SECRETS_UNAVAILABLE", retry_after_seconds=2
        )


def _path_name(name: str) -> str:
    """Return the name of a key in Vault, where names have no slashes."""
    if not _NAME.fullmatch(name):
        raise InvalidArgument(f"{name!r} is no name of a key", reason="REQUEST_INVALID")
    return name.replace("/", ".")


def _parse(ciphertext: str) -> bytes:
    found = _CIPHERTEXT.fullmatch(ciphertext)
    if found is None:
        raise DataLoss("Vault returned a wrapped key of an unknown form", reason="DATA_CORRUPT")
    return MAGIC + int(found[1]).to_bytes(_VERSION_BYTES) + base64.b64decode(found[2])


def _format(name: str, wrapped: bytes) -> str:
    version = int.from_bytes(wrapped[len(MAGIC) : _START_BYTES])
    if not wrapped.startswith(MAGIC) or len(wrapped) <= _START_BYTES or not version:
        raise corrupt_key(name)
    return f"vault:v{version}:{_encode(wrapped[_START_BYTES:])}"


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
