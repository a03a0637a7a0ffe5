"""Computes the largest valid request of a method from the rules of its contract.

The elements of JSON cost more than its bytes: one megabyte of `[],[],[],...` blocks a worker thread of Envoy for 0.4 s.
The gateway refuses a request larger than the contract allows before it parses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

from gateway.contracts import DESCRIPTORS
from moneyprinter.buf.validate import validate_pb2

# The size of what no rule limits, in bytes and in elements.
UNLIMITED = 1 << 30
# An escaped character takes six bytes of JSON; a number, or a name with its punctuation, takes at most SCALAR_BYTES.
ESCAPED_BYTES = 6
SCALAR_BYTES = 64
# The limit is at least this, so that most errors name the field that is too long and not the request.
MIN_BYTES = 64 << 10
# The count includes punctuation inside strings, and unknown fields.
SPARE_ELEMENTS = 5000
# The limits of `services.runtime.wire`.
MAX_ELEMENTS = 100_000
JSON_ELEMENTS = 10_000

_STRUCT = ".google.protobuf.Struct"


@dataclass(frozen=True)
class Size:
    """The size of a request as JSON."""

    bytes: int
    elements: int

    def __mul__(self, count: int) -> Size:
        return Size(min(self.bytes * count, UNLIMITED), min(self.elements * count, UNLIMITED))

    def __add__(self, other: Size) -> Size:
        return Size(min(self.bytes + other.bytes, UNLIMITED), min(self.elements + other.elements, UNLIMITED))


@cache
def max_request_size(path: str, descriptors: Path = DESCRIPTORS) -> Size:
    """Return the largest accepted request of a method (`/package.Service/Method`); its bytes may be `UNLIMITED`."""
    kinds, inputs = _load_messages(descriptors)
    size = _message_size(kinds, inputs[path], ())
    return Size(max(size.bytes, MIN_BYTES), min(size.elements, MAX_ELEMENTS) + SPARE_ELEMENTS)


@cache
def _load_messages(descriptors: Path) -> tuple[dict[str, descriptor_pb2.DescriptorProto], dict[str, str]]:
    """Return the messages of all contracts by name, and the names of the request messages by method path."""
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes()).file
    kinds = {f".{file.package}.{kind.name}": kind for file in files for kind in file.message_type}
    kinds |= {f"{name}.{inner.name}": inner for name, kind in list(kinds.items()) for inner in kind.nested_type}
    inputs = {
        f"/{file.package}.{service.name}/{method.name}": method.input_type
        for file in files
        for service in file.service
        for method in service.method
    }
    return kinds, inputs


def _message_size(kinds: dict[str, descriptor_pb2.DescriptorProto], name: str, parents: tuple[str, ...]) -> Size:
    if name == _STRUCT:
        return Size(UNLIMITED, JSON_ELEMENTS)
    if name in parents:
        return Size(UNLIMITED, UNLIMITED)
    total = Size(SCALAR_BYTES, 2)
    for field in kinds[name].field:
        rules = field.options.Extensions[validate_pb2.field]
        if field.type == Field.TYPE_MESSAGE and kinds[field.type_name].options.map_entry:
            key, value = kinds[field.type_name].field
            one = Size(_scalar_bytes(key, rules.map.keys) + _scalar_bytes(value, rules.map.values), 2)
        elif field.type == Field.TYPE_MESSAGE:
            one = _message_size(kinds, field.type_name, (*parents, name))
        else:
            one = Size(_scalar_bytes(field, rules), 1)
        if field.label == Field.LABEL_REPEATED:
            one = one * (rules.repeated.max_items or rules.map.max_pairs or UNLIMITED)
        total += one + Size(len(field.name) + SCALAR_BYTES, 1)
    return total


def _scalar_bytes(field: Field, rules: validate_pb2.FieldRules) -> int:
    rules = rules.repeated.items if field.label == Field.LABEL_REPEATED else rules
    if field.type not in (Field.TYPE_STRING, Field.TYPE_BYTES):
        return SCALAR_BYTES
    text = rules.string
    values = [*getattr(text, "in"), text.const]
    if any(values):
        return max(map(len, values)) * ESCAPED_BYTES
    limit = text.max_len or text.len or text.max_bytes or rules.bytes.max_len
    # The patterns without a length rule match short texts only.
    return (limit or (SCALAR_BYTES if text.pattern else UNLIMITED)) * ESCAPED_BYTES
