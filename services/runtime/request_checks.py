"""Request checks: parse requests and validate them against the rules of their contract before a handler sees them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import cast

import protovalidate
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from protovalidate import FieldPathPb

from moneyprinter import contract
from moneyprinter.errors import InvalidArgument, Violation
from services.runtime import wire, wording

# After a violation, further violations are searched for in this many elements of each list.
SAMPLE = 8


def request_limits(method: str, kind: type[Message]) -> wire.Limits:
    """Return the size limits for requests of a method (`/package.Service/Method`), lower for public methods."""
    described, rule = contract.method(method), contract.rule(method)
    return wire.limits(
        kind.DESCRIPTOR,
        is_public=rule is None or "gateway" in rule.callers,
        of_stream=described is not None and described.client_streaming,
    )


async def parse_request(data: bytes, kind: type[Message], limits: wire.Limits = wire.REQUEST) -> Message:
    """Parse a request, or a message of a stream, and validate it; the event loop runs in between.

    Raises `InvalidArgument` with the field violations when it breaks a rule of its contract or exceeds the limits.
    """
    for _ in wire.scan(data, cast(Descriptor, kind.DESCRIPTOR), limits):
        await asyncio.sleep(0)
    try:
        message = kind.FromString(data)
    except DecodeError:
        raise wire.malformed_error() from None
    _validate(message)
    return message


def check_message(message: Message) -> None:
    """Validate a message. Raises `InvalidArgument` with the field violations when it breaks a rule of its contract."""
    for _ in wire.scan(message.SerializeToString(), cast(Descriptor, message.DESCRIPTOR), wire.REQUEST):
        pass
    _validate(message)


def _validate(message: Message) -> None:
    found = protovalidate.collect_violations(message, fail_fast=True)
    if not found:
        return
    # Each element may break a rule, and a violation costs ten times as much time as its field.
    found = protovalidate.collect_violations(_sample(message)) or found
    violations = [Violation(_path(each.proto.field) or "request", _describe(each)) for each in found]
    first = violations[0]
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    raise InvalidArgument(f"{first.field}: {first.description}{more}", reason="REQUEST_INVALID", violations=violations)


def _describe(violation: protovalidate.Violation) -> str:
    found = violation.proto
    return wording.describe(found.rule_id, found.message, violation.rule_value, violation.field_value)


def _sample(message: Message) -> Message:
    """Return a copy of a message with the first SAMPLE elements of each list."""
    copy = type(message)()
    copy.CopyFrom(message)
    _shorten(copy)
    return copy


def _shorten(message: Message) -> None:
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.file.package == "google.protobuf":
            # Arbitrary JSON has no rules.
            continue
        if not field.is_repeated:
            parts = [value]
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            for key in list(value)[SAMPLE:]:
                del value[key]
            parts = list(value.values())
        else:
            del value[SAMPLE:]
            parts = list(value)
        for part in parts:
            if isinstance(part, Message):
                _shorten(part)


def parse_time(text: str, field: str) -> datetime | None:
    """Parse an RFC 3339 time; None for an empty text. Raises `InvalidArgument`, which names `field`, otherwise."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            raise ValueError(text)
        return found.astimezone(UTC)
    except (ValueError, OverflowError):
        rule = "must be a time as in 2025-01-29T10:30:00Z"
        raise InvalidArgument(
            f"{field}: {rule}", reason="REQUEST_INVALID", violations=[Violation(field, rule)]
        ) from None


def _path(path: FieldPathPb | None) -> str:
    """Return the path of a field in the usual notation: `clips[0].url`."""
    text = ""
    for element in path.elements if path else ():
        text += f".{element.field_name}" if text else element.field_name
        if element.subscript:
            text += f"[{element.subscript.value}]"
    return text
