"""How the health of the platform is derived from the health of its parts."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import psutil
import pytest

from moneyprinter.errors import Unavailable
from services.monitoring.health import Health, HealthCache, HealthSources, determine_health
from services.monitoring.machine import LocalMachine

NAMES = ("orchestrator", "user", "storage", "audio", "content", "config", "encoder")


class FakeServices:
    """Services that are healthy, but for those that are named."""

    def __init__(self, unhealthy: tuple[str, ...] = (), down: tuple[str, ...] = (), hung: tuple[str, ...] = ()) -> None:
        self.unhealthy, self.down, self.hung = unhealthy, down, hung
        self.requests = 0

    async def _respond(self, name: str) -> bool:
        if name in self.hung:
            await asyncio.Event().wait()
        if name in self.down:
            raise Unavailable("it is down", reason="SERVICE_UNAVAILABLE")
        return name not in self.unhealthy

    async def is_serving(self, service: str, check: str = "") -> bool:
        self.requests += 1
        return await self._respond(f"{service}/{check}" if check else service)

    async def has_hardware_encoder(self) -> bool:
        return await self._respond("gpu")

    async def count_active_jobs(self) -> int:
        return 12 * await self._respond("load")


class FakeMachine:
    """A machine with a constant load."""

    def cpu_percent(self) -> float:
        return 45.21

    def memory_percent(self) -> float:
        return 68.08


def sources(parts: FakeServices) -> HealthSources:
    return HealthSources(
        NAMES, parts, FakeMachine(), now=lambda: datetime(2025, 1, 29, 10, 0, tzinfo=UTC), timeout_seconds=0.1
    )


async def test_a_platform_whose_parts_are_healthy_is_healthy() -> None:
    assert await determine_health(sources(FakeServices())) == Health(
        status="healthy",
        time=datetime(2025, 1, 29, 10, 0, tzinfo=UTC),
        database="healthy",
        redis="not_used",
        storage="healthy",
        gpu="healthy",
        cpu_percent=45.2,
        memory_percent=68.1,
        active_jobs=12,
        down=(),
    )


@pytest.mark.parametrize("how", ["unhealthy", "down", "hung"])
@pytest.mark.parametrize(
    ("part", "status", "database", "storage", "gpu", "active_jobs"),
    [
        ("orchestrator", "unhealthy", "healthy", "healthy", "healthy", 12),
        ("user", "unhealthy", "healthy", "healthy", "healthy", 12),
        ("storage", "unhealthy", "healthy", "healthy", "healthy", 12),
        ("orchestrator/database", "unhealthy", "unhealthy", "healthy", "healthy", 12),
        ("user/database", "unhealthy", "unhealthy", "healthy", "healthy", 12),
        ("storage/storage", "unhealthy", "healthy", "unhealthy", "healthy", 12),
        ("audio", "degraded", "healthy", "healthy", "healthy", 12),
        ("encoder", "degraded", "healthy", "healthy", "healthy", 12),
        ("gpu", "healthy", "healthy", "healthy", "not_used", 12),
        ("load", "healthy", "healthy", "healthy", "healthy", 0),
    ],
)
async def test_the_failure_of_one_part(
    how: str, part: str, status: str, database: str, storage: str, gpu: str, active_jobs: int
) -> None:
    health = await determine_health(sources(FakeServices(**{how: (part,)})))
    reported = (health.status, health.database, health.storage, health.gpu, health.active_jobs)
    assert reported == (status, database, storage, gpu, active_jobs)
    assert health.down == ((part,) if part in NAMES else ())


@pytest.mark.parametrize("check", ["audio/providers", "content/providers", "config/secrets", "storage/objects"])
async def test_a_dependency_outside_that_does_not_work_degrades_the_platform(check: str) -> None:
    health = await determine_health(sources(FakeServices(unhealthy=(check,))))
    assert (health.status, health.down) == ("degraded", ())
    health = await determine_health(sources(FakeServices(hung=(check,))))
    assert health.status == "healthy"


@pytest.mark.parametrize("how", ["unhealthy", "down", "hung"])
async def test_redis_is_reported_where_it_is_used(how: str) -> None:
    used = replace(sources(FakeServices()), uses_redis=True)
    health = await determine_health(used)
    assert (health.status, health.redis) == ("healthy", "healthy")
    health = await determine_health(replace(used, services=FakeServices(**{how: ("user/redis",)})))
    assert (health.status, health.redis, health.down) == ("degraded", "unhealthy", ())


async def test_concurrent_callers_share_one_determination() -> None:
    parts, time = FakeServices(), 0.0
    cache = HealthCache(sources(parts), cache_seconds=1.0, clock=lambda: time)
    await asyncio.gather(*(cache.get() for _ in range(50)))
    requests = parts.requests
    time = 0.9
    await cache.get()
    assert parts.requests == requests
    time = 1.0
    await cache.get()
    assert parts.requests == 2 * requests


def test_the_cpu_load_is_sampled_between_requests() -> None:
    time = 0.0
    machine = LocalMachine(lambda: time)
    assert machine.cpu_percent() == 0.0
    sum(number * number for number in range(3_000_000))
    time = 1.0
    busy = machine.cpu_percent()
    assert 100.0 / (psutil.cpu_count() or 1) / 2 <= busy <= 100.0
    assert machine.cpu_percent() == busy
    assert 0.0 < machine.memory_percent() <= 100.0
