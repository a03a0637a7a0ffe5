"""Encryption: one envelope of AES-256-GCM for data at rest: magic | nonce, 12 bytes | ciphertext and tag."""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from moneyprinter.errors import DataLoss

KEY_BYTES = 32
NONCE_BYTES = 12


class AesGcmCipher:
    """Encrypts and decrypts envelopes that begin with `magic`, which names the kind and version of the data."""

    def __init__(self, key: bytes, magic: bytes) -> None:
        self._cipher = AESGCM(key)
        self._magic = magic

    def encrypt(self, plaintext: bytes, associated_data: bytes) -> bytes:
        """Return an envelope. `associated_data` is authenticated with it, not stored in it."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return self._magic + nonce + self._cipher.encrypt(nonce, plaintext, associated_data)

    def decrypt(self, envelope: bytes, associated_data: bytes, problem: str) -> bytes:
        """Return the plaintext of an envelope.

        Raises `DataLoss`, with the message `problem`, when the envelope was altered, or was made with another key or
        other associated data.
        """
        start = len(self._magic)
        nonce, ciphertext = envelope[start:][:NONCE_BYTES], envelope[start + NONCE_BYTES :]
        try:
            if not envelope.startswith(self._magic) or len(nonce) != NONCE_BYTES:
                raise InvalidTag
            return self._cipher.decrypt(nonce, ciphertext, associated_data)
        except InvalidTag:
            raise DataLoss(problem, reason="DATA_CORRUPT") from None
