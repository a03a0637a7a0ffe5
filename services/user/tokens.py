"""Tokens: access tokens, which are JWTs signed with ES256, and the public keys that they are checked with."""

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
from services.user.desk import Subject
from services.user.signing_keys import KeyRing

LIFE = timedelta(minutes=15)


def new_key() -> bytes:
    """A new private key on P-256, in PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@dataclass(frozen=True)
class _Loaded:
    private: ec.EllipticCurvePrivateKey
    public: dict[str, Any]
    """As RFC 7517 writes it."""


class JwtTokens:
    """Access tokens under the keys of a ring."""

    def __init__(self, keys: KeyRing, issuer: str, audience: str, life: timedelta = LIFE) -> None:
        self.life = life
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._loaded: dict[bytes, _Loaded] = {}

    def sign(self, subject: Subject, now: datetime) -> str:
        """A token: `sub` the account, `sid` the session or API key, `roles` what it may do.

        It expires with its API key, where that is sooner.
        """
        expire_time = min(now + self.life, subject.expire_time or now + self.life)
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
        key = self._load(self._keys.ring.signer(now).pem)
        return jwt.encode(claims, key.private, algorithm="ES256", headers={"kid": key.public["kid"]})

    def listed(self, now: datetime) -> list[dict[str, Any]]:
        """The keys that tokens are checked with, as RFC 7517 writes them. Raises ConfigError when one is none."""
        keys = self._keys.ring.listed(self._keys.schedule, now)
        return [self._load(key.pem).public for key in keys]

    def key_id(self, pem: bytes) -> str:
        """What the header of a token calls a key."""
        return str(self._load(pem).public["kid"])

    def _load(self, pem: bytes) -> _Loaded:
        if pem not in self._loaded:
            known = {key.pem for key in self._keys.ring.keys}
            self._loaded = {other: key for other, key in self._loaded.items() if other in known}
            self._loaded[pem] = _load(pem)
        return self._loaded[pem]


def _load(pem: bytes) -> _Loaded:
    try:
        key = serialization.load_pem_private_key(pem, None)
    except ValueError:
        raise ConfigError("the signing key is no private key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigError("the signing key is no key on the curve P-256")
    public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return _Loaded(key, {**public, "kid": _thumbprint(public), "use": "sig", "alg": "ES256"})


def _thumbprint(public: dict[str, Any]) -> str:
    """The name that RFC 7638 gives a key."""
    text = json.dumps({name: public[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
