"""Failures: why a call of a provider gave no result."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum


class FailureKind(Enum):
    """The kind of a failure. It decides what a circuit breaker does."""

    UNAUTHORIZED = "unauthorized"
    """The provider refuses the key (HTTP 401 or 403)."""
    QUOTA_EXHAUSTED = "quota_exhausted"
    """The account at the provider has no quota or credit left."""
    RATE_LIMITED = "rate_limited"
    """Too many calls in a short time (HTTP 429)."""
    UNAVAILABLE = "unavailable"
    """The provider cannot be reached, breaks off its answer, or answers with HTTP 5xx."""
    TIMEOUT = "timeout"
    """The provider did not answer in time."""
    BAD_RESPONSE = "bad_response"
    """The answer is unusable: a page of HTML, invalid JSON, an empty or broken file, a redirect, too many bytes."""
    REFUSED = "refused"
    """The request itself is at fault, for example a voice that no longer exists. The provider works."""


class ProviderFailure(Exception):
    """A call of a provider failed.

    Args:
        provider: The name of the provider, for example `openai`.
        kind: The kind of the failure.
        message: What is wrong and what to do. It holds no key, no query and no text of the provider.
        retry_after: The time until the provider accepts calls again; None: unknown.
        status: The HTTP status; 0 when there was no answer.
        code: The provider's own short code of the error, such as `voice_not_found`; empty when it sent none.
    """

    def __init__(
        self,
        provider: str,
        kind: FailureKind,
        message: str,
        retry_after: timedelta | None = None,
        *,
        status: int = 0,
        code: str = "",
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.kind = kind
        self.message = message
        self.retry_after = retry_after
        self.status = status
        self.code = code
