"""What the health of each part means for the whole, whatever the parts do."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import psutil
import pytest

from moneyprinter.errors import Unavailable
from services.monitoring.health import Health, Lookout, Scope, look
from services.monitoring.machine import ThisMachine

NAMES = ("orchestrator", "user", "storage", "audio", "encoder")


class Parts:
    """Services that are well, but for those that are named."""

    def __init__(self, ill: tuple[str, ...] = (), down: tuple[str, ...] = (), hung: tuple[str, ...] = ()) -> None:
        self.ill, self.down, self.hung = ill, down, hung
        self.asked = 0

    async def _answer(self, name: str) -> bool:
        if name in self.hung:
            await asyncio.Event().wait()
        if name in self.down:
            raise Unavailable("it is down", reason="SERVICE_UNAVAILABLE")
        return name not in self.ill

    async def serving(self, service: str, check: str = "") -> bool:
        self.asked += 1
        return await self._answer(f"{service}/{check}" if check else service)

    async def has_hardware_encoder(self) -> bool:
        return await self._answer("gpu")

    async def active_jobs(self) -> int:
        return 12 * await self._answer("load")


class Still:
    """A machine that does not change."""

    def cpu_percent(self) -> float:
        return 45.21

    def memory_percent(self) -> float:
        return 68.08


def scope(parts: Parts) -> Scope:
    return Scope(NAMES, parts, Still(), now=lambda: datetime(2025, 1, 29, 10, 0, tzinfo=UTC), question_seconds=0.1)


async def test_all_is_well() -> None:
    assert await look(scope(Parts())) == Health(
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


@pytest.mark.parametrize("how", ["ill", "down", "hung"])
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
async def test_one_part_is_not_well(
    how: str, part: str, status: str, database: str, storage: str, gpu: str, active_jobs: int
) -> None:
    found = await look(scope(Parts(**{how: (part,)})))
    seen = (found.status, found.database, found.storage, found.gpu, found.active_jobs)
    assert seen == (status, database, storage, gpu, active_jobs)
    assert found.down == ((part,) if part in NAMES else ())


async def test_who_asks_at_once_gets_one_look() -> None:
    parts, time = Parts(), 0.0
    lookout = Lookout(scope(parts), fresh_seconds=1.0, clock=lambda: time)
    await asyncio.gather(*(lookout.health() for _ in range(50)))
    once = parts.asked
    time = 0.9
    await lookout.health()
    assert parts.asked == once
    time = 1.0
    await lookout.health()
    assert parts.asked == 2 * once


def test_the_cpu_is_sampled_between_questions() -> None:
    time = 0.0
    machine = ThisMachine(lambda: time)
    assert machine.cpu_percent() == 0.0
    sum(number * number for number in range(3_000_000))
    time = 1.0
    busy = machine.cpu_percent()
    assert 100.0 / (psutil.cpu_count() or 1) / 2 <= busy <= 100.0
    assert machine.cpu_percent() == busy
    assert 0.0 < machine.memory_percent() <= 100.0
