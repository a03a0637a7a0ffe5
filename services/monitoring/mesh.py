"""Mesh: the services asked over gRPC: `grpc.health.v1` of each, and what two of them tell of their work."""

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


class MeshServices:
    """The services, each by a channel of its own whose calls raise typed errors."""

    def __init__(self, channels: Mapping[str, grpc.aio.Channel], question_seconds: float) -> None:
        # The stubs of grpc_health have no types for their calls.
        self._health: dict[str, Any] = {name: health_pb2_grpc.HealthStub(channel) for name, channel in channels.items()}
        self._encoder = encoder_grpc.EncoderServiceStub(channels["encoder"])
        self._orchestrator = orchestrator_grpc.OrchestratorServiceStub(channels["orchestrator"])
        self._seconds = question_seconds

    async def serving(self, service: str, check: str = "") -> bool:
        """Whether a check of a service says that it is well."""
        request = health_pb2.HealthCheckRequest(service=check)
        answer = await self._health[service].Check(request, timeout=self._seconds)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def has_hardware_encoder(self) -> bool:
        """Whether videos can be encoded on a GPU."""
        answer = await self._encoder.GetLoad(encoder_pb.GetLoadRequest(), timeout=self._seconds)
        return any(backend.hardware for backend in answer.backends)

    async def active_jobs(self) -> int:
        """Jobs that were accepted and have not ended."""
        answer = await self._orchestrator.GetLoad(orchestrator_pb.GetLoadRequest(), timeout=self._seconds)
        return answer.active_jobs
