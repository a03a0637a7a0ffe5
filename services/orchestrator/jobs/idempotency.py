"""Idempotency keys: a request that is sent twice under one key creates one job."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from moneyprinter.errors import Conflict, InvalidArgument

KEY_RETENTION = timedelta(hours=24)
MAX_KEY_LENGTH = 255


@dataclass(frozen=True)
class IdempotencyKey:
    """The idempotency key of a request, and the hash of that request."""

    key: str
    request_sha256: str

    def check(self, known_sha256: str) -> None:
        """Raise `Conflict` when the key is stored with the hash of another request."""
        if self.request_sha256 != known_sha256:
            raise Conflict(
                "the idempotency key was used for another request within the last 24 hours; make a new key for a new"
                " request",
                reason="IDEMPOTENCY_KEY_REUSED",
            )


def make_key(key: str, request: Mapping[str, Any]) -> IdempotencyKey | None:
    """Return the idempotency key of a request, which is given as JSON; None when `key` is empty.

    Raises `InvalidArgument` when the key is too long or contains control characters.
    """
    if not key:
        return None
    if len(key) > MAX_KEY_LENGTH or not key.isprintable():
        raise InvalidArgument(
            f"the idempotency key must be at most {MAX_KEY_LENGTH} printable characters", reason="REQUEST_INVALID"
        )
    canonical = json.dumps(request, sort_keys=True, separators=(",", ":"))
    return IdempotencyKey(key, hashlib.sha256(canonical.encode()).hexdigest())
