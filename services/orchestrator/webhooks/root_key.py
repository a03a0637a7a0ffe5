"""Root key: the secret `orchestrator/webhook-key` of the config service, created at its first use."""

from __future__ import annotations

from services.runtime.secrets import SecretClient

NAME = "orchestrator/webhook-key"


async def fetch_root_key(client: SecretClient) -> bytes:
    """Return the key, and create it when there is none yet. Raises `DataLoss` when it has a wrong length."""
    return (await client.fetch_or_create_key(NAME)).value
