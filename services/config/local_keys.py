"""Local keys: key-encryption keys in the store of the secrets, for deployments without Vault's transit engine.

The versions of a key stand one after the other in the secret `config/keys/<name>`, which no workload may read. A
wrapped key is the version, 4 bytes, and the envelope of `runtime.encryption`.
"""

from __future__ import annotations

import secrets

from moneyprinter.errors import Conflict, NotFound
from services.config.keys import corrupt_key
from services.config.secrets import Secret, SecretStore, StoredVersion
from services.runtime.encryption import KEY_BYTES, AesGcmCipher

MAGIC = b"MPK1"
_VERSION_BYTES = 4


class LocalKeys:
    """A KeyWrapper on a SecretStore."""

    def __init__(self, store: SecretStore) -> None:
        self._store = store

    async def wrap(self, name: str, key: bytes, context: bytes) -> bytes:
        """Wrap a data key with the newest version of a key, and create the key when there is none."""
        found = await self._find(name) or await self._add(name, None)
        version = _count_versions(found)
        cipher = AesGcmCipher(_get_version(found, version), MAGIC)
        return version.to_bytes(_VERSION_BYTES) + cipher.encrypt(key, _associated_data(name, version, context))

    async def unwrap(self, name: str, wrapped: bytes, context: bytes) -> bytes:
        """Return the data key. Raises `DataLoss` when it was altered, or wrapped with another key or context."""
        found, version = await self._find(name), int.from_bytes(wrapped[:_VERSION_BYTES])
        error = corrupt_key(name)
        if found is None or not 1 <= version <= _count_versions(found):
            raise error
        cipher = AesGcmCipher(_get_version(found, version), MAGIC)
        return cipher.decrypt(wrapped[_VERSION_BYTES:], _associated_data(name, version, context), str(error))

    async def rewrap(self, name: str, wrapped: bytes, context: bytes) -> bytes:
        """Return the data key wrapped with the newest version. Raises `DataLoss` as `unwrap` does."""
        key = await self.unwrap(name, wrapped, context)
        found = await self._find(name)
        is_newest = found is not None and wrapped.startswith(_count_versions(found).to_bytes(_VERSION_BYTES))
        return wrapped if is_newest else await self.wrap(name, key, context)

    async def rotate(self, name: str) -> int:
        """Add a version of a key, and return its number. Raises `NotFound` when there is no key of the name."""
        found = await self._find(name)
        if found is None:
            raise NotFound(f"there is no key {name}", reason="SECRET_NOT_FOUND")
        return _count_versions(await self._add(name, found))

    async def list_versions(self, name: str) -> list[StoredVersion]:
        """Return the versions of a key, the newest first: each was added by a version of the secret."""
        return await self._store.list_versions(_secret_name(name))

    async def _find(self, name: str) -> Secret | None:
        return await self._store.find_newest(_secret_name(name))

    async def _add(self, name: str, found: Secret | None) -> Secret:
        """Add a version to a key, and return all; another instance may do so first."""
        value = (found.value if found else b"") + secrets.token_bytes(KEY_BYTES)
        try:
            return Secret(value, await self._store.add(_secret_name(name), value, found.version if found else 0))
        except Conflict:
            newer = await self._find(name)
            if newer is None:
                raise
            return newer


def _secret_name(name: str) -> str:
    return f"config/keys/{name}"


def _count_versions(found: Secret) -> int:
    return len(found.value) // KEY_BYTES


def _get_version(found: Secret, version: int) -> bytes:
    return found.value[(version - 1) * KEY_BYTES : version * KEY_BYTES]


def _associated_data(name: str, version: int, context: bytes) -> bytes:
    return f"moneyprinter key {name} {version} ".encode() + context
