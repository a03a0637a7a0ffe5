"""Pool: the providers of one use that have credentials. New credentials do not disturb the calls in progress."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar
from weakref import WeakSet

import structlog
from prometheus_client import Gauge

from services.providers.breaker import CLOSED, Breaker
from services.providers.credentials import Credentials, Use
from services.providers.failures import FailureKind, ProviderFailure
from services.providers.keys import KeyRing
from services.runtime.config import ConfigError
from services.runtime.tasks import cancel

log = structlog.get_logger()

_OPEN = Gauge(
    "moneyprinter_provider_breaker_open",
    "1 while the circuit breaker of a provider is not closed",
    ("provider", "use"),
)


class Connection(Protocol):
    """What a pool manages of a provider. `ProviderClient` has it."""

    @property
    def keys(self) -> KeyRing | None:
        """The keys; None: the provider needs none."""

    @property
    def breaker(self) -> Breaker:
        """The circuit breaker."""

    async def retire(self) -> None:
        """Close the connections when the calls in progress have ended."""

    async def aclose(self) -> None:
        """Close the connections."""


class Adapter(Protocol):
    """Calls one provider, through its connection."""

    @property
    def client(self) -> Connection:
        """The connection."""


A = TypeVar("A", bound=Adapter)


@dataclass
class _Entry(Generic[A]):
    adapter: A
    credentials: Credentials


class ProviderPool(Generic[A]):
    """The providers of one use, in order of preference.

    Args:
        use: What the providers are used for. Credentials for other uses only are left out.
        open_adapter: Opens the adapter of a provider; returns None when the name is no provider of this use, or the
            credentials are not sufficient. It may raise `ConfigError`, for wrong options.
        order: The names of the preferred providers; others come after them.
        check_key: Makes one cheap call, with new keys. A refused key opens the breaker, so that no job waits for it.
        is_shared: Whether the metrics show its breakers: the credentials are those of the deployment.
    """

    def __init__(
        self,
        use: Use,
        open_adapter: Callable[[str, Credentials], A | None],
        order: Sequence[str] = (),
        check_key: Callable[[A], Awaitable[object]] | None = None,
        *,
        is_shared: bool = True,
    ) -> None:
        self.use = use
        self._is_shared = is_shared
        self._open_adapter = open_adapter
        self.order = tuple(order)
        """The names of the preferred providers."""
        self._check_key = check_key
        self._entries: dict[str, _Entry[A]] = {}
        self._retired: WeakSet[Connection] = WeakSet()
        self._checks: set[asyncio.Task[None]] = set()

    @property
    def adapters(self) -> Mapping[str, A]:
        """The adapters by the names of their providers, in order of preference."""
        return {name: entry.adapter for name, entry in self._entries.items()}

    async def replace(self, credentials: Mapping[str, Credentials]) -> None:
        """Use other credentials from now on, by the names of the providers.

        A provider whose address and options stay keeps its adapter and its breaker, which new keys close. The
        connections of all others are closed when their calls in progress have ended.
        """
        entries: dict[str, _Entry[A]] = {}
        for name in dict.fromkeys((*self.order, *credentials)):
            given = credentials.get(name)
            if given and given.serves(self.use) and (entry := self._update(name, given) or self._open(name, given)):
                entries[name] = entry
        former, self._entries = self._entries, entries
        for name, entry in former.items():
            if name not in entries and self._is_shared:
                _OPEN.remove(name, self.use)
            if entries.get(name) is not entry:
                self._retired.add(entry.adapter.client)
                await entry.adapter.client.retire()

    def find_credentials(self, name: str) -> Credentials | None:
        """Return the credentials with which a provider is called; None when it is not."""
        entry = self._entries.get(name)
        return entry.credentials if entry else None

    async def wait_checked(self) -> None:
        """Wait until the keys have been checked."""
        await asyncio.gather(*self._checks)

    async def aclose(self) -> None:
        """Close all connections."""
        for check in tuple(self._checks):
            await cancel(check)
        retired = tuple(self._retired)
        await self.replace({})
        for client in {*retired, *self._retired}:
            await client.aclose()

    def open_breakers(self) -> Mapping[str, str]:
        """Return the providers that are not called for now, with the reasons."""
        breakers = {name: entry.adapter.client.breaker for name, entry in self._entries.items()}
        return {name: breaker.reason for name, breaker in breakers.items() if breaker.state != CLOSED}

    def check_breakers(self) -> None:
        """Raise `ProviderFailure` when a provider is not called for now."""
        for entry in self._entries.values():
            breaker = entry.adapter.client.breaker
            if breaker.kind:
                raise ProviderFailure(breaker.provider, breaker.kind, breaker.reason, breaker.wait)

    def _update(self, name: str, new: Credentials) -> _Entry[A] | None:
        """Give the present adapter of a provider its new keys; None when it does not fit the new credentials."""
        entry = self._entries.get(name)
        if entry is None or _place(entry.credentials) != _place(new):
            return None
        entry.credentials, keys = new, entry.adapter.client.keys
        if keys is not None and keys.replace(new.keys):
            entry.adapter.client.breaker.reset()
            self._start_check(name, entry.adapter)
        return entry

    def _open(self, name: str, credentials: Credentials) -> _Entry[A] | None:
        try:
            adapter = self._open_adapter(name, credentials)
        except ConfigError as failure:
            log.error("provider not usable", use=self.use, provider=name, error=str(failure))
            return None
        if adapter is None:
            return None
        breaker = adapter.client.breaker
        if self._is_shared:
            _OPEN.labels(name, self.use).set_function(lambda: float(breaker.state != CLOSED))
        log.info("provider opened", use=self.use, provider=name, keys=len(credentials.keys))
        self._start_check(name, adapter)
        return _Entry(adapter, credentials)

    def _start_check(self, name: str, adapter: A) -> None:
        if self._check_key is None:
            return
        task = asyncio.create_task(self._check(self._check_key(adapter), name), name=f"check {name}")
        self._checks.add(task)
        task.add_done_callback(self._checks.discard)

    async def _check(self, call: Awaitable[object], name: str) -> None:
        try:
            await call
        except ProviderFailure as failure:
            # A compatible server may lack the method that is called. A wrong key is another kind of failure.
            if failure.kind is not FailureKind.REFUSED:
                kind, reason = failure.kind.value, failure.message
                log.warning("provider does not work", use=self.use, provider=name, kind=kind, reason=reason)
            return
        log.info("provider works", use=self.use, provider=name)


def _place(credentials: Credentials) -> tuple[object, ...]:
    """What an adapter cannot change."""
    return credentials.base_url, credentials.options, bool(credentials.keys)
