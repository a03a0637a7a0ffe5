"""Cost limits: what providers may charge for public calls of an account. The orchestrator has the limits and costs."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from moneyprinter.errors import Error, Unavailable
from moneyprinter.orchestrator.v1 import orchestrator_service_pb2 as pb
from moneyprinter.orchestrator.v1 import orchestrator_service_pb2_grpc as pb_grpc
from services.providers.usage import UNLIMITED, Budget, price

log = structlog.get_logger()

_SECONDS = 2.0


@dataclass
class Spending:
    """What providers may charge for a call, and what they have charged."""

    budget: Budget
    cost: float = 0.0


class CostLimits:
    """Reserves what a call may cost before it begins, and records afterwards what it cost.

    Args:
        orchestrator: The service that has the limits of accounts, and what they have cost.
        prices: The prices per million units, as `price` takes them.
    """

    def __init__(self, orchestrator: pb_grpc.OrchestratorServiceAsyncStub, prices: Mapping[str, float]) -> None:
        self._orchestrator = orchestrator
        self.prices = prices

    @asynccontextmanager
    async def reserve(
        self, account_id: str, charged: Iterable[str], units: Mapping[str, int]
    ) -> AsyncIterator[Spending]:
        """Reserve what one call of a provider may cost while the context is open.

        Args:
            account_id: The account of the call.
            charged: The providers that may be called, and that charge the deployment. Without any, nothing is reserved.
            units: The most units of the call.

        Raises `ResourceExhausted` (COST_LIMIT_REACHED) when nothing is left for the account, and `Unavailable` when
        the limits cannot be read, unless no provider has a price.
        """
        names = list(charged)
        if not names:
            yield Spending(UNLIMITED)
            return
        most = max(self.count_cost(name, units) for name in names)
        call_id = f"call_{secrets.token_hex(12)}"
        request = pb.ReserveCostRequest(account_id=account_id, call_id=call_id, cost=most)
        try:
            response = await self._orchestrator.ReserveCost(request, timeout=_SECONDS)
        except Unavailable as failure:
            if self.prices:
                raise
            log.warning("cost limit not read", error=failure.message)
            response = pb.ReserveCostResponse()
        spending = Spending(Budget(response.max_cost if response.HasField("max_cost") else None, self.prices))
        try:
            yield spending
        finally:
            # Shielded: also a call that its client has left has its cost recorded.
            await asyncio.shield(self._record(account_id, call_id, spending.cost))

    def count_cost(self, provider: str, units: Mapping[str, int]) -> float:
        """Return what a provider charges for units."""
        return sum(price(provider, unit, amount, self.prices).cost for unit, amount in units.items())

    async def _record(self, account_id: str, call_id: str, cost: float) -> None:
        request = pb.RecordCostRequest(account_id=account_id, call_id=call_id, cost=cost)
        try:
            await self._orchestrator.RecordCost(request, timeout=_SECONDS)
        except Error as failure:
            # What was reserved then counts for the month.
            log.warning("cost not recorded", call=call_id, error=failure.message)
