"""Contract: check messages against the rules of their contract before any code of ours sees them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import protovalidate
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from protovalidate import FieldPathPb

from moneyprinter.errors import InvalidArgument, Violation

T = TypeVar("T")

Place = tuple[datetime, str]
"""Where something stands in a list, newest first: when it was made, and its id."""


class Malformed:
    """Bytes that are no message of the contract: an error of the caller, which gRPC itself would call UNKNOWN."""


def reader(parse: Callable[[bytes], Message]) -> Callable[[bytes], Message | Malformed]:
    """What reads messages, and leaves it to `check` to refuse those that cannot be read, after the caller is known."""

    def read(data: bytes) -> Message | Malformed:
        try:
            return parse(data)
        except DecodeError:
            return Malformed()

    return read


def check(message: Message | Malformed) -> None:
    """Raise InvalidArgument, with the fields, when a message breaks a rule of its contract."""
    if isinstance(message, Malformed):
        raise InvalidArgument("the bytes sent are no message of this method", reason="REQUEST_INVALID")
    violations = [
        Violation(_path(violation.proto.field) or "request", violation.proto.message)
        for violation in protovalidate.collect_violations(message)
    ]
    violations += [Violation(field, "must not hold the character U+0000") for field in _with_nul(message, "")]
    if violations:
        first = violations[0]
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        raise InvalidArgument(
            f"{first.field}: {first.description}{more}", reason="REQUEST_INVALID", violations=violations
        )


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


def _with_nul(message: Message, within: str) -> Iterator[str]:
    """The texts that hold a NUL: no database keeps one, and what is written in C ends there."""
    for field, found in message.ListFields():
        path = f"{within}.{field.name}" if within else field.name
        match found:
            case Mapping():
                yield from (path for key in found if isinstance(key, str) and "\0" in key)
                each = [(f"{path}[{key}]", found[key]) for key in found]
            case str() | bytes() | int() | float() | Message():
                each = [(path, found)]
            case _:
                each = [(f"{path}[{place}]", one) for place, one in enumerate(_texts_or_messages(field, found))]
        for place, one in each:
            if isinstance(one, str) and "\0" in one:
                yield place
            elif isinstance(one, Message):
                yield from _with_nul(one, place)


def _texts_or_messages(field: FieldDescriptor, found: Any) -> Any:
    """What is repeated, unless that is numbers or bytes, of which there may be very many."""
    kinds = (FieldDescriptor.CPPTYPE_STRING, FieldDescriptor.CPPTYPE_MESSAGE)
    return found if field.cpp_type in kinds and field.type != FieldDescriptor.TYPE_BYTES else ()


def _path(path: FieldPathPb | None) -> str:
    """Spell the path of a field as people write it: `clips[0].url`."""
    spelt = ""
    for element in path.elements if path else ():
        spelt += f".{element.field_name}" if spelt else element.field_name
        if element.subscript:
            spelt += f"[{element.subscript.value}]"
    return spelt
