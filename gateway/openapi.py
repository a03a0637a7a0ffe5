"""Describes the public REST interface as OpenAPI 3.1, from the contracts alone.

`scripts/generate` writes it to `openapi.json`, which the gateway serves, and which its page at `/docs` shows.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

from gateway.contracts import DESCRIPTORS, HTTP_BODY, Binding, Method, load_methods
from moneyprinter.buf.validate import validate_pb2

Schema = dict[str, Any]

STATUS = ".google.rpc.Status"

ERRORS = {
    400: "The request breaks a rule, or the present state does not allow it.",
    401: "The access token, or the credential for one, is missing or wrong.",
    403: "The user lacks the required role.",
    404: "The caller has no such object.",
    408: "The request did not arrive in time.",
    409: "The object already exists, or has changed meanwhile.",
    413: "The request is too large.",
    414: "The path is too long.",
    415: "The body is a form or compressed, which is not supported.",
    416: "The file has no such range; `content-range` holds its length.",
    429: "Too many requests, or the platform is at capacity; `retry-after` holds the seconds until a retry.",
    431: "The headers are too large, or there are too many.",
    500: "The platform has an internal error.",
    503: "A part of the platform is unavailable; retry in a moment.",
    504: "A part of the platform did not answer in time.",
}
"""The description of every error, by HTTP status."""
ERRORS_OF_ALL_METHODS = (400, 414, 415, 431, 500, 503, 504)
RANGE_ERROR = 416

_DESCRIPTIONS = {206: "The requested range.", 503: ERRORS[503]}

CREATED = {201, 202}
"""The statuses that a response has instead of 200, not beside it."""

_INT32: Schema = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
_UINT32: Schema = {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}
# Protobuf's JSON writes 64-bit integers as strings.
_INT64: Schema = {"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$"}
_BINARY: Schema = {"type": "string", "format": "binary"}
_NUMBER: Schema = {"type": "number"}
_SCALARS: dict[int, Schema] = {
    Field.TYPE_INT32: _INT32,
    Field.TYPE_SINT32: _INT32,
    Field.TYPE_UINT32: _UINT32,
    Field.TYPE_INT64: _INT64,
    Field.TYPE_UINT64: _INT64,
    Field.TYPE_FLOAT: _NUMBER,
    Field.TYPE_DOUBLE: _NUMBER,
    Field.TYPE_BOOL: {"type": "boolean"},
    Field.TYPE_STRING: {"type": "string"},
    Field.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}

_WELL_KNOWN: dict[str, Schema] = {
    ".google.protobuf.Struct": {"type": "object"},
    # Our contracts use it only for a path that is null until there is one.
    ".google.protobuf.Value": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    ".google.protobuf.ListValue": {"type": "array"},
    ".google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    ".google.protobuf.Duration": {"type": "string", "pattern": "^-?[0-9]+([.][0-9]+)?s$"},
    ".google.protobuf.FieldMask": {"type": "string"},
    ".google.protobuf.Any": {"type": "object", "properties": {"@type": {"type": "string"}}, "required": ["@type"]},
    HTTP_BODY: _BINARY,
}

_RULE_KEYWORDS = {
    "min_len": "minLength",
    "max_len": "maxLength",
    "pattern": "pattern",
    "in": "enum",
    "gt": "exclusiveMinimum",
    "gte": "minimum",
    "lt": "exclusiveMaximum",
    "lte": "maximum",
    "min_items": "minItems",
    "max_items": "maxItems",
    "unique": "uniqueItems",
    "const": "const",
}
"""The rules of contracts and their JSON Schema keywords; only the server checks the other rules."""
_TYPES_WITH_RULES = {"string", "int32", "uint32", "sint32", "float", "double"}


def describe(descriptors: Path = DESCRIPTORS) -> Schema:
    """Return the OpenAPI document of the public interface."""
    return Interface(descriptors).document()


class Interface:
    """Builds the document, and collects the schemas of all messages that the methods use."""

    def __init__(self, descriptors: Path) -> None:
        self._methods = [method for method in load_methods(descriptors) if method.public]
        self._messages: dict[str, descriptor_pb2.DescriptorProto] = {}
        self._enums: dict[str, descriptor_pb2.EnumDescriptorProto] = {}
        self._calls: dict[str, descriptor_pb2.MethodDescriptorProto] = {}
        self._comments: dict[str, str] = {}
        self._schemas: dict[str, Schema] = {}
        for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes()).file:
            self._load(file)

    def document(self) -> Schema:
        """Return the whole OpenAPI document."""
        paths: dict[str, Schema] = {}
        for method in self._methods:
            for number, binding in enumerate(method.rest):
                operation = self._operation(method, binding, f"_{number + 1}" if number else "")
                paths.setdefault(binding.path, {})[binding.verb.lower()] = operation
        error = {"application/json": {"schema": self._reference(STATUS)}}
        errors = {f"Error{code}": {"description": words, "content": error} for code, words in ERRORS.items()}
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "MoneyPrinter",
                "version": "1",
                "description": "A request in, a finished, narrated, captioned video out. Every path is also served"
                " under `/api`, and every GET supports HEAD. Errors are `google.rpc.Status`, with a `reason` for"
                " programs in their details.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "tags": [
                {"name": _tag(contract), "description": self._comments.get(contract, "")}
                for contract in sorted({method.contract for method in self._methods if method.rest})
            ],
            "paths": dict(sorted(paths.items())),
            "components": {
                "schemas": dict(sorted(self._schemas.items())),
                "responses": errors,
                "securitySchemes": {"user": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            },
        }

    def _operation(self, method: Method, binding: Binding, suffix: str) -> Schema:
        call = self._calls[method.path]
        comment = self._comments.get(method.path, "")
        summary, _, _ = comment.partition(". ")
        found: Schema = {
            "operationId": method.path.rpartition("/")[2] + suffix,
            "tags": [_tag(method.contract)],
            "summary": summary.removesuffix("."),
            "description": comment + (f" Needs the role `{method.role}`." if method.role else ""),
        }
        if method.needs_token:
            found["security"] = [{"user": []}]
        if parameters := list(self._parameters(call.input_type, binding)):
            found["parameters"] = parameters
        if binding.body:
            found["requestBody"] = {"required": True, "content": self._content(call.input_type, binding.body)}
        content = self._content(call.output_type, binding.response_body, events=method.events, is_response=True)
        found["responses"] = {
            **{str(code): {"$ref": f"#/components/responses/Error{code}"} for code in _errors(method)},
            **{
                str(code): {"description": _DESCRIPTIONS.get(code, "The response."), "content": content}
                for code in {*method.http_statuses, *(() if CREATED & {*method.http_statuses} else (200,))}
                if code < 300 or (code >= 500 and not method.server_streaming)
            },
            **({"304": {"description": "The client's copy is current."}} if 304 in method.http_statuses else {}),
        }
        found["responses"] = dict(sorted(found["responses"].items()))
        return found

    def _parameters(self, message: str, binding: Binding) -> Iterator[Schema]:
        in_path = re.findall(r"{(\w+)}", binding.path)
        if binding.body == "*":
            names = in_path
        else:
            fields = (field for field in self._messages[message].field if field.name != binding.body)
            names = [field.name for field in fields if field.name in in_path or field.type in _SCALARS]
        for field in self._messages[message].field:
            if field.name in names:
                schema = self._field(message, field)
                words = schema.pop("description", "")
                place = "path" if field.name in in_path else "query"
                if place == "path":
                    # A path with an empty segment is a different path.
                    schema["minLength"] = max(1, schema.get("minLength", 1))
                needed = place == "path" or field.name in self._required(message)
                yield {"name": field.name, "in": place, "required": needed, "description": words, "schema": schema}

    def _content(self, message: str, name: str, *, events: bool = False, is_response: bool = False) -> Schema:
        """Return the content of a body: the whole message, or one of its fields. Bytes may have any media type."""
        if name in ("", "*"):
            return {"text/event-stream" if events else "application/json": {"schema": self._reference(message)}}
        field = next(field for field in self._messages[message].field if field.name == name)
        if field.type_name == HTTP_BODY:
            # A request may have any type; a response states its own.
            types = ("application/octet-stream", *(("*/*",) if is_response else ()))
            return {kind: {"schema": dict(_BINARY)} for kind in types}
        return {"application/json": {"schema": self._field(message, field)}}

    def _reference(self, message: str) -> Schema:
        if message in _WELL_KNOWN:
            return dict(_WELL_KNOWN[message])
        name = message.rpartition(".")[2]
        if name not in self._schemas:
            self._schemas[name] = {}
            self._schemas[name].update(self._message(message))
        return {"$ref": f"#/components/schemas/{name}"}

    def _message(self, message: str) -> Schema:
        found: Schema = {"type": "object"}
        if words := self._comments.get(message):
            found["description"] = words
        found["properties"] = {field.name: self._field(message, field) for field in self._messages[message].field}
        if required := self._required(message):
            found["required"] = required
        found["additionalProperties"] = False
        return found

    def _required(self, message: str) -> list[str]:
        """Return the fields that the rules of a message require."""

        def required(rules: validate_pb2.FieldRules) -> bool:
            if rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE:
                return False
            return rules.required or rules.string.min_len > 0 or rules.repeated.min_items > 0

        return [
            field.name
            for field in self._messages[message].field
            if not field.proto3_optional and required(field.options.Extensions[validate_pb2.field])
        ]

    def _field(self, message: str, field: Field) -> Schema:
        rules = field.options.Extensions[validate_pb2.field]
        found = self._with_rules(self._type_schema(field), rules)
        if field.label == Field.LABEL_REPEATED:
            entry = self._messages.get(field.type_name)
            if entry is not None and entry.options.map_entry:
                found = {"type": "object", "additionalProperties": self._type_schema(entry.field[1])}
            else:
                items = self._with_rules(self._type_schema(field), rules.repeated.items)
                found = {"type": "array", "items": items, **_rule_keywords(rules.repeated)}
        if words := self._comments.get(f"{message}.{field.name}"):
            found["description"] = words
        return found

    def _with_rules(self, schema: Schema, rules: validate_pb2.FieldRules) -> Schema:
        kind = rules.WhichOneof("type")
        if kind is None or kind not in _TYPES_WITH_RULES or schema.get("type") not in ("string", "integer", "number"):
            return schema
        constrained = schema | _rule_keywords(getattr(rules, kind))
        if rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE:
            return {"anyOf": [{"const": "" if schema["type"] == "string" else 0}, constrained]}
        return constrained

    def _type_schema(self, field: Field) -> Schema:
        if field.type == Field.TYPE_MESSAGE:
            return self._reference(field.type_name)
        if field.type == Field.TYPE_ENUM:
            return {"type": "string", "enum": [value.name for value in self._enums[field.type_name].value]}
        return dict(_SCALARS[field.type])

    def _load(self, file: descriptor_pb2.FileDescriptorProto) -> None:
        comments = {
            tuple(place.path): " ".join(place.leading_comments.split())
            for place in file.source_code_info.location
            if place.leading_comments
        }

        def message(found: descriptor_pb2.DescriptorProto, name: str, path: tuple[int, ...]) -> None:
            self._messages[name] = found
            self._comments[name] = comments.get(path, "")
            for number, field in enumerate(found.field):
                self._comments[f"{name}.{field.name}"] = comments.get((*path, 2, number), "")
            for number, inner in enumerate(found.nested_type):
                message(inner, f"{name}.{inner.name}", (*path, 3, number))
            self._enums.update({f"{name}.{inner.name}": inner for inner in found.enum_type})

        for number, found in enumerate(file.message_type):
            message(found, f".{file.package}.{found.name}", (4, number))
        self._enums.update({f".{file.package}.{found.name}": found for found in file.enum_type})
        for number, service in enumerate(file.service):
            self._comments[f"{file.package}.{service.name}"] = comments.get((6, number), "")
            for place, call in enumerate(service.method):
                path = f"/{file.package}.{service.name}/{call.name}"
                self._calls[path] = call
                self._comments[path] = comments.get((6, number, 2, place), "")


def _tag(contract: str) -> str:
    """Return the tag of a gRPC service."""
    return contract.rpartition(".")[2].removesuffix("Service")


def _rule_keywords(rules: Any) -> Schema:
    """Return the JSON Schema keywords of a field's rules."""
    found = {descriptor.name: value for descriptor, value in rules.ListFields()}
    if "\\p" in found.get("pattern", ""):
        # Other dialects of regular expressions write Unicode classes differently, or have none.
        del found["pattern"]
    return {
        word: list(found[rule]) if rule == "in" else found[rule]
        for rule, word in _RULE_KEYWORDS.items()
        if rule in found
    }


def _errors(method: Method) -> tuple[int, ...]:
    """Return the error statuses of a method. One without fields and token can fail in few ways."""
    if method.has_empty_request and not method.needs_token:
        return ERRORS_OF_ALL_METHODS
    # The signature of a link replaces the token, and a wrong one is 403.
    found = (code for code in ERRORS if code != 401 or not method.is_link)
    return tuple(code for code in found if code != RANGE_ERROR or code in method.http_statuses)


def main() -> None:
    """Write the document of a descriptor set: `python -m gateway.openapi DESCRIPTORS FILE`."""
    descriptors, target = map(Path, sys.argv[1:])
    target.write_text(json.dumps(describe(descriptors), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
