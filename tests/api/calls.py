"""Calls: sends a request over REST or gRPC according to its contract, and returns the response in one common form."""

from __future__ import annotations

import base64
import re
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any
from urllib.parse import quote

import grpc
import httpx
from google.protobuf import json_format, message_factory
from google.rpc import code_pb2, error_details_pb2, status_pb2

from gateway.contracts import Method, load_methods
from moneyprinter import contract

Fields = dict[str, Any]
"""A request as JSON. The field that REST sends as its body has type `bytes`."""


@dataclass(frozen=True)
class Answer:
    """The response to a call."""

    http: int | None
    """The HTTP status; None over gRPC."""
    code: str
    """The name of the google.rpc.Code."""
    reason: str = ""
    """The error reason; empty for a success."""
    fields: tuple[str, ...] = ()
    """The fields that violate a rule."""


# Import all contracts, whatever other tests have imported.
for _package in {found.path.removeprefix("/").rpartition("/")[0].rpartition(".")[0] for found in load_methods()}:
    for _module in iter_modules(import_module(_package).__path__, f"{_package}."):
        if _module.name.endswith("_pb2"):
            import_module(_module.name)


def method(name: str) -> Method:
    """Find a method by its service and name, for example `VideoService/CreateVideo`."""
    return next(found for found in load_methods() if found.path.endswith(f".{name}"))


async def over_rest(http: httpx.AsyncClient, called: Method, fields: Fields, headers: dict[str, str]) -> Answer:
    """Call a method with its first HTTP binding."""
    binding, rest = called.rest[0], dict(fields)
    path = re.sub(r"{(\w+)}", lambda part: quote(str(rest.pop(part[1], "")), safe=""), binding.path)
    sent: dict[str, Any] = {}
    if binding.body == "*":
        sent["json"] = rest
    elif binding.body and isinstance(rest.get(binding.body), bytes):
        sent = {"content": rest.pop(binding.body), "params": rest}
    elif binding.body:
        sent = {"json": rest.pop(binding.body, {}), "params": rest}
    else:
        sent["params"] = rest
    answer = await http.request(binding.verb, path, headers=headers, **sent)
    if answer.is_success:
        return Answer(answer.status_code, "OK")
    body = answer.json()
    assert set(body) == {"code", "message", "details"}, body
    assert body["message"]
    by_type = {detail["@type"].rpartition(".")[2]: detail for detail in body["details"]}
    violations = by_type.get("BadRequest", {}).get("field_violations", [])
    info = by_type.get("ErrorInfo", {"reason": ""})
    assert info.get("domain", "moneyprinter") == "moneyprinter"
    return Answer(
        answer.status_code,
        code_pb2.Code.Name(body["code"]),
        info["reason"],
        tuple(violation["field"] for violation in violations),
    )


async def over_grpc(channel: grpc.aio.Channel, called: Method, fields: Fields, headers: dict[str, str]) -> Answer:
    """Call a method natively. For a stream, return its final status."""
    described = contract.method(called.path)
    assert described is not None
    raw = {name: value for name, value in fields.items() if isinstance(value, bytes)}
    plain = {name: value for name, value in fields.items() if name not in raw}
    plain |= {name: {"data": base64.b64encode(value).decode()} for name, value in raw.items()}
    message = json_format.ParseDict(plain, message_factory.GetMessageClass(described.input_type)())

    # On the wire a stream of one message equals a unary message. grpc.aio sometimes reports INTERNAL instead of the
    # status when the server ends a client stream first.
    start: Any = channel.unary_stream if called.server_streaming else channel.unary_unary
    serialize = type(message).SerializeToString
    call = start(called.path, request_serializer=serialize)(message, metadata=tuple(headers.items()), timeout=30)
    if called.server_streaming:
        # The status arrives after the last message.
        with suppress(grpc.aio.AioRpcError):
            async for _ in call:
                pass
    code = await call.code()
    if code is grpc.StatusCode.OK:
        return Answer(None, "OK")
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for key, value in await call.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = status_pb2.Status.FromString(value)
            assert status.code == code.value[0]
            for detail in status.details:
                detail.Unpack(info)
                detail.Unpack(bad)
    return Answer(None, code.name, info.reason, tuple(violation.field for violation in bad.field_violations))
