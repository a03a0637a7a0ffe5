"""Server: wires the rate limit service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from moneyprinter.ratelimit.v1 import rate_limit_service_pb2_grpc as pb_grpc
from services.ratelimit.config import Config
from services.ratelimit.limits import Limit, Limits
from services.ratelimit.redis_buckets import RedisBuckets
from services.ratelimit.servicer import RateLimitServicer
from services.runtime.config import ConfigError
from services.runtime.server import Runtime


@asynccontextmanager
async def wire(config: Config, runtime: Runtime) -> AsyncIterator[None]:
    """Count in the Redis of the settings. Raises `ConfigError` when there is none."""
    if runtime.redis is None:
        raise ConfigError("MONEYPRINTER_RUNTIME_REDIS is not set; the rate limit service counts in Redis")
    runtime.check("redis", runtime.redis.check)
    limits = Limits(
        Limit(config.user_per_minute, config.user_burst), Limit(config.address_per_minute, config.address_burst)
    )
    servicer = RateLimitServicer(limits, RedisBuckets(runtime.redis))
    runtime.add(pb_grpc.add_RateLimitServiceServicer_to_server, servicer)
    yield
