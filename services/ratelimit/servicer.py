"""Servicer: RateLimitService, as Envoy calls it."""

from __future__ import annotations

import math
from typing import Any

from moneyprinter.ratelimit.v1 import rate_limit_service_pb2 as pb
from moneyprinter.ratelimit.v1 import rate_limit_service_pb2_grpc as pb_grpc
from services.ratelimit.limits import DOMAIN, Buckets, BucketState, Limits, Taking

OK, OVER_LIMIT = pb.RateLimitResponse.OK, pb.RateLimitResponse.OVER_LIMIT


class RateLimitServicer(pb_grpc.RateLimitServiceServicer):
    """Implements RateLimitService. An error lets the gateway apply its own limits only."""

    def __init__(self, limits: Limits, buckets: Buckets) -> None:
        self._limits = limits
        self._buckets = buckets

    async def ShouldRateLimit(self, request: pb.RateLimitRequest, context: Any) -> pb.RateLimitResponse:
        tokens = request.hits_addend or 1
        takings = [
            self._limits.find([(entry.key, entry.value) for entry in descriptor.entries], tokens)
            if request.domain == DOMAIN
            else None
            for descriptor in request.descriptors
        ]
        states = iter(await self._buckets.take([taking for taking in takings if taking is not None]))
        statuses = [
            _status(taking, next(states)) if taking is not None else pb.RateLimitResponse.DescriptorStatus(code=OK)
            for taking in takings
        ]
        is_over = any(status.code == OVER_LIMIT for status in statuses)
        return pb.RateLimitResponse(overall_code=OVER_LIMIT if is_over else OK, statuses=statuses)


def _status(taking: Taking, state: BucketState) -> pb.RateLimitResponse.DescriptorStatus:
    status = pb.RateLimitResponse.DescriptorStatus(
        code=OVER_LIMIT if state.is_over else OK,
        current_limit=pb.RateLimitResponse.RateLimit(requests_per_unit=taking.limit.burst),
        limit_remaining=max(0, state.remaining),
    )
    seconds = state.wait_seconds if state.is_over else 60 / taking.limit.per_minute
    status.duration_until_reset.FromSeconds(math.ceil(seconds))
    return status
