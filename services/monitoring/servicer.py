"""Servicer: MonitoringService and PublicHealthService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from moneyprinter.monitoring.v1 import monitoring_service_pb2 as pb
from moneyprinter.monitoring.v1 import monitoring_service_pb2_grpc as pb_grpc
from moneyprinter.monitoring.v1 import public_health_service_pb2 as public_pb
from moneyprinter.monitoring.v1 import public_health_service_pb2_grpc as public_grpc
from services.monitoring.health import HealthCache
from services.monitoring.public_health import PublicHealth, Serving

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


class PublicHealthServicer(public_grpc.PublicHealthServiceServicer):
    """Implements PublicHealthService."""

    def __init__(self, health: PublicHealth, stopping: asyncio.Event) -> None:
        self._health = health
        self._stopping = stopping

    async def Check(self, request: public_pb.CheckRequest, context: Any) -> public_pb.CheckResponse:
        return public_pb.CheckResponse(status=_status(await self._health.check(request.service)))

    async def Watch(self, request: public_pb.WatchRequest, context: Any) -> AsyncIterator[public_pb.WatchResponse]:
        async with aclosing(self._health.watch(request.service, self._stopping)) as changes:
            async for serving in changes:
                yield public_pb.WatchResponse(status=_status(serving))


def _status(serving: Serving) -> public_pb.ServingStatus.ValueType:
    return public_pb.ServingStatus.Value(f"SERVING_STATUS_{serving.name}")
