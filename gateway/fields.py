"""The names of fields in JSON bodies and queries, read from the contracts.

`fields.lua` refuses all others, since Envoy's transcoder would silently drop them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

from gateway.contracts import DESCRIPTORS, HTTP_BODY, Binding, Method
from moneyprinter.buf.validate import validate_pb2

ANY = "any"
"""The kind of a value with any content, such as a Struct."""
SCALAR = ""
"""The kind of strings, numbers and enums, and of lists of them."""
EMPTY = "nothing"
"""The kind of a body without any field."""

_WELL_KNOWN = ".google.protobuf."
_OPEN = {".google.protobuf.Struct", ".google.protobuf.Value", ".google.protobuf.ListValue", ".google.protobuf.Any"}

# Structs with the fields of a message: the changes of a video are fields of the request for one.
_STRUCTS_OF_MESSAGES = {
    ".moneyprinter.video.v1.ReviseVideoRequest.changes": ".moneyprinter.video.v1.CreateVideoRequest"
}

Shape = list[tuple[str, str, str, int, bool]]
"""The fields of a message: name, lowerCamelCase name, kind (which may be the name of a message), the largest number of
items of a list (0: any number), and whether it is a list."""


@cache
def _load_messages(descriptors: Path) -> dict[str, descriptor_pb2.DescriptorProto]:
    found: dict[str, descriptor_pb2.DescriptorProto] = {}

    def add(prefix: str, messages: Iterable[descriptor_pb2.DescriptorProto]) -> None:
        for message in messages:
            name = f"{prefix}.{message.name}"
            found[name] = message
            add(name, message.nested_type)

    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes()).file:
        add(f".{file.package}", file.message_type)
    return found


def body_kind(method: Method, binding: Binding, descriptors: Path = DESCRIPTORS) -> str | None:
    """Return the kind of a binding's body; None for bytes, as of an upload."""
    if not binding.body:
        return EMPTY
    if binding.body == "*":
        return method.request
    message = _load_messages(descriptors)[method.request]
    field = next(field for field in message.field if field.name == binding.body)
    return None if field.type_name == HTTP_BODY else _field_kind(method.request, field, descriptors)


def message_shapes(kinds: Iterable[str], descriptors: Path = DESCRIPTORS) -> dict[str, Shape]:
    """Return the fields of every message that bodies and queries of these kinds may hold."""
    found: dict[str, Shape] = {EMPTY: []}
    pending = list(kinds)
    while pending:
        name = pending.pop()
        if name in found or not name.startswith("."):
            continue
        found[name] = [
            (
                field.name,
                field.json_name,
                _field_kind(name, field, descriptors),
                field.options.Extensions[validate_pb2.field].repeated.max_items,
                field.label == Field.LABEL_REPEATED,
            )
            for field in _load_messages(descriptors)[name].field
        ]
        pending += [field[2] for field in found[name]]
    return found


def _field_kind(message: str, field: Field, descriptors: Path) -> str:
    if shape := _STRUCTS_OF_MESSAGES.get(f"{message}.{field.name}"):
        return shape
    if field.type != Field.TYPE_MESSAGE:
        return SCALAR
    entry = _load_messages(descriptors)[field.type_name] if not field.type_name.startswith(_WELL_KNOWN) else None
    if field.type_name in _OPEN or (entry is not None and entry.options.map_entry):
        return ANY
    return SCALAR if entry is None else field.type_name
