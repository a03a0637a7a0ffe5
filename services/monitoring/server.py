"""Server: wires the monitoring service."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from moneyprinter.monitoring.v1 import monitoring_service_pb2_grpc as pb_grpc
from moneyprinter.monitoring.v1 import public_health_service_pb2_grpc as public_grpc
from services.monitoring.config import Config
from services.monitoring.grpc_services import HEALTH, GrpcServices
from services.monitoring.health import HealthCache, HealthSources
from services.monitoring.machine import LocalMachine
from services.monitoring.public_health import PublicHealth
from services.monitoring.public_health_servicer import PublicHealthServicer
from services.monitoring.servicer import MonitoringServicer
from services.runtime.config import SERVICES
from services.runtime.server import Runtime


@asynccontextmanager
async def wire(config: Config, runtime: Runtime) -> AsyncIterator[None]:
    """Report the health of every service but this one, whether or not they run."""
    names = tuple(name for name in SERVICES if name != runtime.service)
    services = GrpcServices({name: runtime.connect(name, HEALTH) for name in names}, config.timeout_seconds)
    sources = HealthSources(
        names,
        services,
        LocalMachine(time.monotonic),
        now=lambda: datetime.now(UTC),
        timeout_seconds=config.timeout_seconds,
        uses_redis=bool(runtime.config.redis),
    )
    health_cache = HealthCache(sources, config.cache_seconds, time.monotonic)

    async def is_platform_serving() -> bool:
        return (await health_cache.get()).status != "unhealthy"

    public = PublicHealth(is_platform_serving, services.is_serving, config.cache_seconds, time.monotonic)
    runtime.add(pb_grpc.add_MonitoringServiceServicer_to_server, MonitoringServicer(health_cache))
    runtime.add(public_grpc.add_PublicHealthServiceServicer_to_server, PublicHealthServicer(public, runtime.stopping))
    yield
