"""Contract: check messages against the rules of their contract before any code of ours sees them."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar, cast

import protovalidate
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from protovalidate import FieldPathPb

from moneyprinter import contract
from moneyprinter.errors import InvalidArgument, Violation
from services.runtime import wire, wording

T = TypeVar("T")

Place = tuple[datetime, str]
"""Where something stands in a list, newest first: when it was made, and its id."""


# When something is wrong, what else is wrong is looked for in this many elements of each list.
SAMPLE = 8


def limits(method: str, kind: type[Message]) -> wire.Limits:
    """How much a request of a method (`/package.Service/Method`) may hold: less where the public may call it."""
    described, rule = contract.method(method), contract.rule(method)
    return wire.limits(
        kind.DESCRIPTOR,
        is_public=rule is None or "gateway" in rule.callers,
        of_stream=described is not None and described.client_streaming,
    )


async def read(data: bytes, kind: type[Message], at_most: wire.Limits = wire.REQUEST) -> Message:
    """Parse the bytes of a request, or of a message of a stream, and check them against the rules of their contract.

    The loop gets its turns meanwhile. Raises InvalidArgument, with the fields, when they break a rule or are too many.
    """
    for _ in wire.scan(data, cast(Descriptor, kind.DESCRIPTOR), at_most):
        await asyncio.sleep(0)
    try:
        message = kind.FromString(data)
    except DecodeError:
        raise wire.malformed() from None
    _validate(message)
    return message


def check(message: Message) -> None:
    """Raise InvalidArgument, with the fields, when a message breaks a rule of its contract."""
    for _ in wire.scan(message.SerializeToString(), cast(Descriptor, message.DESCRIPTOR), wire.REQUEST):
        pass
    _validate(message)


def _validate(message: Message) -> None:
    found = protovalidate.collect_violations(message, fail_fast=True)
    if not found:
        return
    # A message may break rules in each of its elements, and a violation costs ten times what its field does.
    found = protovalidate.collect_violations(_sampled(message)) or found
    violations = [Violation(_path(each.proto.field) or "request", _description(each)) for each in found]
    first = violations[0]
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    raise InvalidArgument(f"{first.field}: {first.description}{more}", reason="REQUEST_INVALID", violations=violations)


def _description(violation: protovalidate.Violation) -> str:
    found = violation.proto
    return wording.describe(found.rule_id, found.message, violation.rule_value, violation.field_value)


def _sampled(message: Message) -> Message:
    """A copy of a message with the first SAMPLE elements of each list."""
    copy = type(message)()
    copy.CopyFrom(message)
    _shorten(copy)
    return copy


def _shorten(message: Message) -> None:
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.file.package == "google.protobuf":
            # Free JSON, for which there are no rules.
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


def moment(text: str, field: str) -> datetime | None:
    """The moment that RFC 3339 writes so in a field; None of an empty text. Raises InvalidArgument."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            raise ValueError(text)
        return found.astimezone(UTC)
    except (ValueError, OverflowError):
        said = "must be a time as in 2025-01-29T10:30:00Z"
        raise InvalidArgument(
            f"{field}: {said}", reason="REQUEST_INVALID", violations=[Violation(field, said)]
        ) from None


async def page(
    size: int,
    token: str,
    find: Callable[[int, Place | None], Awaitable[Sequence[T]]],
    place: Callable[[T], Place],
) -> tuple[Sequence[T], str]:
    """The page of what `find(size, after)` finds, and the token of the next; empty after the last one.

    Raises InvalidArgument when `token` is none that a list gave.
    """
    found = await find(size + 1, _place(token))
    if len(found) <= size:
        return found, ""
    made, last_id = place(found[size - 1])
    return found[:size], base64.urlsafe_b64encode(f"{made.isoformat()} {last_id}".encode()).decode()


def _place(token: str) -> Place | None:
    if not token:
        return None
    try:
        made, _, last_id = base64.urlsafe_b64decode(token).decode().partition(" ")
        time = datetime.fromisoformat(made)
    except (binascii.Error, ValueError):
        time, last_id = None, ""
    if time is None or time.tzinfo is None or "\0" in last_id:
        said = "is none that a list gave; leave it out to begin at the newest"
        raise InvalidArgument(
            f"page_token: {said}", reason="REQUEST_INVALID", violations=[Violation("page_token", said)]
        )
    return time, last_id


def _path(path: FieldPathPb | None) -> str:
    """Spell the path of a field as people write it: `clips[0].url`."""
    spelt = ""
    for element in path.elements if path else ():
        spelt += f".{element.field_name}" if spelt else element.field_name
        if element.subscript:
            spelt += f"[{element.subscript.value}]"
    return spelt
