"""Access tokens: JWTs signed with ES256, and the public keys that verify them."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from services.runtime.config import ConfigError
from services.user.context import TokenSubject
from services.user.tokens.signing_keys import KeyRing

ACCESS_TOKEN_LIFETIME = timedelta(minutes=15)


def generate_signing_key() -> bytes:
    """Return a new private key on P-256, in PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@dataclass(frozen=True)
class _LoadedKey:
    private: ec.EllipticCurvePrivateKey
    public: dict[str, Any]
    """A JWK (RFC 7517)."""


class JwtTokens:
    """Issues access tokens that are signed with the keys of a ring."""

    def __init__(
        self, key_ring: KeyRing, issuer: str, audience: str, lifetime: timedelta = ACCESS_TOKEN_LIFETIME
    ) -> None:
        self.lifetime = lifetime
        self._key_ring = key_ring
        self._issuer = issuer
        self._audience = audience
        self._loaded: dict[bytes, _LoadedKey] = {}

    def sign(self, subject: TokenSubject, now: datetime) -> str:
        """Return a token whose claims are `sub` (the account), `sid` (the session or API key) and `roles`.

        It expires with its API key, where that is sooner.
        """
        expire_time = min(now + self.lifetime, subject.expire_time or now + self.lifetime)
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": subject.account_id,
            "sid": subject.session_id,
            "iat": now,
            "exp": expire_time,
            "jti": secrets.token_hex(16),
            "roles": list(subject.roles),
        }
        key = self._load(self._key_ring.key_set.find_signer(now).pem)
        return jwt.encode(claims, key.private, algorithm="ES256", headers={"kid": key.public["kid"]})

    def public_keys(self, now: datetime) -> list[dict[str, Any]]:
        """Return the keys that verify tokens, as JWKs (RFC 7517). Raises `ConfigError` when a key is unusable."""
        published = self._key_ring.key_set.list_published(self._key_ring.schedule, now)
        return [self._load(key.pem).public for key in published]

    def key_id(self, pem: bytes) -> str:
        """Return the `kid` of a key."""
        return str(self._load(pem).public["kid"])

    def _load(self, pem: bytes) -> _LoadedKey:
        if pem not in self._loaded:
            current = {key.pem for key in self._key_ring.key_set.keys}
            self._loaded = {other: key for other, key in self._loaded.items() if other in current}
            self._loaded[pem] = _load_key(pem)
        return self._loaded[pem]


def _load_key(pem: bytes) -> _LoadedKey:
    try:
        key = serialization.load_pem_private_key(pem, None)
    except ValueError:
        raise ConfigError("the signing key is no private key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigError("the signing key is no key on the curve P-256")
    public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return _LoadedKey(key, {**public, "kid": _thumbprint(public), "use": "sig", "alg": "ES256"})


def _thumbprint(public: dict[str, Any]) -> str:
    """Return the thumbprint of a JWK (RFC 7638)."""
    text = json.dumps({name: public[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
