"""Tokens: access tokens, which are JWTs signed with ES256, and the public key that they are checked with."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from datetime import datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from services.runtime.config import ConfigError
from services.user.accounts import Account


def new_key() -> bytes:
    """A new private key on P-256, in PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class JwtTokens:
    """Access tokens under a private key."""

    life = timedelta(minutes=15)

    def __init__(self, private_key: bytes, issuer: str, audience: str) -> None:
        try:
            key = serialization.load_pem_private_key(private_key, None)
        except ValueError:
            raise ConfigError("the signing key is no private key in PEM") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ConfigError("the signing key is no key on the curve P-256")
        self._key = key
        self._issuer = issuer
        self._audience = audience
        public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        self.public_key: dict[str, Any] = {**public, "kid": _thumbprint(public), "use": "sig", "alg": "ES256"}
        """The key that tokens are checked with, as RFC 7517 writes it."""

    def sign(self, account: Account, now: datetime) -> str:
        """A token for an account."""
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": account.id,
            "iat": now,
            "exp": now + self.life,
            "jti": secrets.token_hex(16),
            "roles": list(account.roles),
        }
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self.public_key["kid"]})


def _thumbprint(public: dict[str, Any]) -> str:
    """The name that RFC 7638 gives a key."""
    text = json.dumps({name: public[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
