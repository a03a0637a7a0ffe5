"""Encryption at rest: the format of an envelope, and the detection of every alteration."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from moneyprinter import errors
from services.runtime.encryption import AesGcmCipher

KEY = bytes(range(32))
CIPHER = AesGcmCipher(KEY, b"MPX1")


def test_an_envelope_is_magic_nonce_and_ciphertext() -> None:
    envelope = CIPHER.encrypt(b"secret", b"name 1")
    assert envelope.startswith(b"MPX1")
    assert AESGCM(KEY).decrypt(envelope[4:16], envelope[16:], b"name 1") == b"secret"
    assert CIPHER.encrypt(b"secret", b"name 1") != envelope


def test_an_envelope_of_another_program_is_read() -> None:
    nonce = b"twelve bytes"
    envelope = b"MPX1" + nonce + AESGCM(KEY).encrypt(nonce, b"secret", b"name 1")
    assert CIPHER.decrypt(envelope, b"name 1", "it was altered") == b"secret"


def test_every_alteration_is_detected() -> None:
    envelope = CIPHER.encrypt(b"secret", b"name 1")
    altered = [envelope[:i] + bytes([envelope[i] ^ 1]) + envelope[i + 1 :] for i in range(len(envelope))]
    for data in (*altered, b"", envelope[:10], envelope[:-1], envelope + b"x"):
        with pytest.raises(errors.DataLoss, match=r"^it was altered$") as refused:
            CIPHER.decrypt(data, b"name 1", "it was altered")
        assert refused.value.reason == "DATA_CORRUPT"


def test_another_key_another_magic_or_other_associated_data_is_detected() -> None:
    envelope = CIPHER.encrypt(b"secret", b"name 1")
    for cipher, associated_data in (
        (AesGcmCipher(bytes(32), b"MPX1"), b"name 1"),
        (AesGcmCipher(KEY, b"MPX2"), b"name 1"),
        (CIPHER, b"name 2"),
    ):
        with pytest.raises(errors.DataLoss):
            cipher.decrypt(envelope, associated_data, "it was altered")
