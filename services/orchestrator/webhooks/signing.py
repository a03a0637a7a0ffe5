"""Signing: deliveries are signed as the Standard Webhooks specification requires.

The secrets of webhooks are not stored. Each is derived (HKDF-SHA256) from the webhook's id and version and from a root
key, which the config service stores.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from standardwebhooks.webhooks import Webhook

KEY_BYTES = 32
SECRET_BYTES = 32


class WebhookSecrets:
    """Derives the secrets of webhooks. `fetch_root_key` is called when the first secret is needed."""

    def __init__(self, fetch_root_key: Callable[[], Awaitable[bytes]]) -> None:
        self._fetch_root_key = fetch_root_key
        self._key: bytes | None = None
        self._fetching = asyncio.Lock()

    async def derive(self, webhook_id: str, version: int) -> str:
        """Return the secret of a webhook: `whsec_` and base64. Raises what `fetch_root_key` raises."""
        async with self._fetching:
            if self._key is None:
                self._key = await self._fetch_root_key()
        info = f"moneyprinter webhook {webhook_id} {version}".encode()
        derived = HKDF(algorithm=SHA256(), length=SECRET_BYTES, salt=None, info=info).derive(self._key)
        return f"whsec_{base64.b64encode(derived).decode()}"

    async def sign(
        self, webhook_id: str, versions: Sequence[int], event_id: str, body: bytes, now: datetime
    ) -> dict[str, str]:
        """Return the headers of a delivery: its id, the time, and a signature under each version of the secret."""
        signers = [Webhook(await self.derive(webhook_id, version)) for version in versions]
        return {
            "webhook-id": event_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signer.sign(event_id, now, body.decode()) for signer in signers),
        }
