"""Contract: check messages against the rules of their contract before any code of ours sees them."""

from __future__ import annotations

import protovalidate
from google.protobuf.message import Message
from protovalidate import FieldPathPb

from moneyprinter.errors import InvalidArgument, Violation


def check(message: Message) -> None:
    """Raise InvalidArgument, with the fields, when a message breaks a rule of its contract."""
    violations = [
        Violation(_path(violation.proto.field) or "request", violation.proto.message)
        for violation in protovalidate.collect_violations(message)
    ]
    if violations:
        first = violations[0]
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        raise InvalidArgument(
            f"{first.field}: {first.description}{more}", reason="REQUEST_INVALID", violations=violations
        )


def _path(path: FieldPathPb | None) -> str:
    """Spell the path of a field as people write it: `clips[0].url`."""
    spelt = ""
    for element in path.elements if path else ():
        spelt += f".{element.field_name}" if spelt else element.field_name
        if element.subscript:
            spelt += f"[{element.subscript.value}]"
    return spelt
