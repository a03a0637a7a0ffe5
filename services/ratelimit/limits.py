"""Limits: which token bucket a call takes from, by the descriptors of the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

Descriptor = Sequence[tuple[str, str]]
"""The keys and values that describe what is limited, in order."""

DOMAIN = "ratelimit"


@dataclass(frozen=True)
class Limit:
    """A token bucket, which is filled continuously."""

    per_minute: int
    burst: int
    """The capacity."""


@dataclass(frozen=True)
class Taking:
    """The tokens that a call takes from one bucket."""

    bucket: str
    """The name of the bucket."""
    limit: Limit
    tokens: int


@dataclass(frozen=True)
class BucketState:
    """The state of a bucket after a call."""

    is_over: bool
    """Whether the call is beyond the limit; then it took nothing."""
    remaining: int
    """The tokens that are left."""
    wait_seconds: float
    """When there are enough tokens for such a call: 0 when there are."""


class Buckets(Protocol):
    """The buckets of all gateways."""

    async def take(self, takings: Sequence[Taking]) -> list[BucketState]:
        """Take tokens from several buckets. Raises `Unavailable` when that is not possible."""


@dataclass(frozen=True)
class Limits:
    """The limits by what they are of."""

    users: Limit
    addresses: Limit

    def find(self, descriptor: Descriptor, tokens: int) -> Taking | None:
        """Return what a call with a descriptor takes; None when there is no limit for it."""
        match list(descriptor):
            case [("user", user)]:
                return Taking(f"user:{user}", self.users, tokens)
            case [("exchanges_credentials", "here"), ("masked_remote_address", address)]:
                return Taking(f"address:{address}", self.addresses, tokens)
        return None
