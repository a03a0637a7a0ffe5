"""Contract: what the descriptors say of a method, its access rule above all."""

from __future__ import annotations

import json
from functools import cache

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

from moneyprinter.access.v1 import access_pb2

DEFAULT_DEADLINE_SECONDS = 30.0


@cache
def method(path: str) -> MethodDescriptor | None:
    """The method of a gRPC path (`/package.Service/Method`), or None when no loaded contract has it."""
    try:
        service, _, name = path.removeprefix("/").partition("/")
        return descriptor_pool.Default().FindServiceByName(service).methods_by_name.get(name)
    except KeyError:
        return None


@cache
def rule(path: str) -> access_pb2.Rule | None:
    """The access rule of the method at a gRPC path, or None when it has none."""
    found = method(path)
    if found is None or not found.GetOptions().HasExtension(access_pb2.rule):
        return None
    return found.GetOptions().Extensions[access_pb2.rule]


def deadline_seconds(path: str) -> float:
    """The longest time a call of the method may take."""
    found = rule(path)
    seconds = found.deadline.ToTimedelta().total_seconds() if found else 0.0
    return seconds or DEFAULT_DEADLINE_SECONDS


def service_config(service: str) -> str:
    """The gRPC service config of a service: its instances take turns, and what is made again.

    Calls that may be repeated are, after UNAVAILABLE. A server that stops says CANCELLED to calls that it has not begun
    (grpc/grpc#41785): all are made again but uploads, whose first part is gone. `service` is its full name, for example
    `moneyprinter.audio.v1.AudioService`.
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
        if (codes := _made_again_after(found))
    ]
    return json.dumps({"loadBalancingConfig": [{"round_robin": {}}], "methodConfig": policies})


def _made_again_after(found: MethodDescriptor) -> list[str]:
    its_rule = rule(f"/{found.containing_service.full_name}/{found.name}")
    codes = []
    if not found.client_streaming:
        codes.append("CANCELLED")
    if its_rule is not None and its_rule.retry_safe:
        codes.append("UNAVAILABLE")
    return codes
