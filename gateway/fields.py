"""Fields: the names that the JSON bodies of requests may hold, read from the contracts.

`fields.lua` refuses all others: Envoy's transcoder would drop them without a word.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

from buf.validate import validate_pb2
from gateway.contracts import DESCRIPTORS, HTTP_BODY, Binding, Method

ANY = "any"
"""The kind of a value that may hold anything, such as a Struct."""
TEXT = ""
"""The kind of texts, numbers and enums, and of lists of them."""
NOTHING = "nothing"
"""The kind of a body that may hold no field at all."""

_WELL_KNOWN = ".google.protobuf."
_OPEN = {".google.protobuf.Struct", ".google.protobuf.Value", ".google.protobuf.ListValue", ".google.protobuf.Any"}

# Structs whose fields are those of a message: the changes of a request are parts of a request.
_SHAPED = {".moneyprinter.video.v1.ReviseVideoRequest.changes": ".moneyprinter.video.v1.CreateVideoRequest"}

Shape = list[tuple[str, str, str, int]]
"""The fields of a message: the name of each, its lowerCamelCase name, its kind, which may be a message's name, and how
many items it may hold as a list; 0: any number."""


@cache
def _contracts(descriptors: Path) -> dict[str, descriptor_pb2.DescriptorProto]:
    found: dict[str, descriptor_pb2.DescriptorProto] = {}

    def add(prefix: str, messages: Iterable[descriptor_pb2.DescriptorProto]) -> None:
        for message in messages:
            name = f"{prefix}.{message.name}"
            found[name] = message
            add(name, message.nested_type)

    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes()).file:
        add(f".{file.package}", file.message_type)
    return found


def kind_of_body(method: Method, binding: Binding, descriptors: Path = DESCRIPTORS) -> str | None:
    """The kind of the body that a binding takes; None for bytes, such as an upload's."""
    if not binding.body:
        return NOTHING
    if binding.body == "*":
        return method.request
    message = _contracts(descriptors)[method.request]
    field = next(field for field in message.field if field.name == binding.body)
    return None if field.type_name == HTTP_BODY else _kind(method.request, field, descriptors)


def shapes(kinds: Iterable[str], descriptors: Path = DESCRIPTORS) -> dict[str, Shape]:
    """The fields of every message that bodies of some kinds may hold."""
    found: dict[str, Shape] = {NOTHING: []}
    left = list(kinds)
    while left:
        name = left.pop()
        if name in found or not name.startswith("."):
            continue
        found[name] = [
            (
                field.name,
                field.json_name,
                _kind(name, field, descriptors),
                field.options.Extensions[validate_pb2.field].repeated.max_items,
            )
            for field in _contracts(descriptors)[name].field
        ]
        left += [kind for _, _, kind, _ in found[name]]
    return found


def _kind(message: str, field: Field, descriptors: Path) -> str:
    if shaped := _SHAPED.get(f"{message}.{field.name}"):
        return shaped
    if field.type != Field.TYPE_MESSAGE:
        return TEXT
    entry = _contracts(descriptors)[field.type_name] if not field.type_name.startswith(_WELL_KNOWN) else None
    if field.type_name in _OPEN or (entry is not None and entry.options.map_entry):
        return ANY
    return TEXT if entry is None else field.type_name
