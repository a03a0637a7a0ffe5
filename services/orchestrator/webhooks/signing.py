"""Signing: deliveries are signed as the Standard Webhooks specification requires.

The secrets of webhooks are not stored. Each is derived (HKDF-SHA256) from the webhook's id and version and from a root
key, which the config service stores.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from standardwebhooks.webhooks import Webhook

from services.runtime.secrets import LazyKey

KEY_NAME = "orchestrator/webhook-key"
SECRET_BYTES = 32


class WebhookSecrets:
    """Derives the secrets of webhooks from a root key."""

    def __init__(self, root_key: LazyKey) -> None:
        self._root_key = root_key

    async def derive(self, webhook_id: str, version: int) -> str:
        """Return the secret of a webhook: `whsec_` and base64. Raises what `LazyKey.fetch` raises."""
        info = f"moneyprinter webhook {webhook_id} {version}".encode()
        derivation = HKDF(algorithm=SHA256(), length=SECRET_BYTES, salt=None, info=info)
        return f"whsec_{base64.b64encode(derivation.derive(await self._root_key.fetch())).decode()}"

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
