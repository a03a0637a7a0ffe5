"""gRPC services: asks each service for `grpc.health.v1`, and two of them for their load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from moneyprinter.encoder.v1 import encoder_service_pb2 as encoder_pb
from moneyprinter.encoder.v1 import encoder_service_pb2_grpc as encoder_grpc
from moneyprinter.orchestrator.v1 import orchestrator_service_pb2 as orchestrator_pb
from moneyprinter.orchestrator.v1 import orchestrator_service_pb2_grpc as orchestrator_grpc

HEALTH = "grpc.health.v1.Health"


class GrpcServices:
    """The services over gRPC, each with a channel whose calls raise errors of the platform."""

    def __init__(self, channels: Mapping[str, grpc.aio.Channel], timeout_seconds: float) -> None:
        # The stubs of grpc_health have no types for their calls.
        self._health: dict[str, Any] = {name: health_pb2_grpc.HealthStub(channel) for name, channel in channels.items()}
        self._encoder = encoder_grpc.EncoderServiceStub(channels["encoder"])
        self._orchestrator = orchestrator_grpc.OrchestratorServiceStub(channels["orchestrator"])
        self._timeout_seconds = timeout_seconds

    async def is_serving(self, service: str, check: str = "") -> bool:
        """Return whether a check of a service is healthy."""
        request = health_pb2.HealthCheckRequest(service=check)
        response = await self._health[service].Check(request, timeout=self._timeout_seconds)
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)

    async def has_hardware_encoder(self) -> bool:
        """Return whether videos can be encoded on a GPU."""
        response = await self._encoder.GetLoad(encoder_pb.GetLoadRequest(), timeout=self._timeout_seconds)
        return any(backend.hardware for backend in response.backends)

    async def count_active_jobs(self) -> int:
        """Return the number of jobs that were accepted and have not ended."""
        response = await self._orchestrator.GetLoad(orchestrator_pb.GetLoadRequest(), timeout=self._timeout_seconds)
        return response.active_jobs
