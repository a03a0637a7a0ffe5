"""Contract: the access rule, deadline and retry policy of a method, from its descriptor."""

from __future__ import annotations

import importlib
import json
import pkgutil
from functools import cache

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

from moneyprinter.access.v1 import access_pb2

DEFAULT_DEADLINE_SECONDS = 30.0

# A package has the name of its service, except the public one, which the orchestrator serves.
_SERVED_BY = {"video": "orchestrator"}
# Every service serves these.
_SERVED_BY_ALL = ("/grpc.health.v1.Health/", "/grpc.reflection.v1alpha.ServerReflection/")

# The audit action of a method whose contract names none.
UNNAMED_ACTION = "call"


@cache
def method(path: str) -> MethodDescriptor | None:
    """Return the method at a gRPC path (`/package.Service/Method`), or None when no loaded contract has it."""
    try:
        service, _, name = path.removeprefix("/").partition("/")
        return descriptor_pool.Default().FindServiceByName(service).methods_by_name.get(name)
    except KeyError:
        return None


@cache
def rule(path: str) -> access_pb2.Rule | None:
    """Return the access rule of the method at a gRPC path, or None when it has none."""
    found = method(path)
    if found is None or not found.GetOptions().HasExtension(access_pb2.rule):
        return None
    return found.GetOptions().Extensions[access_pb2.rule]


def audit_action(path: str) -> str:
    """Return the audit action of the method at a gRPC path."""
    found = rule(path)
    return found.audit.action if found is not None and found.HasField("audit") else UNNAMED_ACTION


def serves(service: str, path: str) -> bool:
    """Return whether a service serves the method at a gRPC path. Loads the contracts of the service."""
    return path.startswith(_SERVED_BY_ALL) or path in _methods(service)


@cache
def _methods(service: str) -> frozenset[str]:
    """Return the paths of all methods that a service serves."""
    found: set[str] = set()
    for domain in (service, *(name for name, by in _SERVED_BY.items() if by == service)):
        try:
            package = importlib.import_module(f"moneyprinter.{domain}.v1")
        except ModuleNotFoundError:
            continue
        names = [each.name for each in pkgutil.iter_modules(package.__path__) if each.name.endswith("_service_pb2")]
        for name in names:
            described = importlib.import_module(f"{package.__name__}.{name}").DESCRIPTOR
            for each in described.services_by_name.values():
                found.update(f"/{each.full_name}/{method.name}" for method in each.methods)
    return frozenset(found)


def deadline_seconds(path: str) -> float:
    """Return the deadline of the method at a gRPC path, in seconds."""
    found = rule(path)
    seconds = found.deadline.ToTimedelta().total_seconds() if found else 0.0
    return seconds or DEFAULT_DEADLINE_SECONDS


def service_config(service: str) -> str:
    """Return the gRPC service config of a service: round-robin over its instances, and the retry policy of each method.

    Calls that are safe to retry are retried after UNAVAILABLE. A stopping server ends calls that it has not begun with
    CANCELLED (grpc/grpc#41785): all of these are retried except uploads, whose first part is gone. `service` is the
    full name, for example `moneyprinter.audio.v1.AudioService`.
    """
    descriptor = descriptor_pool.Default().FindServiceByName(service)
    policies = [
        {
            "name": [{"service": service, "method": found.name}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": codes,
            },
        }
        for found in descriptor.methods
        if (codes := _retryable_codes(found))
    ]
    return json.dumps({"loadBalancingConfig": [{"round_robin": {}}], "methodConfig": policies})


def _retryable_codes(found: MethodDescriptor) -> list[str]:
    its_rule = rule(f"/{found.containing_service.full_name}/{found.name}")
    codes = []
    if not found.client_streaming:
        codes.append("CANCELLED")
    if its_rule is not None and its_rule.retry_safe:
        codes.append("UNAVAILABLE")
    return codes
