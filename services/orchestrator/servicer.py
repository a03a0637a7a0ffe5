"""The edge of the orchestrator for other services: OrchestratorService."""

from __future__ import annotations

from typing import Any

from moneyprinter.orchestrator.v1 import orchestrator_service_pb2 as pb
from moneyprinter.orchestrator.v1 import orchestrator_service_pb2_grpc as pb_grpc
from services.orchestrator.videos.videos import Videos


class OrchestratorServicer(pb_grpc.OrchestratorServiceServicer):
    """Serves OrchestratorService."""

    def __init__(self, videos: Videos) -> None:
        self._videos = videos

    async def GetLoad(self, request: pb.GetLoadRequest, context: Any) -> pb.GetLoadResponse:
        return pb.GetLoadResponse(active_jobs=await self._videos.active_jobs())
