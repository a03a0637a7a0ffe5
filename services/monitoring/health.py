"""Health: asks every part of the platform for its health, concurrently, and derives the health of the platform."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from moneyprinter.errors import Error

T = TypeVar("T")

# Without these services no video can be made.
VITAL = ("orchestrator", "user", "storage")
# Services with a check that fails while something outside the platform does not work (external providers, or Vault), or
# while stored originals are damaged.
OUTSIDE = (("audio", "providers"), ("content", "providers"), ("config", "secrets"), ("storage", "objects"))
# The services that use PostgreSQL.
ON_THE_DATABASE = ("orchestrator", "user")


@dataclass(frozen=True)
class Health:
    """The health of the platform."""

    status: str
    """`healthy`, `degraded` or `unhealthy`."""
    time: datetime
    """When it was determined, UTC."""
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
    """The services that are not healthy, or do not respond."""
    redis: str = "not_used"
    """Redis: `healthy`; `unhealthy`, without which the platform works; or `not_used`."""


class Services(Protocol):
    """The services of the platform. All methods raise an error of the platform when there is no response."""

    async def is_serving(self, service: str, check: str = "") -> bool:
        """Return whether a check of a service, or the service as a whole, is healthy."""

    async def has_hardware_encoder(self) -> bool:
        """Return whether videos can be encoded on a GPU."""

    async def count_active_jobs(self) -> int:
        """Return the number of jobs that were accepted and have not ended."""


class Machine(Protocol):
    """The machine that this process runs on."""

    def cpu_percent(self) -> float:
        """Return the load of the CPUs, without waiting for a sample."""

    def memory_percent(self) -> float:
        """Return how much of the memory is used."""


@dataclass(frozen=True)
class HealthSources:
    """What the health of the platform is derived from."""

    names: Sequence[str]
    """Every service that is asked."""
    services: Services
    machine: Machine
    now: Callable[[], datetime]
    timeout_seconds: float
    """How long each response may take."""
    uses_redis: bool = False
    """Whether the settings name a Redis."""


async def determine_health(sources: HealthSources) -> Health:
    """Ask all services concurrently. Never raises: a service that does not respond in time is down."""

    async def ask(request: Awaitable[T], default: T) -> T:
        try:
            async with asyncio.timeout(sources.timeout_seconds):
                return await request
        except (Error, TimeoutError):
            return default

    services = sources.services
    serving, databases, (storage, redis), outside, has_hardware, active_jobs = await asyncio.gather(
        asyncio.gather(*(ask(services.is_serving(name), False) for name in sources.names)),
        asyncio.gather(*(ask(services.is_serving(name, "database"), False) for name in ON_THE_DATABASE)),
        asyncio.gather(
            ask(services.is_serving("storage", "storage"), False),
            ask(services.is_serving("user", "redis") if sources.uses_redis else _not_used(), False),
        ),
        # A service that does not respond is down already, and one without the check has nothing outside.
        asyncio.gather(*(ask(services.is_serving(*check), True) for check in OUTSIDE if check[0] in sources.names)),
        ask(services.has_hardware_encoder(), False),
        ask(services.count_active_jobs(), 0),
    )
    down = tuple(name for name, is_serving in zip(sources.names, serving, strict=True) if not is_serving)
    is_usable = all(databases) and storage and not set(down) & set(VITAL)
    return Health(
        status="unhealthy" if not is_usable else "degraded" if down or not redis or not all(outside) else "healthy",
        time=sources.now(),
        database=_status(all(databases)),
        storage=_status(storage),
        gpu="healthy" if has_hardware else "not_used",
        cpu_percent=round(sources.machine.cpu_percent(), 1),
        memory_percent=round(sources.machine.memory_percent(), 1),
        active_jobs=active_jobs,
        down=down,
        redis=_status(redis) if sources.uses_redis else "not_used",
    )


async def _not_used() -> bool:
    """Stand for the check of a part that is not used, and so cannot fail."""
    return True


def _status(is_healthy: bool) -> str:
    return "healthy" if is_healthy else "unhealthy"


class HealthCache:
    """Determines the health on request, at most once in `cache_seconds` for all callers together."""

    def __init__(self, sources: HealthSources, cache_seconds: float, clock: Callable[[], float]) -> None:
        self._sources = sources
        self._cache_seconds = cache_seconds
        self._clock = clock
        self._lock = asyncio.Lock()
        self._last: tuple[float, Health] | None = None

    async def get(self) -> Health:
        """Return the health as it is, or was less than `cache_seconds` ago."""
        async with self._lock:
            if self._last is None or self._clock() - self._last[0] >= self._cache_seconds:
                health = await determine_health(self._sources)
                self._last = self._clock(), health
            return self._last[1]
