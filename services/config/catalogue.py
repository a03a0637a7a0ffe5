"""Catalogue: the kinds of secrets and keys of the platform, with the schedule and the procedure of their rotation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from moneyprinter.errors import NotFound
from services.runtime.config import SERVICES

CONFIG, OPERATOR, NEVER = "config", "operator", "never"


@dataclass(frozen=True)
class SecretKind:
    """A secret or a key that the platform uses."""

    name: str
    kind: str
    """The kind in words."""
    store: Literal["secret", "key"] = "secret"
    """Whether it is a secret, or a key-encryption key."""
    rotation_days: int = 0
    """The age at which it is due for rotation; 0: no schedule."""
    rotated_by: str = NEVER
    """`config`, the service that owns it, `operator` or `never`."""
    procedure: str = ""
    """How to rotate it, if not by `RotateSecret`."""

    @property
    def is_editable(self) -> bool:
        """Whether operators read and write it."""
        return self.rotated_by == OPERATOR


_PROVIDERS = "make a new key at the provider, and put it beside the old one; remove the old one when calls use the new"

KINDS = (
    *(SecretKind(name, "key-encryption key", "key", 90, CONFIG) for name in ("storage/objects", "user/mfa")),
    SecretKind("storage/objects-keys", "data keys", "secret", 365, "storage", "the service adds a version by itself"),
    SecretKind("user/mfa-keys", "data key", procedure="rotate the key user/mfa, which wraps it"),
    SecretKind(
        "user/signing-key",
        "token signing keys",
        rotation_days=30,
        rotated_by="user",
        procedure="the service does so by itself, and at POST /v1/auth/signing-keys/rotate",
    ),
    SecretKind(
        "user/provider-keys-key", "key of the provider keys of accounts", procedure="it encrypts what they stored"
    ),
    SecretKind("user/audit-key", "key of the audit log", procedure="the records that it has signed would not verify"),
    SecretKind(
        "orchestrator/webhook-key",
        "root key of webhook secrets",
        procedure="rotate the secret of each webhook by POST /v1/webhooks/{webhook_id}/rotate",
    ),
    *(
        SecretKind(f"{service}/providers", "keys of providers", "secret", 90, OPERATOR, _PROVIDERS)
        for service in ("audio", "content")
    ),
    SecretKind(
        "storage/credentials",
        "keys of the object store",
        "secret",
        90,
        OPERATOR,
        "make new ones at the store, put them, and delete the old ones when the service uses the new",
    ),
    *(
        SecretKind(f"{service}/settings", "settings", "secret", 0, OPERATOR, "put other settings")
        for service in SERVICES
        if service != "config"
    ),
)
BY_NAME = {kind.name: kind for kind in KINDS}


def find_kind(name: str) -> SecretKind:
    """Return a secret or a key of the platform. Raises `NotFound` when there is none of the name."""
    if kind := BY_NAME.get(name):
        return kind
    raise NotFound(f"the platform has no secret {name}", reason="SECRET_NOT_FOUND")
