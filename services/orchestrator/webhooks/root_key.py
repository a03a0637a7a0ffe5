"""Root key: the secret `orchestrator/webhook-key` of the config service, created at its first use."""

from __future__ import annotations

import secrets

from moneyprinter.errors import DataLoss
from services.orchestrator.webhooks.signing import KEY_BYTES
from services.runtime.secrets import SecretClient

NAME = "orchestrator/webhook-key"


async def fetch_root_key(client: SecretClient) -> bytes:
    """Return the key, and create it when there is none yet. Raises `DataLoss` when it has a wrong length."""
    value = (await client.fetch_or_create(NAME, lambda: secrets.token_bytes(KEY_BYTES))).value
    if len(value) != KEY_BYTES:
        raise DataLoss(f"the secret {NAME} holds {len(value)} bytes; it must be {KEY_BYTES}", reason="DATA_CORRUPT")
    return value
