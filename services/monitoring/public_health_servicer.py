"""Public health servicer: PublicHealthService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from moneyprinter.monitoring.v1 import public_health_service_pb2 as public_pb
from moneyprinter.monitoring.v1 import public_health_service_pb2_grpc as public_grpc
from services.monitoring.public_health import PublicHealth, Serving


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
