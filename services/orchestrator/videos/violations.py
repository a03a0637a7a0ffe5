"""Violations: the error for a field of a request that is wrong."""

from __future__ import annotations

from moneyprinter.errors import InvalidArgument, Violation


def invalid_field(field: str, description: str, reason: str = "REQUEST_INVALID") -> InvalidArgument:
    """Return the error for a field or a header, whose name and description are its message and its violation."""
    return InvalidArgument(f"{field}: {description}", reason=reason, violations=[Violation(field, description)])
