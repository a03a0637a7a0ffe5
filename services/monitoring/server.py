"""Server: the wiring of the monitoring service."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from moneyprinter.monitoring.v1 import monitoring_service_pb2_grpc as pb_grpc
from moneyprinter.monitoring.v1 import public_health_service_pb2_grpc as public_grpc
from services.monitoring.config import Config
from services.monitoring.health import Lookout, Scope
from services.monitoring.machine import ThisMachine
from services.monitoring.mesh import HEALTH, MeshServices
from services.monitoring.public_health import PublicHealth
from services.monitoring.servicer import MonitoringServicer, PublicHealthServicer
from services.runtime.config import SERVICES
from services.runtime.server import Runtime


@asynccontextmanager
async def wire(config: Config, runtime: Runtime) -> AsyncIterator[None]:
    """Watch every service but this one. None of them has to run."""
    names = tuple(name for name in SERVICES if name != runtime.service)
    services = MeshServices({name: runtime.connect(name, HEALTH) for name in names}, config.question_seconds)
    scope = Scope(
        names,
        services,
        ThisMachine(time.monotonic),
        now=lambda: datetime.now(UTC),
        question_seconds=config.question_seconds,
    )
    lookout = Lookout(scope, config.fresh_seconds, time.monotonic)

    async def is_well() -> bool:
        return (await lookout.health()).status != "unhealthy"

    public = PublicHealth(is_well, services.serving, config.fresh_seconds, time.monotonic)
    runtime.add(pb_grpc.add_MonitoringServiceServicer_to_server, MonitoringServicer(lookout))
    runtime.add(public_grpc.add_PublicHealthServiceServicer_to_server, PublicHealthServicer(public, runtime.stopping))
    yield
