"""The errors of the platform: one small closed tree, the same on both ends of the wire.

    Error
    ├── InvalidArgument      the request is wrong; sending it again will not help
    ├── Unauthenticated      the caller is not authenticated
    ├── PermissionDenied     the caller is authenticated, but not allowed
    ├── NotFound             it does not exist, or it belongs to another account
    ├── Conflict             it exists already, or was changed meanwhile
    ├── FailedPrecondition   the request is valid, but the current state does not allow it
    ├── ResourceExhausted    a limit is reached; see `retry_after_seconds`
    ├── Unavailable          a required service is unreachable; try again
    ├── DeadlineExceeded     the call did not finish in time
    ├── DataLoss             stored bytes were altered
    └── Internal             a defect of the platform

Each has a `reason` for programs, a name of `moneyprinter.error.v1.Reason` without its prefix, and a message for people
with what is wrong, where, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    """A field of a request that violates a rule."""

    field: str
    """The path of the field, for example `clips[0].url`."""
    description: str
    """The violation, for people."""


class Error(Exception):
    """The base class of all errors of the platform."""

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
    """The caller is not authenticated."""


class PermissionDenied(Error):
    """The caller is authenticated, but not allowed."""


class NotFound(Error):
    """It does not exist, or it belongs to another account."""


class Conflict(Error):
    """It exists already, or was changed meanwhile."""


class FailedPrecondition(Error):
    """The request is valid, but the current state does not allow it."""


class ResourceExhausted(Error):
    """A limit is reached."""


class Unavailable(Error):
    """A required service is unreachable; try again."""


class DeadlineExceeded(Error):
    """The call did not finish in time."""


class DataLoss(Error):
    """Stored bytes were altered."""


class Internal(Error):
    """A defect of the platform."""
