"""The errors of the platform: one small closed tree, the same on both ends of the wire.

    Error
    ├── InvalidArgument      the request is wrong; sending it again will not help
    ├── Unauthenticated      nobody knows who is calling
    ├── PermissionDenied     it is known who is calling, and it is not allowed
    ├── NotFound             there is no such thing, or it is somebody else's
    ├── Conflict             it exists already, or was changed meanwhile
    ├── FailedPrecondition   the request is right, the state of things is not
    ├── ResourceExhausted    too much at once, or too large; see `retry_after_seconds`
    ├── Unavailable          something that is needed is away; try again
    ├── DeadlineExceeded     it took too long
    ├── DataLoss             stored bytes are not what was stored
    └── Internal             a defect of ours

Each carries a `reason`, a name of `moneyprinter.error.v1.Reason` without its prefix, for programs to
branch on, and a message for people that says what was wrong, where, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    """A field of a request that breaks a rule."""

    field: str
    """Its path, for example `clips[0].url`."""
    description: str
    """What is wrong with it."""


class Error(Exception):
    """What every error of the platform is."""

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
    """Nobody knows who is calling."""


class PermissionDenied(Error):
    """It is known who is calling, and it is not allowed."""


class NotFound(Error):
    """There is no such thing, or it is somebody else's."""


class Conflict(Error):
    """It exists already, or was changed meanwhile."""


class FailedPrecondition(Error):
    """The request is right, the state of things is not."""


class ResourceExhausted(Error):
    """Too much at once, or too large."""


class Unavailable(Error):
    """Something that is needed is away; try again."""


class DeadlineExceeded(Error):
    """It took too long."""


class DataLoss(Error):
    """Stored bytes are not what was stored."""


class Internal(Error):
    """A defect of ours."""
