"""Reads the methods of all contracts from their descriptors.

The access rules and HTTP bindings in `api.binpb` are the only source for what is public, at which path, and what needs
a token.
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
"""The method that returns the keys which verify user tokens."""

HEALTH = "moneyprinter.monitoring.v1.PublicHealthService"
"""The service that answers the calls of gRPC's standard health service."""
HEALTH_PATH = "/grpc.health.v1.Health/"
"""The path prefix of these calls."""

HTTP_BODY = ".google.api.HttpBody"

# Packages are named for their services, except that the public one is served by the orchestrator.
_SERVED_BY = {"video": "orchestrator"}

_VERBS = ("get", "put", "post", "delete", "patch")


@dataclass(frozen=True)
class Binding:
    """An HTTP binding of a method."""

    verb: str
    """For example `GET`."""
    path: str
    """For example `/v1/videos/{job_id}`."""
    body: str
    """The field of the request that the body holds; `*`: the whole request; empty: no body."""
    response_body: str
    """The field of the response that the body holds; empty: the whole response."""

    @property
    def has_variables(self) -> bool:
        """Whether the path has variable segments."""
        return "{" in self.path

    @property
    def regex(self) -> str:
        """The regular expression of the whole path. Raises `ValueError` for forms that no contract here uses."""
        if re.search(r"[*=:]", self.path):
            raise ValueError(f"{self.path}: only whole segments may be variable, as in /v1/videos/{{job_id}}")
        return "/".join("[^/]+" if part.startswith("{") else re.escape(part) for part in self.path.split("/"))


@dataclass(frozen=True)
class Method:
    """A method of a contract, with what the gateway needs of it."""

    path: str
    """Its gRPC path: `/package.Service/Method`."""
    service: str
    """The service that serves it."""
    public: bool
    """Whether clients may call it through the gateway."""
    role: str
    """The role that its caller must hold; empty: it needs no token."""
    retry_safe: bool
    """Whether a call may be repeated after a failure."""
    has_empty_request: bool
    """Whether its request has no fields."""
    http_statuses: tuple[int, ...]
    """The HTTP statuses that its responses may have over REST, beside 200."""
    rest: tuple[Binding, ...]
    """Its HTTP bindings."""
    client_streaming: bool
    """Whether its request is a stream."""
    server_streaming: bool
    """Whether its response is a stream."""
    events: bool
    """Whether its response is a stream of messages, which REST sends as server-sent events; False for bytes."""
    deadline_seconds: float
    """The deadline that its server sets for a call, in seconds."""
    request: str
    """The full name of its request message, with a leading dot."""

    @property
    def contract(self) -> str:
        """The full name of its gRPC service."""
        return self.path.split("/")[1]

    @property
    def needs_token(self) -> bool:
        """Whether a call needs a user's token."""
        return bool(self.role)

    @property
    def exchanges_credentials(self) -> bool:
        """Whether it exchanges credentials for tokens, as sign-in does: such calls are limited by client address."""
        is_open = self.public and not self.needs_token and not self.streams
        return is_open and not self.has_empty_request and self.contract != HEALTH

    @property
    def is_link(self) -> bool:
        """Whether it sends files to clients without a token, which a signed link authorizes: caches may keep them."""
        return self.public and not self.needs_token and self.server_streaming

    @property
    def streams(self) -> bool:
        """Whether its calls stream bytes or events."""
        return self.client_streaming or self.server_streaming

    @property
    def generates_bytes(self) -> bool:
        """Whether the bytes of its response are generated during the call, and not fetched."""
        return self.server_streaming and not any(binding.verb == "GET" for binding in self.rest)

    @property
    def pool(self) -> str:
        """The connection pool of its calls. Streams have their own, since they occupy connections for long."""
        return f"{self.service}-streams" if self.streams else self.service

    @property
    def native(self) -> Binding:
        """Its gRPC path as a binding."""
        return Binding("POST", self.path, "", "")


@cache
def load_methods(descriptors: Path = DESCRIPTORS) -> tuple[Method, ...]:
    """Return all methods of all contracts, ordered by path."""
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes())
    messages = {f".{file.package}.{message.name}": message for file in files.file for message in file.message_type}
    loaded = (
        _load_method(file.package, service.name, method, messages)
        for file in files.file
        if file.package.startswith("moneyprinter.")
        for service in file.service
        for method in service.method
    )
    return tuple(sorted(loaded, key=lambda method: method.path))


def _load_method(
    package: str,
    service: str,
    method: descriptor_pb2.MethodDescriptorProto,
    messages: dict[str, descriptor_pb2.DescriptorProto],
) -> Method:
    rule = method.options.Extensions[access_pb2.rule]
    domain = package.split(".")[1]
    rest = tuple(read_bindings(method.options.Extensions[annotations_pb2.http]))
    sends_bytes = any(
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
        has_empty_request=not messages[method.input_type].field,
        http_statuses=tuple(rule.http_statuses),
        rest=rest,
        client_streaming=method.client_streaming,
        server_streaming=method.server_streaming,
        events=method.server_streaming and bool(rest) and not sends_bytes,
        deadline_seconds=rule.deadline.ToTimedelta().total_seconds() or contract.DEFAULT_DEADLINE_SECONDS,
        request=method.input_type,
    )


def read_bindings(rule: http_pb2.HttpRule) -> Iterator[Binding]:
    """Yield the bindings of a `google.api.http` option."""
    for verb in _VERBS:
        if path := getattr(rule, verb):
            yield Binding(verb.upper(), path, rule.body, rule.response_body)
    for additional in rule.additional_bindings:
        yield from read_bindings(additional)
