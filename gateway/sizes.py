"""Sizes: how large the request of a method can be, computed from the rules of its contract.

JSON is costly for its elements more than for its bytes: a megabyte of `[],[],[],...` keeps a worker of Envoy's busy for
0.4 s, in which it serves nobody else. A request that is larger than the contract allows is refused before it is parsed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

from buf.validate import validate_pb2
from gateway.contracts import DESCRIPTORS

# What no rule limits, in bytes and in elements.
UNLIMITED = 1 << 30
# A character of JSON takes six bytes as an escape; a number, a name's quotation marks and blanks take some.
ESCAPED_BYTES = 6
SCALAR_BYTES = 64
# So that errors name the field that is too long rather than the request, in most cases.
LEAST_BYTES = 64 << 10
# Punctuation in texts looks like elements, and so do fields that are not known.
SPARE_ELEMENTS = 5000
# As `services.runtime.wire` takes them.
MOST_ELEMENTS = 100_000
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
def largest(path: str, descriptors: Path = DESCRIPTORS) -> Size:
    """The largest request of a method (`/package.Service/Method`) that is let through; its bytes may be UNLIMITED."""
    kinds, inputs = _contracts(descriptors)
    found = _size(kinds, inputs[path], ())
    return Size(max(found.bytes, LEAST_BYTES), min(found.elements, MOST_ELEMENTS) + SPARE_ELEMENTS)


@cache
def _contracts(descriptors: Path) -> tuple[dict[str, descriptor_pb2.DescriptorProto], dict[str, str]]:
    """The messages of all contracts by name, and the names of the requests by their methods' paths."""
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


def _size(kinds: dict[str, descriptor_pb2.DescriptorProto], name: str, within: tuple[str, ...]) -> Size:
    if name == _STRUCT:
        return Size(UNLIMITED, JSON_ELEMENTS)
    if name in within:
        return Size(UNLIMITED, UNLIMITED)
    total = Size(SCALAR_BYTES, 2)
    for field in kinds[name].field:
        rules = field.options.Extensions[validate_pb2.field]
        if field.type == Field.TYPE_MESSAGE:
            one = _size(kinds, field.type_name, (*within, name))
        else:
            one = Size(_bytes(field, rules), 1)
        if field.label == Field.LABEL_REPEATED:
            one = one * (rules.repeated.max_items or rules.map.max_pairs or UNLIMITED)
        total += one + Size(len(field.name) + SCALAR_BYTES, 1)
    return total


def _bytes(field: Field, rules: validate_pb2.FieldRules) -> int:
    rules = rules.repeated.items if field.label == Field.LABEL_REPEATED else rules
    if field.type not in (Field.TYPE_STRING, Field.TYPE_BYTES):
        return SCALAR_BYTES
    text = rules.string
    known = [*getattr(text, "in"), text.const]
    if any(known):
        return max(map(len, known)) * ESCAPED_BYTES
    limit = text.max_len or text.len or text.max_bytes or rules.bytes.max_len
    # A pattern is short where it says no length.
    return (limit or (SCALAR_BYTES if text.pattern else UNLIMITED)) * ESCAPED_BYTES
