"""Health: ask every part of the platform how it is, all at once, and say what that means for the whole."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from moneyprinter.errors import Error

T = TypeVar("T")

# Without these no video can be made.
VITAL = ("orchestrator", "user", "storage")
# The services that work on PostgreSQL.
ON_THE_DATABASE = ("orchestrator", "user")


@dataclass(frozen=True)
class Health:
    """The health of the whole."""

    status: str
    """`healthy`, `degraded` or `unhealthy`."""
    time: datetime
    """When it was looked at, UTC."""
    database: str
    """PostgreSQL: `healthy` or `unhealthy`."""
    storage: str
    """Object storage: `healthy` or `unhealthy`."""
    gpu: str
    """A hardware video encoder: `healthy`, or `not_used`."""
    cpu_percent: float
    memory_percent: float
    active_jobs: int
    down: tuple[str, ...]
    """The services that do not answer as they should."""
    redis: str = "not_used"
    """This platform runs without one."""


class Services(Protocol):
    """The services as they are asked. All of it raises an error of the platform where there is no answer."""

    async def serving(self, service: str, check: str = "") -> bool:
        """Whether a check of a service, or the service as a whole, says that it is well."""

    async def has_hardware_encoder(self) -> bool:
        """Whether videos can be encoded on a GPU."""

    async def active_jobs(self) -> int:
        """Jobs that were accepted and have not ended."""


class Machine(Protocol):
    """The machine that we run on."""

    def cpu_percent(self) -> float:
        """How busy the CPUs are. It does not wait."""

    def memory_percent(self) -> float:
        """How full the memory is."""


@dataclass(frozen=True)
class Scope:
    """What is looked at, and how."""

    names: Sequence[str]
    """Every service that is asked."""
    services: Services
    machine: Machine
    now: Callable[[], datetime]
    question_seconds: float
    """How long each question may take."""


async def look(scope: Scope) -> Health:
    """Ask everything at once. Never raises: what gives no answer in time is down."""

    async def ask(question: Awaitable[T], without_answer: T) -> T:
        try:
            async with asyncio.timeout(scope.question_seconds):
                return await question
        except (Error, TimeoutError):
            return without_answer

    services = scope.services
    whole, databases, storage, hardware, active_jobs = await asyncio.gather(
        asyncio.gather(*(ask(services.serving(name), False) for name in scope.names)),
        asyncio.gather(*(ask(services.serving(name, "database"), False) for name in ON_THE_DATABASE)),
        ask(services.serving("storage", "storage"), False),
        ask(services.has_hardware_encoder(), False),
        ask(services.active_jobs(), 0),
    )
    down = tuple(name for name, well in zip(scope.names, whole, strict=True) if not well)
    vital = all(databases) and storage and not set(down) & set(VITAL)
    return Health(
        status="unhealthy" if not vital else "degraded" if down else "healthy",
        time=scope.now(),
        database=_spelt(all(databases)),
        storage=_spelt(storage),
        gpu="healthy" if hardware else "not_used",
        cpu_percent=round(scope.machine.cpu_percent(), 1),
        memory_percent=round(scope.machine.memory_percent(), 1),
        active_jobs=active_jobs,
        down=down,
    )


def _spelt(well: bool) -> str:
    return "healthy" if well else "unhealthy"


class Lookout:
    """Looks when it is asked, but not more often than is of use, however many ask."""

    def __init__(self, scope: Scope, fresh_seconds: float, clock: Callable[[], float]) -> None:
        self._scope = scope
        self._fresh_seconds = fresh_seconds
        self._clock = clock
        self._lock = asyncio.Lock()
        self._last: tuple[float, Health] | None = None

    async def health(self) -> Health:
        """The health as it is, or was a moment ago."""
        async with self._lock:
            if self._last is None or self._clock() - self._last[0] >= self._fresh_seconds:
                found = await look(self._scope)
                self._last = self._clock(), found
            return self._last[1]
