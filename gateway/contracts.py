"""Contracts: what the gateway reads from the descriptors of all contracts.

What is public, where it is served, and what needs a token is written nowhere else: it is read from the
methods' access rules and HTTP bindings in `api.binpb`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2

from moneyprinter import contract
from moneyprinter.access.v1 import access_pb2

FOLDER = Path(__file__).resolve().parent
DESCRIPTORS = FOLDER / "api.binpb"

WORKLOAD = "gateway"
"""The gateway's own name in the mesh, and in the access rules of public methods."""

KEYS_METHOD = "/moneyprinter.user.v1.UserService/ListSigningKeys"
"""Where the keys come from that user tokens are verified with."""

HEALTH = "moneyprinter.monitoring.v1.PublicHealthService"
"""What answers the calls of gRPC's own health service."""
HEALTH_PATH = "/grpc.health.v1.Health/"
"""How the paths of those calls begin."""

HTTP_BODY = ".google.api.HttpBody"

# Packages are named for their services, except that the public one is served by the orchestrator.
_SERVED_BY = {"video": "orchestrator"}

_VERBS = ("get", "put", "post", "delete", "patch")


@dataclass(frozen=True)
class Binding:
    """One way in which a method is reached over REST."""

    verb: str
    """For example `GET`."""
    path: str
    """For example `/v1/videos/{job_id}`."""
    body: str
    """The field of the request that the body is; `*` is the whole request, empty no body."""
    response_body: str
    """The field of the answer that the body is; empty: the whole answer."""

    @property
    def varies(self) -> bool:
        """Whether the path has segments that vary."""
        return "{" in self.path

    @property
    def expression(self) -> str:
        """The regular expression of the whole path. Raises ValueError for forms that no contract of ours uses."""
        if re.search(r"[*=:]", self.path):
            raise ValueError(f"{self.path}: only whole segments may vary, as in /v1/videos/{{job_id}}")
        return "/".join("[^/]+" if part.startswith("{") else re.escape(part) for part in self.path.split("/"))


@dataclass(frozen=True)
class Method:
    """A method of a contract, as the gateway sees it."""

    path: str
    """Its gRPC path: `/package.Service/Method`."""
    service: str
    """The service that serves it."""
    public: bool
    """Whether it may be called from outside."""
    role: str
    """The role that its user must hold; empty: it needs no token."""
    retry_safe: bool
    """Whether it may be called again after a failure."""
    asks_nothing: bool
    """Whether its request holds nothing at all."""
    http_statuses: tuple[int, ...]
    """The HTTP statuses that its answers may have over REST beside 200."""
    rest: tuple[Binding, ...]
    """Its HTTP bindings."""
    client_streaming: bool
    """Whether its request is a stream."""
    server_streaming: bool
    """Whether its answer is a stream."""
    events: bool
    """Whether its answer is a stream of messages, which REST sends as server-sent events, and not of bytes."""
    deadline_seconds: float
    """The longest time that its server gives a call."""
    request: str
    """The full name of the message that it takes, with a dot before it."""

    @property
    def contract(self) -> str:
        """The full name of the gRPC service that it belongs to."""
        return self.path.split("/")[1]

    @property
    def needs_token(self) -> bool:
        """Whether it is called for a user, whom a token names."""
        return bool(self.role)

    @property
    def trades_secrets(self) -> bool:
        """Whether strangers call it with what they know, as sign-in: such calls are limited by their address."""
        return self.public and not self.needs_token and not self.asks_nothing and self.contract != HEALTH

    @property
    def streams(self) -> bool:
        """Whether its calls last for as long as clients send or take bytes or events."""
        return self.client_streaming or self.server_streaming

    @property
    def made(self) -> bool:
        """Whether the bytes of its answer are made while the client waits, and not fetched."""
        return self.server_streaming and not any(binding.verb == "GET" for binding in self.rest)

    @property
    def pool(self) -> str:
        """The connections that its calls are made on: streams, which last, take nothing of those of other calls."""
        return f"{self.service}-streams" if self.streams else self.service

    @property
    def native(self) -> Binding:
        """The way in which it is reached over gRPC."""
        return Binding("POST", self.path, "", "")


@cache
def methods(descriptors: Path = DESCRIPTORS) -> tuple[Method, ...]:
    """All methods of all contracts, in the order of their paths."""
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes())
    messages = {f".{file.package}.{message.name}": message for file in files.file for message in file.message_type}
    found = (
        _method(file.package, service.name, method, messages)
        for file in files.file
        if file.package.startswith("moneyprinter.")
        for service in file.service
        for method in service.method
    )
    return tuple(sorted(found, key=lambda method: method.path))


def _method(
    package: str,
    service: str,
    method: descriptor_pb2.MethodDescriptorProto,
    messages: dict[str, descriptor_pb2.DescriptorProto],
) -> Method:
    rule = method.options.Extensions[access_pb2.rule]
    domain = package.split(".")[1]
    rest = tuple(bindings(method.options.Extensions[annotations_pb2.http]))
    of_bytes = any(
        field.type_name == HTTP_BODY and field.name == binding.response_body
        for binding in rest
        for field in messages[method.output_type].field
    )
    return Method(
        path=f"/{package}.{service}/{method.name}",
        service=_SERVED_BY.get(domain, domain),
        public=WORKLOAD in rule.callers,
        role=rule.role,
        retry_safe=rule.retry_safe,
        asks_nothing=not messages[method.input_type].field,
        http_statuses=tuple(rule.http_statuses),
        rest=rest,
        client_streaming=method.client_streaming,
        server_streaming=method.server_streaming,
        events=method.server_streaming and bool(rest) and not of_bytes,
        deadline_seconds=rule.deadline.ToTimedelta().total_seconds() or contract.DEFAULT_DEADLINE_SECONDS,
        request=method.input_type,
    )


def bindings(rule: http_pb2.HttpRule) -> Iterator[Binding]:
    """The bindings of a `google.api.http` option."""
    for verb in _VERBS:
        if path := getattr(rule, verb):
            yield Binding(verb.upper(), path, rule.body, rule.response_body)
    for more in rule.additional_bindings:
        yield from bindings(more)
