"""Public health: whether each public service works, for the gRPC health checks of external clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from enum import Enum

from moneyprinter.errors import NotFound, ResourceExhausted

PLATFORM = ""
"""The name of the platform as a whole."""

PUBLIC: Mapping[str, str] = {
    "moneyprinter.audio.v1.SpeechService": "audio",
    "moneyprinter.config.v1.SecretAdministrationService": "config",
    "moneyprinter.content.v1.FootageSearchService": "content",
    "moneyprinter.content.v1.WritingService": "content",
    "moneyprinter.monitoring.v1.MonitoringService": "monitoring",
    "moneyprinter.user.v1.AccountService": "user",
    "moneyprinter.user.v1.AdministrationService": "user",
    "moneyprinter.user.v1.AuditService": "user",
    "moneyprinter.user.v1.ProviderKeyService": "user",
    "moneyprinter.user.v1.UserService": "user",
    "moneyprinter.video.v1.ClipService": "orchestrator",
    "moneyprinter.video.v1.EventService": "orchestrator",
    "moneyprinter.video.v1.LibraryService": "orchestrator",
    "moneyprinter.video.v1.ProviderService": "orchestrator",
    "moneyprinter.video.v1.VideoService": "orchestrator",
    "moneyprinter.video.v1.WebhookService": "orchestrator",
}
"""The public gRPC services, and the services that implement them."""

# Watchers need no token, so that no user's quota limits them; this limits all of them together.
MAX_WATCHERS = 200
POLL_SECONDS = 1.0


class Serving(Enum):
    """Whether a service works, in the numbers of grpc.health.v1."""

    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


class PublicHealth:
    """Asks each service for its health, at most once in `cache_seconds` for all callers together."""

    def __init__(
        self,
        is_platform_serving: Callable[[], Awaitable[bool]],
        is_serving: Callable[[str, str], Awaitable[bool]],
        cache_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._is_platform_serving = is_platform_serving
        self._is_serving = is_serving
        self._cache_seconds = cache_seconds
        self._clock = clock
        self._locks = {name: asyncio.Lock() for name in (PLATFORM, *PUBLIC)}
        self._last: dict[str, tuple[float, Serving]] = {}
        self._watchers = 0

    async def check(self, name: str) -> Serving:
        """Return whether the service `name` works. Raises `NotFound` when no public service has the name."""
        if name not in self._locks:
            raise NotFound(f"there is no public service {name}", reason="METHOD_UNKNOWN")
        async with self._locks[name]:
            last = self._last.get(name)
            if last is None or self._clock() - last[0] >= self._cache_seconds:
                serving = Serving.SERVING if await self._determine(name) else Serving.NOT_SERVING
                last = self._last[name] = self._clock(), serving
            return last[1]

    async def watch(self, name: str, stopping: asyncio.Event) -> AsyncGenerator[Serving, None]:
        """Yield whether the service `name` works, and every change of it, until `stopping` is set.

        Raises `ResourceExhausted` when there are too many watchers.
        """
        if self._watchers >= MAX_WATCHERS:
            raise ResourceExhausted(
                "too many clients watch the health; check it instead", reason="BUSY", retry_after_seconds=10
            )
        self._watchers += 1
        try:
            last: Serving | None = None
            while not stopping.is_set():
                serving = await self.check(name) if name in self._locks else Serving.SERVICE_UNKNOWN
                if serving is not last:
                    last = serving
                    yield serving
                try:
                    async with asyncio.timeout(POLL_SECONDS):
                        await stopping.wait()
                except TimeoutError:
                    continue
        finally:
            self._watchers -= 1

    async def _determine(self, name: str) -> bool:
        if name == PLATFORM:
            return await self._is_platform_serving()
        service = PUBLIC[name]
        if service == "monitoring":
            return True
        try:
            return await self._is_serving(service, name)
        except Exception:
            # Whichever error the request meets, the service does not work.
            return False
