"""Accounts: what other services have of accounts, for the services that call providers."""

from __future__ import annotations

from typing import Any

from moneyprinter import errors
from moneyprinter.orchestrator.v1 import orchestrator_service_pb2 as orchestrator_pb
from moneyprinter.orchestrator.v1 import orchestrator_service_pb2_grpc as orchestrator_grpc
from moneyprinter.user.v1 import authority_service_pb2 as authority_pb
from moneyprinter.user.v1 import authority_service_pb2_grpc as authority_grpc
from tests.mesh import Mesh
from tests.runtime.auditing import wiring


class Authority(authority_grpc.AuthorityServiceServicer):
    """The keys of accounts."""

    def __init__(self) -> None:
        self.keys: dict[str, list[authority_pb.ProviderKey]] = {}
        self.reads: list[str] = []

    async def GetProviderKeys(
        self, request: authority_pb.GetProviderKeysRequest, context: Any
    ) -> authority_pb.GetProviderKeysResponse:
        self.reads.append(request.account_id)
        return authority_pb.GetProviderKeysResponse(keys=self.keys.get(request.account_id, ()))

    def give(self, account_id: str, *keys: str) -> None:
        self.keys[account_id] = [authority_pb.ProviderKey(provider="openai", key=key) for key in keys]


class Costs(orchestrator_grpc.OrchestratorServiceServicer):
    """What providers may charge for a call, and what they have charged."""

    def __init__(self) -> None:
        self.max_cost: float | None = None
        self.reserved: list[float] = []
        self.recorded: list[float] = []

    async def ReserveCost(
        self, request: orchestrator_pb.ReserveCostRequest, context: Any
    ) -> orchestrator_pb.ReserveCostResponse:
        self.reserved.append(request.cost)
        if self.max_cost is not None and self.max_cost < 0:
            raise errors.ResourceExhausted("cost limit reached", reason="COST_LIMIT_REACHED")
        return orchestrator_pb.ReserveCostResponse(max_cost=self.max_cost)

    async def RecordCost(
        self, request: orchestrator_pb.RecordCostRequest, context: Any
    ) -> orchestrator_pb.RecordCostResponse:
        self.recorded.append(request.cost)
        return orchestrator_pb.RecordCostResponse()


async def start_costs(mesh: Mesh) -> Costs:
    """Start an orchestrator with no more than the costs of accounts."""
    costs = Costs()  # type: ignore[abstract]
    await mesh.start("orchestrator", None, wiring(orchestrator_grpc.add_OrchestratorServiceServicer_to_server, costs))
    return costs
