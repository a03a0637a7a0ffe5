"""Servicer: the edge of the monitoring service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from moneyprinter.monitoring.v1 import monitoring_service_pb2 as pb
from moneyprinter.monitoring.v1 import monitoring_service_pb2_grpc as pb_grpc
from moneyprinter.monitoring.v1 import public_health_service_pb2 as public_pb
from moneyprinter.monitoring.v1 import public_health_service_pb2_grpc as public_grpc
from services.monitoring.health import Lookout
from services.monitoring.public_health import PublicHealth, Serving

# What the gateway makes the status of its HTTP answer, where it is not 200.
HTTP_CODES = {"unhealthy": (("x-http-code", "503"),)}


class MonitoringServicer(pb_grpc.MonitoringServiceServicer):
    """The health of the whole."""

    def __init__(self, lookout: Lookout) -> None:
        self._lookout = lookout

    async def GetHealth(self, request: pb.GetHealthRequest, context: Any) -> pb.GetHealthResponse:
        found = await self._lookout.health()
        await context.send_initial_metadata(HTTP_CODES.get(found.status, ()))
        return pb.GetHealthResponse(
            status=found.status,
            timestamp=found.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            services=pb.Services(database=found.database, redis=found.redis, storage=found.storage, gpu=found.gpu),
            metrics=pb.Metrics(
                cpu_usage=found.cpu_percent, memory_usage=found.memory_percent, active_jobs=found.active_jobs
            ),
        )


class PublicHealthServicer(public_grpc.PublicHealthServiceServicer):
    """The health of public services."""

    def __init__(self, health: PublicHealth, stopping: asyncio.Event) -> None:
        self._health = health
        self._stopping = stopping

    async def Check(self, request: public_pb.CheckRequest, context: Any) -> public_pb.CheckResponse:
        return public_pb.CheckResponse(status=_status(await self._health.check(request.service)))

    async def Watch(self, request: public_pb.WatchRequest, context: Any) -> AsyncIterator[public_pb.WatchResponse]:
        async with aclosing(self._health.watch(request.service, self._stopping)) as found:
            async for serving in found:
                yield public_pb.WatchResponse(status=_status(serving))


def _status(serving: Serving) -> public_pb.ServingStatus.ValueType:
    return public_pb.ServingStatus.Value(f"SERVING_STATUS_{serving.name}")
