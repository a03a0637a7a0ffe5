"""Wire: look at the bytes of a message before anything is made of them, so that its cost has a bound.

A message of a few kilobytes can stand for millions of elements, each of which costs more to parse and to validate than
its two bytes. `scan` counts them as it reads, and stops at the first that the contract does not allow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from moneyprinter.buf.validate import validate_pb2
from moneyprinter.errors import InvalidArgument, Violation

# The loop gets a turn after this many fields, which take about 3 ms.
STEP_FIELDS = 4096
# As deep as upb parses.
MAX_DEPTH = 100
MAX_VARINT_BYTES = 10

_STRUCT = "google.protobuf.Struct"


@dataclass(frozen=True)
class Limits:
    """How much a message may hold, all that is within it included."""

    fields: int
    """Fields and elements of lists."""
    parts: int
    """Messages within it: each is validated by itself, in about a microsecond."""


# The times of the words of the longest script, of which each is a character: 20,000 words of four fields.
REQUEST = Limits(fields=100_000, parts=25_000)
# Free JSON costs more, since all of it becomes Python objects. A whole request for a video takes 6000 fields.
REQUEST_WITH_JSON = Limits(fields=10_000, parts=10_000)
# A message of a stream is one part of a whole, most of which is bytes.
MESSAGE_OF_STREAM = Limits(fields=1000, parts=1000)
# What services send to each other was made by them.
INTERNAL = Limits(fields=1_000_000, parts=250_000)


@dataclass(frozen=True)
class _Field:
    """What the contract says of a field, as far as it matters on the wire."""

    name: str
    is_text: bool
    part: Descriptor | None
    """The kind of message that it holds."""
    is_map: bool
    is_list: bool
    """Whether it has several elements; a map has."""
    max_items: int
    """0: the contract sets no limit."""


@dataclass(frozen=True)
class _Part:
    """A message within the message that is scanned."""

    fields: Mapping[int, _Field]
    field: _Field | None
    """The field that holds it; None: it is the whole."""
    index: int
    """Its place in the list."""
    start: int
    end: int
    counts: dict[int, int]
    """How many elements its own lists have so far, by field number."""


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
    """How much a request of a kind may hold."""
    if not is_public:
        return INTERNAL
    if of_stream:
        return MESSAGE_OF_STREAM
    has_json = any(field.message_type is not None and field.message_type.full_name == _STRUCT for field in kind.fields)
    return REQUEST_WITH_JSON if has_json else REQUEST


def scan(data: bytes, kind: Descriptor, at_most: Limits) -> Iterator[None]:
    """Read over the fields of a message of `kind`; yields every STEP_FIELDS fields.

    Raises InvalidArgument when the bytes are no message, a list has more elements than the contract allows, a text
    holds the character U+0000, which no database keeps, or there is more of them than `at_most` (REQUEST_TOO_LARGE).
    """
    part = _Part(_fields(kind), None, 0, 0, len(data), {})
    outer: list[_Part] = []
    position = seen = parts = 0
    try:
        while True:
            while position >= part.end:
                if position > part.end:
                    raise malformed()
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
                    raise malformed()
                number = tag >> 3
                field = part.fields.get(number)
                if field is None:
                    continue
                index = 0
                if field.is_list:
                    index = part.counts.get(number, 0)
                    part.counts[number] = index + 1
                    if field.max_items and index >= field.max_items:
                        raise _refused(data, [*outer, part], field, None, _too_many(field))
                if field.part is not None:
                    parts += 1
                    if parts > at_most.parts:
                        raise _too_large(at_most.parts, "parts")
                    if len(outer) >= MAX_DEPTH:
                        raise malformed()
                    outer.append(part)
                    part = _Part(_fields(field.part), field, index, start, position, {})
                    position = start
                elif field.is_text and data.find(0, start, position) >= 0:
                    raise _refused(data, [*outer, part], field, index, "must not hold the character U+0000")
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
                # A group, which no contract of ours has.
                raise malformed()
    except IndexError:
        raise malformed() from None


def malformed() -> InvalidArgument:
    """The error for bytes that are no message of a method."""
    return InvalidArgument("the bytes sent are no message of this method", reason="REQUEST_INVALID")


def _too_large(at_most: int, what: str) -> InvalidArgument:
    return InvalidArgument(
        f"the request has more than {at_most} {what} in all; send less at once", reason="REQUEST_TOO_LARGE"
    )


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """The number at a position, and the position after it."""
    number = 0
    for place in range(MAX_VARINT_BYTES):
        byte = data[position + place]
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return number, position + place + 1
    raise malformed()


def _too_many(field: _Field) -> str:
    return f"must contain no more than {field.max_items} item(s)"


def _refused(data: bytes, parts: list[_Part], field: _Field, index: int | None, rule: str) -> InvalidArgument:
    """The error for a field of the last of `parts`, or for an element of it."""
    path = ""
    for part in parts[1:]:
        assert part.field is not None
        path += _spelt(path, part.field, _key(data, part) if part.field.is_map else str(part.index))
    if not parts[-1].field or not parts[-1].field.is_map:
        path += _spelt(path, field, None if index is None else str(index))
    return InvalidArgument(f"{path}: {rule}", reason="REQUEST_INVALID", violations=[Violation(path, rule)])


def _spelt(before: str, field: _Field, subscript: str | None) -> str:
    name = f".{field.name}" if before else field.name
    return f"{name}[{subscript}]" if field.is_list and subscript is not None else name


def _key(data: bytes, entry: _Part) -> str:
    """The key of a map's entry, which comes first."""
    assert entry.field is not None
    assert entry.field.part is not None
    if data[entry.start : entry.start + 1] != b"\x0a":
        return ""
    length, start = _varint(data, entry.start + 1)
    return data[start : start + length].decode(errors="replace").replace("\0", "")
