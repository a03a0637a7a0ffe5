"""Sealing: what must be read again is encrypted at rest, each bound to its account.

"MPT1" | nonce, 12 bytes | the secret under AES-256-GCM, with which the account's id is authenticated
"""

from __future__ import annotations

import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from moneyprinter.errors import DataLoss
from services.runtime.config import ConfigError

NAME = "user/mfa-key"
KEY_BYTES = 32
MAGIC = b"MPT1"
_NONCE_BYTES = 12


def new_key() -> bytes:
    """A new key."""
    return secrets.token_bytes(KEY_BYTES)


class AesSeal:
    """Seals under one key; what need not be read again is kept as HMAC under a key made of it."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ConfigError(f"the secret {NAME} holds {len(key)} bytes; it must be {KEY_BYTES}")
        self._cipher = AESGCM(key)
        self._digest_key = hmac.digest(key, b"moneyprinter recovery codes", "sha256")

    def seal(self, account_id: str, secret: str) -> bytes:
        """Encrypt."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return MAGIC + nonce + self._cipher.encrypt(nonce, secret.encode(), _bound_to(account_id))

    def open(self, account_id: str, sealed: bytes) -> str:
        """Decrypt. Raises DataLoss when it was altered, or is another account's."""
        nonce, text = sealed[len(MAGIC) :][:_NONCE_BYTES], sealed[len(MAGIC) + _NONCE_BYTES :]
        try:
            if not sealed.startswith(MAGIC) or len(nonce) != _NONCE_BYTES:
                raise InvalidTag
            return self._cipher.decrypt(nonce, text, _bound_to(account_id)).decode()
        except InvalidTag:
            raise DataLoss(
                f"the second factor of {account_id} was altered, or was sealed with another key; disable it, or "
                "restore it from a backup",
                reason="DATA_CORRUPT",
            ) from None

    def digest(self, account_id: str, text: str) -> bytes:
        """What is kept of a text that need not be read again."""
        return hmac.digest(self._digest_key, f"{account_id} {text}".encode(), "sha256")


def _bound_to(account_id: str) -> bytes:
    return MAGIC + f"moneyprinter totp {account_id}".encode()
