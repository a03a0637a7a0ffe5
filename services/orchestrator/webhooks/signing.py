"""Signing: what is posted is signed as Standard Webhooks has it, with secrets that are kept nowhere.

A webhook's secret is made of one key, which the config service keeps, its id and its version (HKDF-SHA256).
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


class Secrets:
    """The secrets of all webhooks. `fetch` gives the key that they are made of, when one is first needed."""

    def __init__(self, fetch: Callable[[], Awaitable[bytes]]) -> None:
        self._fetch = fetch
        self._key: bytes | None = None
        self._fetching = asyncio.Lock()

    async def secret(self, webhook_id: str, version: int) -> str:
        """The secret of a webhook: `whsec_` and base64. Raises what `fetch` does."""
        async with self._fetching:
            if self._key is None:
                self._key = await self._fetch()
        info = f"moneyprinter webhook {webhook_id} {version}".encode()
        derived = HKDF(algorithm=SHA256(), length=SECRET_BYTES, salt=None, info=info).derive(self._key)
        return f"whsec_{base64.b64encode(derived).decode()}"

    async def headers(
        self, webhook_id: str, versions: Sequence[int], event_id: str, body: bytes, now: datetime
    ) -> dict[str, str]:
        """What is sent with an event, so that its receiver knows it for ours, under each version of the secret."""
        signers = [Webhook(await self.secret(webhook_id, version)) for version in versions]
        return {
            "webhook-id": event_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signer.sign(event_id, now, body.decode()) for signer in signers),
        }
