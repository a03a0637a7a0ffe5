"""Master key: the secret `storage/master-key` of the config service, created by the replica that starts first."""

from __future__ import annotations

from services.runtime.secrets import SecretClient
from services.storage.encryption import MasterKey

NAME = "storage/master-key"


async def fetch_or_create(client: SecretClient) -> MasterKey:
    """Return the key, and create it when there is none yet. Raises `DataLoss` when it has a wrong length."""
    secret = await client.fetch_or_create_key(NAME)
    return MasterKey(secret.value, secret.version)
