"""Root keys: secrets of the config service, such as `orchestrator/webhook-key`, created at their first use."""

from __future__ import annotations

from services.runtime.secrets import SecretClient

NAME = "orchestrator/webhook-key"


async def fetch_root_key(client: SecretClient, name: str = NAME) -> bytes:
    """Return a key, and create it when there is none yet. Raises `DataLoss` when it has a wrong length."""
    return (await client.fetch_or_create_key(name)).value
