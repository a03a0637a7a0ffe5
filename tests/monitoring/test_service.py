"""The monitoring service as the gateway calls it, in a mesh whose parts are missing, unhealthy, or hang."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from moneyprinter import errors
from moneyprinter.encoder.v1 import encoder_service_pb2 as encoder_pb
from moneyprinter.encoder.v1 import encoder_service_pb2_grpc as encoder_grpc
from moneyprinter.monitoring.v1 import monitoring_service_pb2 as pb
from moneyprinter.monitoring.v1 import monitoring_service_pb2_grpc as pb_grpc
from moneyprinter.orchestrator.v1 import orchestrator_service_pb2 as orchestrator_pb
from moneyprinter.orchestrator.v1 import orchestrator_service_pb2_grpc as orchestrator_grpc
from services.monitoring.config import Config
from services.runtime.config import SERVICES
from services.runtime.server import Runtime
from tests.mesh import Mesh

# As the specification prints it.
SPECIFIED = """
{
  "status": "healthy",
  "timestamp": "2025-01-29T10:00:00Z",
  "services": {
    "database": "healthy",
    "redis": "healthy",
    "storage": "healthy",
    "gpu": "healthy"
  },
  "metrics": {
    "cpu_usage": 45.2,
    "memory_usage": 68.1,
    "active_jobs": 12
  }
}
"""

Probe = Callable[[], Awaitable[object]]


class Encoders(encoder_grpc.EncoderServiceServicer):
    """An encoder service with the given hardware backends."""

    def __init__(self, *hardware: str) -> None:
        self._backends = [encoder_pb.Backend(name=name, hardware=True) for name in hardware]
        self._backends.append(encoder_pb.Backend(name="libx264"))

    async def GetLoad(self, request: encoder_pb.GetLoadRequest, context: Any) -> encoder_pb.GetLoadResponse:
        return encoder_pb.GetLoadResponse(backends=self._backends)


class Load(orchestrator_grpc.OrchestratorServiceServicer):
    """An orchestrator with three jobs."""

    async def GetLoad(self, request: orchestrator_pb.GetLoadRequest, context: Any) -> orchestrator_pb.GetLoadResponse:
        return orchestrator_pb.GetLoadResponse(active_jobs=3)


async def healthy() -> None:
    """A probe that succeeds."""


async def broken() -> None:
    raise OSError("the disk is gone")


async def hung() -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def wire(probes: dict[str, Probe], runtime: Runtime) -> AsyncIterator[None]:
    """Wire a service with only what monitoring asks for."""
    for name, probe in probes.items():
        runtime.check(name, probe)
    if runtime.service == "encoder":
        runtime.add(encoder_grpc.add_EncoderServiceServicer_to_server, Encoders())  # type: ignore[abstract]
    if runtime.service == "orchestrator":
        runtime.add(orchestrator_grpc.add_OrchestratorServiceServicer_to_server, Load())  # type: ignore[abstract]
    yield


async def start_platform(mesh: Mesh, *, without: tuple[str, ...] = (), **probes: Probe) -> Any:
    """Start every service but those `without`, the checks `storage` and `database` (at user) as given."""
    checks: dict[str, dict[str, Probe]] = {
        "storage": {"storage": probes.get("storage", healthy)},
        "user": {"database": probes.get("database", healthy)},
        "orchestrator": {"database": healthy},
    }
    for service in SERVICES:
        if service != "monitoring" and service not in without:
            await mesh.start(service, checks.get(service, {}), wire)
    # Where nothing hangs, as long as the deadline of the call allows, since the test machine may be busy.
    timeout = 1.0 if hung in probes.values() or "user" in without else 4.0
    await mesh.start("monitoring", Config(cache_seconds=0, timeout_seconds=timeout))
    return mesh.channel("monitoring", "moneyprinter.monitoring.v1.MonitoringService", caller="gateway")


async def get_health(channel: Any) -> tuple[pb.GetHealthResponse, dict[str, Any]]:
    """Return the health, and the initial metadata."""
    plain = channel._channel.unary_unary(
        "/moneyprinter.monitoring.v1.MonitoringService/GetHealth",
        request_serializer=pb.GetHealthRequest.SerializeToString,
        response_deserializer=pb.GetHealthResponse.FromString,
    )
    call = plain(pb.GetHealthRequest(), timeout=5)
    return await call, dict(await call.initial_metadata())


def keys(value: Any) -> Any:
    """Return the keys of a JSON object and of the objects in it."""
    return {key: keys(inner) for key, inner in value.items()} if isinstance(value, dict) else type(value).__name__


async def test_a_healthy_platform_responds_as_the_specification_prints(mesh: Mesh) -> None:
    health, metadata = await get_health(await start_platform(mesh))
    found = MessageToDict(health, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    assert keys(found) == keys(json.loads(SPECIFIED))
    assert found["status"] == "healthy"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found["timestamp"])
    assert found["services"] == {"database": "healthy", "redis": "not_used", "storage": "healthy", "gpu": "not_used"}
    assert found["metrics"]["active_jobs"] == 3
    assert 0.0 <= found["metrics"]["cpu_usage"] <= 100.0
    assert 0.0 < found["metrics"]["memory_usage"] <= 100.0
    assert "x-http-code" not in metadata


async def test_a_hardware_encoder_is_reported(mesh: Mesh) -> None:
    @asynccontextmanager
    async def gpu(_: None, runtime: Runtime) -> AsyncIterator[None]:
        encoders = Encoders("h264_nvenc")  # type: ignore[abstract]
        runtime.add(encoder_grpc.add_EncoderServiceServicer_to_server, encoders)
        yield

    await mesh.start("encoder", None, gpu)
    health, _ = await get_health(await start_platform(mesh, without=("encoder",)))
    assert (health.status, health.services.gpu) == ("healthy", "healthy")


@pytest.mark.parametrize(
    ("without", "probes", "status", "database", "storage"),
    [
        (("audio", "encoder"), {}, "degraded", "healthy", "healthy"),
        ((), {"storage": broken}, "unhealthy", "healthy", "unhealthy"),
        ((), {"storage": hung}, "unhealthy", "healthy", "unhealthy"),
        ((), {"database": broken}, "unhealthy", "unhealthy", "healthy"),
        (("orchestrator",), {}, "unhealthy", "unhealthy", "healthy"),
        (tuple(SERVICES), {}, "unhealthy", "unhealthy", "unhealthy"),
    ],
)
async def test_a_part_that_is_down_is_reported(
    mesh: Mesh, without: tuple[str, ...], probes: dict[str, Probe], status: str, database: str, storage: str
) -> None:
    health, metadata = await get_health(await start_platform(mesh, without=without, **probes))
    assert (health.status, health.services.database, health.services.storage) == (status, database, storage)
    assert metadata.get("x-http-code") == ("503" if status == "unhealthy" else None)


async def test_a_service_that_accepts_connections_but_does_not_respond_is_down(mesh: Mesh) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        mesh.config = mesh.config.model_copy(update={"ports": {**mesh.config.ports, "user": port}})
        health, _ = await get_health(await start_platform(mesh, without=("user",)))
    assert (health.status, health.services.database) == ("unhealthy", "unhealthy")


async def test_only_the_gateway_may_call(mesh: Mesh) -> None:
    await start_platform(mesh, without=tuple(SERVICES))
    with pytest.raises(errors.PermissionDenied):
        await mesh.stub(pb_grpc.MonitoringServiceStub, caller="audio").GetHealth(pb.GetHealthRequest())
