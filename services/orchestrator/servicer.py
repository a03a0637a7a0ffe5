"""The edge of the orchestrator for other services: OrchestratorService."""

from __future__ import annotations

from typing import Any

from moneyprinter.orchestrator.v1 import orchestrator_service_pb2 as pb
from moneyprinter.orchestrator.v1 import orchestrator_service_pb2_grpc as pb_grpc
from services.orchestrator.videos.quotas import UsageStore
from services.orchestrator.videos.videos import Videos


class OrchestratorServicer(pb_grpc.OrchestratorServiceServicer):
    """Serves OrchestratorService."""

    def __init__(self, videos: Videos, usage: UsageStore) -> None:
        self._videos = videos
        self._usage = usage

    async def GetLoad(self, request: pb.GetLoadRequest, context: Any) -> pb.GetLoadResponse:
        return pb.GetLoadResponse(active_jobs=await self._videos.active_jobs())

    async def ReserveCost(self, request: pb.ReserveCostRequest, context: Any) -> pb.ReserveCostResponse:
        max_cost = await self._usage.reserve_call(request.account_id, request.call_id, request.cost)
        return pb.ReserveCostResponse(max_cost=max_cost)

    async def RecordCost(self, request: pb.RecordCostRequest, context: Any) -> pb.RecordCostResponse:
        await self._usage.record_call(request.account_id, request.call_id, request.cost)
        return pb.RecordCostResponse()
