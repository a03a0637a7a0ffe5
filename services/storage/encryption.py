"""Encryption: how objects are encrypted, so that every byte that is altered, moved or cut is detected.

Every object has a random 256-bit key. Its chunks are encrypted with AES-256-GCM one by one. The nonce of a chunk is its
number and whether it is the last one (the STREAM construction), and the object's key in the store is authenticated
with it. The footer, 108 bytes, ends the object:

    "MPO1" | version of the master key, 4 bytes | nonce, 12 bytes | encrypted with the master key:
        the object's encryption key, 32 bytes | SHA-256 of the plaintext, 32 bytes | size, 8 bytes
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from moneyprinter.errors import DataLoss
from services.storage.objects import CHUNK_BYTES

KEY_BYTES = 32
TAG_BYTES = 16
MAGIC = b"MPO1"

_START = struct.Struct(">4sI12s")
_DESCRIPTION = struct.Struct(">32s32sQ")
_NONCE = struct.Struct(">QI")


@dataclass(frozen=True)
class MasterKey:
    """The key that encrypts the keys of objects."""

    value: bytes = field(repr=False)
    """32 bytes."""
    version: int
    """Objects name the version that encrypts their keys."""

    @property
    def current(self) -> MasterKey:
        """The key itself, as the only one of its MasterKeys."""
        return self

    def find(self, version: int) -> MasterKey | None:
        """Return the key when it has the version."""
        return self if version == self.version else None


class MasterKeys(Protocol):
    """The versions of the master key."""

    @property
    def current(self) -> MasterKey:
        """The key that encrypts new objects."""

    def find(self, version: int) -> MasterKey | None:
        """Return a version; None when there is none."""


class AesObjectCiphers:
    """Makes the ciphers of objects, with the versions of the master key."""

    overhead_bytes = TAG_BYTES
    footer_bytes = _START.size + _DESCRIPTION.size + TAG_BYTES

    def __init__(self, masters: MasterKeys) -> None:
        self._masters = masters

    def create(self, key: str) -> ObjectCipher:
        """Return the cipher of a new object, with a random key."""
        master = self._masters.current
        return ObjectCipher(master.version, AESGCM(master.value), key, secrets.token_bytes(KEY_BYTES))

    def open(self, key: str, footer: bytes) -> tuple[ObjectCipher, bytes, int]:
        """Return the cipher, SHA-256 and size of a stored object. Raises `DataLoss` when its footer was altered."""
        start, encrypted = footer[: _START.size], footer[_START.size :]
        if len(footer) != self.footer_bytes or not footer.startswith(MAGIC):
            raise _corrupt(key)
        _, version, nonce = _START.unpack(start)
        master = self._masters.find(version)
        if master is None:
            raise DataLoss(
                f"object {key} is encrypted with version {version} of the master key, which does not exist; the newest "
                f"in use is {self._masters.current.version}",
                reason="DATA_CORRUPT",
            )
        cipher = AESGCM(master.value)
        try:
            description = cipher.decrypt(nonce, encrypted, start + key.encode())
        except InvalidTag:
            raise _corrupt(key) from None
        own_key, sha256, size = _DESCRIPTION.unpack(description)
        return ObjectCipher(version, cipher, key, own_key), sha256, size


class ObjectCipher:
    """Encrypts and decrypts the chunks of one object."""

    def __init__(self, version: int, master: AESGCM, key: str, own_key: bytes) -> None:
        self._version = version
        self._master = master
        self._key = key
        self._own_key = own_key
        self._cipher = AESGCM(own_key)

    def encrypt(self, index: int, chunks: Sequence[memoryview], *, last: bool) -> bytes:
        """Encrypt consecutive chunks, the first being number `index`; `last` when they end the object."""
        end = index + len(chunks) - 1
        return b"".join(
            self._cipher.encrypt(_nonce(number, last=last and number == end), chunk, self._key.encode())
            for number, chunk in enumerate(chunks, index)
        )

    def decrypt(self, index: int, encrypted: bytes | memoryview, *, last: bool) -> list[bytes]:
        """Decrypt consecutive chunks. Raises `DataLoss` when a byte was altered."""
        stride = CHUNK_BYTES + TAG_BYTES
        view = memoryview(encrypted)
        chunks = [view[start : start + stride] for start in range(0, len(view), stride)]
        end = index + len(chunks) - 1
        try:
            return [
                self._cipher.decrypt(_nonce(number, last=last and number == end), chunk, self._key.encode())
                for number, chunk in enumerate(chunks, index)
            ]
        except InvalidTag:
            raise _corrupt(self._key) from None

    def footer(self, sha256: bytes, size_bytes: int) -> bytes:
        """Return the footer, with the checksum and size of the plaintext."""
        nonce = secrets.token_bytes(12)
        start = _START.pack(MAGIC, self._version, nonce)
        description = _DESCRIPTION.pack(self._own_key, sha256, size_bytes)
        return start + self._master.encrypt(nonce, description, start + self._key.encode())


def _nonce(number: int, *, last: bool) -> bytes:
    """Return the nonce of a chunk. It is never used twice with one key, since every object has its own key."""
    return _NONCE.pack(number, int(last))


def _corrupt(key: str) -> DataLoss:
    return DataLoss(
        f"object {key} was altered, or was encrypted with another key; restore it from a backup", reason="DATA_CORRUPT"
    )
