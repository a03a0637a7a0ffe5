"""Encryption: provider keys are encrypted at rest, each bound to its account and provider."""

from __future__ import annotations

from services.runtime.encryption import AesGcmCipher

KEY_NAME = "user/provider-keys-key"
MAGIC = b"MPP1"


class AesKeyCipher:
    """Encrypts the keys of accounts with one key of the platform."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AesGcmCipher(key, MAGIC)

    def encrypt(self, account_id: str, provider: str, key: str) -> bytes:
        """Encrypt a key."""
        return self._cipher.encrypt(key.encode(), _associated_data(account_id, provider))

    def decrypt(self, account_id: str, provider: str, encrypted: bytes) -> str:
        """Decrypt a key. Raises `DataLoss` when it was altered, or belongs to another account or provider."""
        problem = (
            f"the key of {account_id} for {provider} was altered, or was encrypted with another key; set it again, or "
            "restore it from a backup"
        )
        return self._cipher.decrypt(encrypted, _associated_data(account_id, provider), problem).decode()


def _associated_data(account_id: str, provider: str) -> bytes:
    return MAGIC + f"moneyprinter provider key {account_id} {provider}".encode()
