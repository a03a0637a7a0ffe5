"""A rate limit service that interprets the rendered configuration as Envoy's own service does.

It counts in memory, and its minutes never end.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from gateway.render import RATE_LIMITS
from services.embedded import authority
from services.runtime import tls
from services.runtime.config import RuntimeConfig

NAME = "envoy.service.ratelimit.v3"


def messages() -> dict[str, Any]:
    """Load the messages of the protocol, by name."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "ratelimit.binpb"
        here = Path(__file__).parent
        command = ("-m", "grpc_tools.protoc", f"-I{here}", f"--descriptor_set_out={out}", "ratelimit.proto")
        subprocess.run((sys.executable, *command), check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    names = ("RateLimitRequest", "RateLimitResponse")
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{NAME}.{name}")) for name in names}


class Limits:
    """Counts calls by the limits of a configuration."""

    def __init__(self, config: Any, response: Any) -> None:
        self._config = config
        self._response = response
        self.counts: Counter[tuple[tuple[str, str], ...]] = Counter()

    def limit(self, entries: list[tuple[str, str]]) -> dict[str, Any] | None:
        """Return the limit of a descriptor: that of the rule which matches all its entries by key and value."""
        rules: list[dict[str, Any]] = self._config["descriptors"]
        found: dict[str, Any] = {}
        for key, value in entries:
            found = next((rule for rule in rules if rule["key"] == key and rule.get("value", value) == value), {})
            rules = found.get("descriptors", [])
        return found.get("rate_limit")

    def answer(self, request: Any) -> Any:
        """Count a call, and say whether it is let through."""
        assert request.domain == self._config["domain"]
        statuses = list(self._statuses(request))
        over = any(status["code"] == "OVER_LIMIT" for status in statuses)
        return self._response(overall_code="OVER_LIMIT" if over else "OK", statuses=statuses)

    def _statuses(self, request: Any) -> Iterator[dict[str, Any]]:
        for descriptor in request.descriptors:
            entries = [(entry.key, entry.value) for entry in descriptor.entries]
            limit = self.limit(entries)
            assert limit is not None, f"there is no limit for {entries}"
            self.counts[tuple(entries)] += 1
            left = limit["requests_per_unit"] - self.counts[tuple(entries)]
            yield {
                "code": "OK" if left >= 0 else "OVER_LIMIT",
                "current_limit": {**limit, "unit": limit["unit"].upper()},
                "limit_remaining": max(0, left),
            }


@asynccontextmanager
async def run_rate_limit_service(certificates: Path, config: Path, port: int) -> AsyncIterator[Limits]:
    """Run the service over mTLS while the context is open. It reads its configuration at its start."""
    authority.issue_certificates(certificates, [RATE_LIMITS], trust_domain="cluster.local", namespace="moneyprinter")
    kinds = messages()
    limits = Limits(yaml.safe_load(config.read_text()), kinds["RateLimitResponse"])

    async def should(request: Any, context: Any) -> Any:
        peer = context.auth_context()["peer_spiffe_id"]
        assert peer == [b"spiffe://cluster.local/ns/moneyprinter/sa/gateway"]
        return limits.answer(request)

    handler = grpc.unary_unary_rpc_method_handler(
        should,
        request_deserializer=kinds["RateLimitRequest"].FromString,
        response_serializer=kinds["RateLimitResponse"].SerializeToString,
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(f"{NAME}.RateLimitService", {"ShouldRateLimit": handler}),)
    )
    leaf = tls.find_certificates(RuntimeConfig(certificates=certificates), RATE_LIMITS)
    server.add_secure_port(f"127.0.0.1:{port}", leaf.server_credentials(lambda: None))
    await server.start()
    try:
        yield limits
    finally:
        await server.stop(None)
