"""Servicer: MonitoringService."""

from __future__ import annotations

from typing import Any

from moneyprinter.monitoring.v1 import monitoring_service_pb2 as pb
from moneyprinter.monitoring.v1 import monitoring_service_pb2_grpc as pb_grpc
from services.monitoring.health import HealthCache

# The gateway uses this as the status of its HTTP response, where it is not 200.
HTTP_CODES = {"unhealthy": (("x-http-code", "503"),)}


class MonitoringServicer(pb_grpc.MonitoringServiceServicer):
    """Implements MonitoringService."""

    def __init__(self, health_cache: HealthCache) -> None:
        self._health_cache = health_cache

    async def GetHealth(self, request: pb.GetHealthRequest, context: Any) -> pb.GetHealthResponse:
        health = await self._health_cache.get()
        await context.send_initial_metadata(HTTP_CODES.get(health.status, ()))
        return pb.GetHealthResponse(
            status=health.status,
            timestamp=health.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            services=pb.Services(database=health.database, redis=health.redis, storage=health.storage, gpu=health.gpu),
            metrics=pb.Metrics(
                cpu_usage=health.cpu_percent, memory_usage=health.memory_percent, active_jobs=health.active_jobs
            ),
        )
