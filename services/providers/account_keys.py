"""Account keys: the providers for the calls of one account, with its own keys in place of the deployment's."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import structlog

from moneyprinter.errors import Error
from moneyprinter.user.v1 import authority_service_pb2 as pb
from moneyprinter.user.v1 import authority_service_pb2_grpc as pb_grpc
from services.providers.client import prepare_clients
from services.providers.credentials import Credentials
from services.providers.pool import Adapter, ProviderPool

log = structlog.get_logger()

A = TypeVar("A", bound=Adapter)

KEEP_SECONDS = 10.0
"""How long the keys of an account are used without reading them again."""
MAX_ACCOUNTS = 1000
MAX_POOLS = 100
# A request does not wait longer for the keys of its account.
_READ_SECONDS = 1.0
# New keys are checked before their first use, for at most this long.
_CHECK_SECONDS = 3.0


class AccountKeys:
    """The keys of accounts, from the user service.

    Args:
        authority: The service that has them.
        clock: Returns seconds of a monotonic clock.
    """

    def __init__(
        self, authority: pb_grpc.AuthorityServiceAsyncStub, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._authority = authority
        self._clock = clock
        self._keys: OrderedDict[str, tuple[float, Mapping[str, Credentials]]] = OrderedDict()

    async def find(self, account_id: str, *, is_fresh: bool = False) -> Mapping[str, Credentials]:
        """Return the keys of an account, by the names of providers; those of before while they cannot be read.

        With `is_fresh`, they are read again.
        """
        until, keys = self._keys.get(account_id, (0.0, {}))
        if until > self._clock() and not is_fresh:
            return keys
        request = pb.GetProviderKeysRequest(account_id=account_id)
        try:
            response = await self._authority.GetProviderKeys(request, timeout=_READ_SECONDS)
            keys = {each.provider: Credentials((each.key,), "", _options(each)) for each in response.keys}
        except Error as failure:
            # Those of before stay in use.
            log.warning("keys of an account not read", error=failure.message)
        self._keys[account_id] = (self._clock() + KEEP_SECONDS, keys)
        self._keys.move_to_end(account_id)
        while len(self._keys) > MAX_ACCOUNTS:
            self._keys.popitem(last=False)
        return keys


def _options(key: pb.ProviderKey) -> Mapping[str, str]:
    return {"region": key.region} if key.region else {}


@dataclass(frozen=True)
class AccountAdapters(Generic[A]):
    """The adapters for the calls of an account."""

    adapters: Mapping[str, A]
    """By the names of their providers, in order of preference."""
    own: frozenset[str] = frozenset()
    """The providers that are called with a key of the account."""


class AccountPools(Generic[A]):
    """The providers of one use for each account, some of which have keys of the account.

    A wrong key of an account opens a breaker of that account alone.

    Args:
        shared: The providers with the keys of the deployment.
        open_pool: Opens a pool for the keys of an account.
        keys: The keys of accounts; None: accounts have none.
    """

    def __init__(
        self, shared: ProviderPool[A], open_pool: Callable[[], ProviderPool[A]], keys: AccountKeys | None
    ) -> None:
        self._shared = shared
        self._open_pool = open_pool
        self._keys = keys
        self._pools: OrderedDict[str, ProviderPool[A]] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}

    async def find(self, account_id: str, *, is_fresh: bool = False) -> AccountAdapters[A]:
        """Return the providers for the calls of an account; empty: no account. With `is_fresh`, read its keys again."""
        shared = self._shared.adapters
        pool = await self._find_pool(account_id, is_fresh=is_fresh) if account_id else None
        if pool is None:
            return AccountAdapters(shared)
        own = pool.adapters
        names = dict.fromkeys((*(name for name in self._shared.order if name in {**shared, **own}), *shared, *own))
        return AccountAdapters({name: own.get(name) or shared[name] for name in names}, frozenset(own))

    async def aclose(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            await pool.aclose()
        self._pools.clear()

    async def _find_pool(self, account_id: str, *, is_fresh: bool) -> ProviderPool[A] | None:
        keys = await self._keys.find(account_id, is_fresh=is_fresh) if self._keys else {}
        if not keys and account_id not in self._pools:
            return None
        async with self._locks.setdefault(account_id, asyncio.Lock()):
            pool = self._pools.get(account_id)
            if pool is None:
                await asyncio.to_thread(prepare_clients)
                pool = self._pools[account_id] = self._open_pool()
            self._pools.move_to_end(account_id)
            await pool.replace({name: self._merge(name, given) for name, given in keys.items()})
            with suppress(TimeoutError):
                async with asyncio.timeout(_CHECK_SECONDS):
                    await asyncio.shield(pool.wait_checked())
        while len(self._pools) > MAX_POOLS:
            oldest, former = self._pools.popitem(last=False)
            self._locks.pop(oldest, None)
            # Calls in progress end first.
            await former.replace({})
        return pool

    def _merge(self, name: str, given: Credentials) -> Credentials:
        """The credentials of an account for a provider, with the address and the options of the deployment."""
        known = self._shared.find_credentials(name)
        if known is None:
            return given
        return replace(given, base_url=known.base_url, options={**known.options, **given.options})
