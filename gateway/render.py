"""Render: the gateway's configuration, made from one template and the contracts.

What is public, where it is served, and what needs a token is not written here: it is read from the
methods' access rules and HTTP bindings in `api.binpb`, the descriptors of all contracts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2
from markupsafe import Markup

from moneyprinter import contract
from moneyprinter.access.v1 import access_pb2

FOLDER = Path(__file__).resolve().parent
DESCRIPTORS = FOLDER / "api.binpb"
TEMPLATE = "envoy.yaml.j2"

WORKLOAD = "gateway"
"""The gateway's own name in the mesh, and in the access rules of public methods."""

KEYS_METHOD = "/moneyprinter.user.v1.UserService/ListSigningKeys"
"""Where the keys come from that user tokens are verified with."""

# Packages are named for their services, except that the public one is served by the orchestrator.
_SERVED_BY = {"video": "orchestrator"}

_VERBS = ("get", "put", "post", "delete", "patch")


@dataclass(frozen=True)
class Gateway:
    """What one gateway is told."""

    addresses: Mapping[str, str]
    """Where each service is found: its name to `host:port`, several with commas between. Those that serve public
    methods must be there."""
    certificates: Path
    """The folder with `ca.pem`, `gateway/cert.pem` and `gateway/key.pem`."""
    bind: str = "127.0.0.1"
    """The address that REST and gRPC are served on."""
    port: int = 8080
    """The port of both."""
    admin_port: int = 9901
    """The port of Envoy's administration, on 127.0.0.1 only; 0 is any free one."""
    internal_port: int = 9902
    """A port, on 127.0.0.1 only, where the gateway asks itself for the keys of tokens."""
    trust_domain: str = "cluster.local"
    """The SPIFFE trust domain of the mesh."""
    namespace: str = "moneyprinter"
    """The namespace in SPIFFE ids."""
    token_issuer: str = "moneyprinter"  # noqa: S105
    """The `iss` of user tokens."""
    token_audience: str = "moneyprinter"  # noqa: S105
    """The `aud` of user tokens."""
    keys_seconds: int = 60
    """How long keys are kept before they are fetched again, at least 1; a new one is known after that time."""
    max_body_bytes: int = 1 << 20
    """The largest request that is not an upload."""
    access_log: Path | None = None
    """The file that requests are logged to as JSON lines; None is standard output."""


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
    rest: tuple[tuple[str, str], ...]
    """Its HTTP bindings: verb and path, for example `("GET", "/v1/videos/{job_id}")`."""
    client_streaming: bool
    """Whether its request is a stream."""
    server_streaming: bool
    """Whether its answer is a stream."""
    deadline_seconds: float
    """The longest time that its server gives a call."""

    @property
    def contract(self) -> str:
        """The full name of the gRPC service that it belongs to."""
        return self.path.split("/")[1]

    @property
    def all_paths(self) -> tuple[str, ...]:
        """Regular expressions of the whole paths by which it is reached, over gRPC and over REST."""
        return (re.escape(self.path), *(_expression(path) for _, path in self.rest))


@cache
def methods() -> tuple[Method, ...]:
    """All methods of all contracts, in the order of their paths."""
    files = descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes())
    found = (
        _method(file.package, service.name, method)
        for file in files.file
        if file.package.startswith("moneyprinter.")
        for service in file.service
        for method in service.method
    )
    return tuple(sorted(found, key=lambda method: method.path))


def render(gateway: Gateway) -> str:
    """Envoy's bootstrap configuration, as YAML. Raises ValueError when an address is missing."""
    public = [method for method in methods() if method.public]
    keys = next(method for method in methods() if method.path == KEYS_METHOD)
    services = sorted({method.service for method in (*public, keys)})
    if missing := [name for name in services if name not in gateway.addresses]:
        raise ValueError(f"the gateway needs the addresses of {', '.join(missing)}")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        undefined=jinja2.StrictUndefined,
        # Macros pass as they are; every other value becomes JSON, whatever is in it.
        autoescape=True,
        finalize=_json,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(TEMPLATE).render(
        gateway=gateway,
        descriptors=DESCRIPTORS,
        workload=WORKLOAD,
        public=public,
        keys=keys,
        clusters=[_cluster(gateway, service) for service in services],
    )


def _json(value: object) -> Markup:
    """A value as JSON, which is YAML too; what a macro of the template wrote, as it is."""
    if isinstance(value, Markup):
        return value
    return Markup(json.dumps(str(value) if isinstance(value, Path) else value))  # noqa: S704


def _cluster(gateway: Gateway, service: str) -> dict[str, Any]:
    endpoints = []
    for address in gateway.addresses[service].split(","):
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(f"{address!r} is no address of {service}: give host:port")
        endpoints.append((host.strip("[]"), int(port)))
    return {
        "name": service,
        "endpoints": endpoints,
        "identity": f"spiffe://{gateway.trust_domain}/ns/{gateway.namespace}/sa/{service}",
        "server_name": f"{service}.{gateway.namespace}.svc",
    }


def _method(package: str, service: str, method: descriptor_pb2.MethodDescriptorProto) -> Method:
    rule = method.options.Extensions[access_pb2.rule]
    domain = package.split(".")[1]
    return Method(
        path=f"/{package}.{service}/{method.name}",
        service=_SERVED_BY.get(domain, domain),
        public=WORKLOAD in rule.callers,
        role=rule.role,
        rest=tuple(_bindings(method.options.Extensions[annotations_pb2.http])),
        client_streaming=method.client_streaming,
        server_streaming=method.server_streaming,
        deadline_seconds=rule.deadline.ToTimedelta().total_seconds() or contract.DEFAULT_DEADLINE_SECONDS,
    )


def _bindings(rule: Any) -> Iterator[tuple[str, str]]:
    for verb in _VERBS:
        if path := getattr(rule, verb):
            yield verb.upper(), path
    for more in rule.additional_bindings:
        yield from _bindings(more)


def _expression(path: str) -> str:
    """The regular expression of a binding's path. Raises ValueError for forms that no contract of ours uses."""
    if re.search(r"[*=:]", path):
        raise ValueError(f"{path}: only whole segments may vary, as in /v1/videos/{{job_id}}")
    return "/".join("[^/]+" if segment.startswith("{") else re.escape(segment) for segment in path.split("/"))
