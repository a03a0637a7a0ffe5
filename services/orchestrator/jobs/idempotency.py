"""Once: a request that is sent twice under one key is done once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from moneyprinter.errors import Conflict, InvalidArgument

KEEP = timedelta(hours=24)
LONGEST = 255


@dataclass(frozen=True)
class IdempotencyKey:
    """What a caller names a request by."""

    key: str
    request_sha256: str
    """Of the request itself."""

    def check(self, known_sha256: str) -> None:
        """Raise Conflict when the key is known for another request."""
        if self.request_sha256 != known_sha256:
            raise Conflict(
                "the idempotency key was used for another request within the last 24 hours; make a new key for a new"
                " request",
                reason="IDEMPOTENCY_KEY_REUSED",
            )


def named(key: str, written: Mapping[str, Any]) -> IdempotencyKey | None:
    """The key of a request that is `written` as JSON; None when it has none.

    Raises InvalidArgument when the key is too long or has control characters.
    """
    if not key:
        return None
    if len(key) > LONGEST or not key.isprintable():
        raise InvalidArgument(
            f"the idempotency key must be at most {LONGEST} printable characters", reason="REQUEST_INVALID"
        )
    canonical = json.dumps(written, sort_keys=True, separators=(",", ":"))
    return IdempotencyKey(key, hashlib.sha256(canonical.encode()).hexdigest())
