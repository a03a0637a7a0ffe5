"""Errors: the exceptions of the platform, a closed tree that is the same for servers and clients.

    Error
    ├── InvalidArgument      the request is wrong; sending it again will not help
    ├── Unauthenticated      the caller is not identified
    ├── PermissionDenied     the caller is identified, but not allowed to make the call
    ├── NotFound             the thing does not exist, or belongs to another account
    ├── Conflict             the thing exists already, or was changed meanwhile
    ├── FailedPrecondition   the request is valid, but not in the present state
    ├── ResourceExhausted    too many or too large; see `retry_after_seconds`
    ├── Unavailable          a service or database is unreachable; try again
    ├── DeadlineExceeded     the call took too long
    ├── DataLoss             the stored bytes were altered
    └── Internal             a defect of the platform

Each has a `reason` for programs, a name of `moneyprinter.error.v1.Reason` without its prefix, and a message for people:
what is wrong, where, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    """A field of a request that breaks a rule."""

    field: str
    """The path of the field, for example `clips[0].url`."""
    description: str
    """What is wrong with it."""


class Error(Exception):
    """The base of all errors."""

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        violations: Sequence[Violation] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.violations = tuple(violations)
        self.retry_after_seconds = retry_after_seconds


class InvalidArgument(Error):
    """The request is wrong; sending it again will not help."""


class Unauthenticated(Error):
    """The caller is not identified."""


class PermissionDenied(Error):
    """The caller is identified, but not allowed to make the call."""


class NotFound(Error):
    """The thing does not exist, or belongs to another account."""


class Conflict(Error):
    """The thing exists already, or was changed meanwhile."""


class FailedPrecondition(Error):
    """The request is valid, but not in the present state."""


class ResourceExhausted(Error):
    """Too many at once, or too large."""


class Unavailable(Error):
    """A service or database is unreachable; try again."""


class DeadlineExceeded(Error):
    """The call took too long."""


class DataLoss(Error):
    """The stored bytes were altered."""


class Internal(Error):
    """A defect of the platform."""
