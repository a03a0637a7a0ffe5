"""Master key: the secret `storage/master-key` of the config service, created by the replica that starts first."""

from __future__ import annotations

import secrets

from services.runtime.config import ConfigError
from services.runtime.secrets import SecretClient
from services.storage.encryption import KEY_BYTES, MasterKey

NAME = "storage/master-key"


async def fetch_or_create(client: SecretClient) -> MasterKey:
    """Return the key, and create it when there is none yet. Raises `ConfigError` when the secret is no key."""
    secret = await client.fetch_or_create(NAME, lambda: secrets.token_bytes(KEY_BYTES))
    if len(secret.value) != KEY_BYTES:
        raise ConfigError(f"the secret {NAME} holds {len(secret.value)} bytes; it must be {KEY_BYTES}")
    return MasterKey(secret.value, secret.version)
