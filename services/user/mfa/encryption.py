"""Encryption: TOTP secrets are encrypted at rest, each bound to its account. The envelope is `runtime.encryption`'s."""

from __future__ import annotations

import hmac

from services.runtime.encryption import AesGcmCipher

# The data key, and the secret in which earlier releases kept it in plaintext.
KEY_NAME = "user/mfa"
PLAIN_KEY_NAME = "user/mfa-key"
MAGIC = b"MPT1"


class AesFactorCipher:
    """A FactorCipher with one key; digests use a second key, which is derived from it."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AesGcmCipher(key, MAGIC)
        self._digest_key = hmac.digest(key, b"moneyprinter recovery codes", "sha256")

    def encrypt(self, account_id: str, secret: str) -> bytes:
        """Encrypt a secret."""
        return self._cipher.encrypt(secret.encode(), _associated_data(account_id))

    def decrypt(self, account_id: str, encrypted: bytes) -> str:
        """Decrypt a secret. Raises `DataLoss` when it was altered, or belongs to another account."""
        problem = (
            f"the second factor of {account_id} was altered, or was encrypted with another key; disable it, or "
            "restore it from a backup"
        )
        return self._cipher.decrypt(encrypted, _associated_data(account_id), problem).decode()

    def digest(self, account_id: str, text: str) -> bytes:
        """Return the keyed hash of a text that is only compared, never read."""
        return hmac.digest(self._digest_key, f"{account_id} {text}".encode(), "sha256")


def _associated_data(account_id: str) -> bytes:
    return MAGIC + f"moneyprinter totp {account_id}".encode()
