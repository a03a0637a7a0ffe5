"""Opaque tokens: random texts, such as refresh tokens and invitations, of which only the hash is stored."""

from __future__ import annotations

import base64
import hashlib


def encode_token(data: bytes) -> str:
    """Return bytes in the form of a token: base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def hash_token(token: str) -> bytes:
    """Return the hash to store. A token is random, so that a fast hash suffices."""
    return hashlib.sha256(token.encode()).digest()
