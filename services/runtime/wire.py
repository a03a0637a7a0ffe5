"""Wire: scans the bytes of a message before it is parsed, to bound its cost.

A message of a few kilobytes can hold millions of elements, each of which costs more to parse and validate than its two
bytes suggest. `scan` counts the elements, and stops at the first that exceeds the contract.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from moneyprinter.buf.validate import validate_pb2
from moneyprinter.errors import InvalidArgument, Violation

# The event loop runs after each batch of this many fields, which takes about 3 ms.
STEP_FIELDS = 4096
# The depth limit of upb.
MAX_DEPTH = 100
MAX_VARINT_BYTES = 10

_STRUCT = "google.protobuf.Struct"


@dataclass(frozen=True)
class Limits:
    """The size limits of a message, including its nested messages."""

    fields: int
    """The number of fields and list elements."""
    parts: int
    """The number of nested messages; the validation of each takes about a microsecond."""


# The times of the words of the longest script, of which each is a character: 20,000 words of four fields.
REQUEST = Limits(fields=100_000, parts=25_000)
# Arbitrary JSON costs more, because it becomes Python objects. The largest request for a video has 6000 fields.
REQUEST_WITH_JSON = Limits(fields=10_000, parts=10_000)
# A message of a stream is mostly bytes.
MESSAGE_OF_STREAM = Limits(fields=1000, parts=1000)
# Services create the messages that they send to each other.
INTERNAL = Limits(fields=1_000_000, parts=250_000)


@dataclass(frozen=True)
class _Field:
    """The properties of a field that matter on the wire."""

    name: str
    is_text: bool
    part: Descriptor | None
    """The type of its messages; None for other fields."""
    is_map: bool
    is_list: bool
    """Whether it has several elements, as a map does."""
    max_items: int
    """0: no limit."""


@dataclass(frozen=True)
class _Part:
    """A nested message."""

    fields: Mapping[int, _Field]
    field: _Field | None
    """The field that holds it; None for the outermost message."""
    index: int
    """Its index in a list."""
    start: int
    end: int
    counts: dict[int, int]
    """The number of elements in its lists so far, by field number."""


@cache
def _fields(kind: Descriptor) -> Mapping[int, _Field]:
    return {field.number: _field(field) for field in kind.fields}


def _field(field: FieldDescriptor) -> _Field:
    rules = field.GetOptions().Extensions[validate_pb2.field]
    is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
    return _Field(
        name=field.name,
        is_text=field.type == FieldDescriptor.TYPE_STRING,
        part=field.message_type,
        is_map=is_map,
        is_list=field.is_repeated,
        max_items=rules.map.max_pairs if is_map else rules.repeated.max_items,
    )


@cache
def limits(kind: Descriptor, *, is_public: bool, of_stream: bool) -> Limits:
    """Return the size limits of a request type."""
    if not is_public:
        return INTERNAL
    if of_stream:
        return MESSAGE_OF_STREAM
    has_json = any(field.message_type is not None and field.message_type.full_name == _STRUCT for field in kind.fields)
    return REQUEST_WITH_JSON if has_json else REQUEST


def scan(data: bytes, kind: Descriptor, at_most: Limits) -> Iterator[None]:
    """Scan the fields of a message of type `kind`; yields every STEP_FIELDS fields.

    Raises `InvalidArgument` when the bytes are no message, a list has more elements than the contract allows, a text
    holds U+0000, which PostgreSQL cannot store, or the message exceeds `at_most` (REQUEST_TOO_LARGE).
    """
    part = _Part(_fields(kind), None, 0, 0, len(data), {})
    outer: list[_Part] = []
    position = seen = parts = 0
    try:
        while True:
            while position >= part.end:
                if position > part.end:
                    raise malformed_error()
                if not outer:
                    return
                part = outer.pop()
            tag = data[position]
            position += 1
            if tag >= 0x80:
                tag, position = _varint(data, position - 1)
            seen += 1
            if seen > at_most.fields:
                raise _too_large(at_most.fields, "fields and elements")
            if seen % STEP_FIELDS == 0:
                yield
            kind_of_value = tag & 7
            if kind_of_value == 2:
                length = data[position]
                position += 1
                if length >= 0x80:
                    length, position = _varint(data, position - 1)
                start, position = position, position + length
                if position > part.end:
                    raise malformed_error()
                number = tag >> 3
                field = part.fields.get(number)
                if field is None:
                    continue
                index = 0
                if field.is_list:
                    index = part.counts.get(number, 0)
                    part.counts[number] = index + 1
                    if field.max_items and index >= field.max_items:
                        raise _field_error(data, [*outer, part], field, None, _too_many(field))
                if field.part is not None:
                    parts += 1
                    if parts > at_most.parts:
                        raise _too_large(at_most.parts, "parts")
                    if len(outer) >= MAX_DEPTH:
                        raise malformed_error()
                    outer.append(part)
                    part = _Part(_fields(field.part), field, index, start, position, {})
                    position = start
                elif field.is_text and data.find(0, start, position) >= 0:
                    raise _field_error(data, [*outer, part], field, index, "must not hold the character U+0000")
            elif kind_of_value == 0:
                if data[position] < 0x80:
                    position += 1
                else:
                    _, position = _varint(data, position)
            elif kind_of_value == 1:
                position += 8
            elif kind_of_value == 5:
                position += 4
            else:
                # A group, which our contracts do not use.
                raise malformed_error()
    except IndexError:
        raise malformed_error() from None


def malformed_error() -> InvalidArgument:
    """Return the error for bytes that are no message of a method."""
    return InvalidArgument("the bytes sent are no message of this method", reason="REQUEST_INVALID")


def _too_large(at_most: int, what: str) -> InvalidArgument:
    return InvalidArgument(
        f"the request has more than {at_most} {what} in all; send less at once", reason="REQUEST_TOO_LARGE"
    )


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the number at a position, and the position after it."""
    number = 0
    for place in range(MAX_VARINT_BYTES):
        byte = data[position + place]
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return number, position + place + 1
    raise malformed_error()


def _too_many(field: _Field) -> str:
    return f"must contain no more than {field.max_items} item(s)"


def _field_error(data: bytes, parts: list[_Part], field: _Field, index: int | None, rule: str) -> InvalidArgument:
    """Return the error for a field of the last of `parts`, or for an element of it."""
    path = ""
    for part in parts[1:]:
        assert part.field is not None
        path += _append_field(path, part.field, _key(data, part) if part.field.is_map else str(part.index))
    if not parts[-1].field or not parts[-1].field.is_map:
        path += _append_field(path, field, None if index is None else str(index))
    return InvalidArgument(f"{path}: {rule}", reason="REQUEST_INVALID", violations=[Violation(path, rule)])


def _append_field(before: str, field: _Field, subscript: str | None) -> str:
    name = f".{field.name}" if before else field.name
    return f"{name}[{subscript}]" if field.is_list and subscript is not None else name


def _key(data: bytes, entry: _Part) -> str:
    """Return the key of a map entry, which is its first field."""
    assert entry.field is not None
    assert entry.field.part is not None
    if data[entry.start : entry.start + 1] != b"\x0a":
        return ""
    length, start = _varint(data, entry.start + 1)
    return data[start : start + length].decode(errors="replace").replace("\0", "")
