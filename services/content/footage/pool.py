"""Pool: the providers that have a key, in the order of preference, with their results of the last hours."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from services.content.footage import coverr, pexels, pixabay
from services.content.footage.answers import StockSource
from services.content.footage.clips import Credit, FootageClip, FootageQuery, FootageSource
from services.content.stored_documents import Objects, StoredDocuments, hash_request
from services.providers.account_keys import AccountKeys, AccountPools
from services.providers.breaker import Breaker
from services.providers.client import Authenticate, ProviderClient, authenticate_bearer
from services.providers.credentials import Credentials, Use
from services.providers.keys import KeyRing
from services.providers.pool import ProviderPool
from services.providers.responses import KEY_STATUSES

PROVIDERS = (pexels.NAME, pixabay.NAME, coverr.NAME)
MAX_RESULTS = 2000
"""The most searches that are kept, of about 20 kB each."""
MAX_RESPONSE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class _Kind:
    """How a provider is opened."""

    base_url: str
    authenticate: Authenticate
    open: Callable[[ProviderClient, Sequence[str]], StockSource]
    hosts: Sequence[str]
    keep: timedelta
    """How long its results are kept."""
    key_statuses: Collection[int] = KEY_STATUSES
    """The HTTP statuses that stand for a refused key."""


# Pixabay requires that results are kept for 24 hours. The addresses of Coverr's files are signed, and expire.
_KINDS = {
    pexels.NAME: _Kind(pexels.BASE_URL, pexels.authenticate, pexels.Pexels, pexels.HOSTS, timedelta(hours=24)),
    pixabay.NAME: _Kind(
        pixabay.BASE_URL,
        pixabay.authenticate,
        pixabay.Pixabay,
        pixabay.HOSTS,
        timedelta(hours=24),
        pixabay.KEY_STATUSES,
    ),
    coverr.NAME: _Kind(coverr.BASE_URL, authenticate_bearer, coverr.Coverr, coverr.HOSTS, timedelta(hours=1)),
}


class ResultCache:
    """The results of searches, the least recently used of which are dropped.

    Args:
        clock: Returns seconds of a monotonic clock.
        max_results: The most searches that are kept.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, max_results: int = MAX_RESULTS) -> None:
        self._clock = clock
        self._max = max_results
        self._results: OrderedDict[tuple[str, FootageQuery], tuple[float, Sequence[FootageClip]]] = OrderedDict()

    def find(self, provider: str, query: FootageQuery) -> Sequence[FootageClip] | None:
        """Return the result of a search; None when there is none, or it is too old."""
        until, clips = self._results.get((provider, query), (0.0, ()))
        if until <= self._clock():
            return None
        self._results.move_to_end((provider, query))
        return clips

    def keep(self, provider: str, query: FootageQuery, clips: Sequence[FootageClip], time_to_live: timedelta) -> None:
        """Keep the result of a search."""
        self._results[provider, query] = (self._clock() + time_to_live.total_seconds(), clips)
        self._results.move_to_end((provider, query))
        while len(self._results) > self._max:
            self._results.popitem(last=False)


class StoredResults:
    """The results of searches in the object storage, which all instances share.

    Args:
        objects: The object storage.
        now: Returns the seconds since the epoch.
    """

    def __init__(self, objects: Objects, now: Callable[[], float] = time.time) -> None:
        self._documents = StoredDocuments(objects, "cache/footage", timedelta(hours=24), now)

    async def find(self, source: StockSource, query: FootageQuery, max_age: timedelta) -> Sequence[FootageClip] | None:
        """Return the result of a search that was kept within `max_age`; None when there is none."""
        document = await self._documents.find(_hash_search(source, query), max_age)
        try:
            return None if document is None else [_to_clip(fields) for fields in document]
        except TypeError:
            # Another release of the platform has kept it.
            return None

    async def keep(self, source: StockSource, query: FootageQuery, clips: Sequence[FootageClip]) -> None:
        """Keep the result of a search."""
        await self._documents.keep(_hash_search(source, query), [asdict(clip) for clip in clips])


def _hash_search(source: StockSource, query: FootageQuery) -> str:
    orientation = query.orientation.value if query.orientation else ""
    cover = [query.cover.width, query.cover.height]
    # Only files on these hosts may be downloaded.
    hosts = sorted(source.hosts)
    return hash_request([source.name, hosts, query.words, query.language, orientation, cover, query.limit])


def _to_clip(fields: Mapping[str, Any]) -> FootageClip:
    credit = fields["credit"]
    return FootageClip(**{**fields, "credit": Credit(**credit) if credit else None})


class CachedSource:
    """A provider whose results are kept: in memory, and in the store that instances share, where there is one."""

    def __init__(
        self, source: StockSource, cache: ResultCache, keep: timedelta, stored: StoredResults | None = None
    ) -> None:
        self.name = source.name
        self.client = source.client
        self._source = source
        self._cache = cache
        self._keep = keep
        self._stored = stored

    async def check_key(self) -> None:
        """Search for one clip, which shows whether the key is valid. Raises `ProviderFailure`."""
        await self._source.search(FootageQuery("sea", limit=1))

    async def search(self, query: FootageQuery) -> Sequence[FootageClip]:
        """Return the clips that fit a query. Raises `ProviderFailure`."""
        found = self._cache.find(self.name, query)
        if found is None and self._stored:
            found = await self._stored.find(self._source, query, self._keep)
        if found is None:
            found = await self._source.search(query)
            self._cache.keep(self.name, query, found, self._keep)
            if self._stored:
                await self._stored.keep(self._source, query, found)
        return found


class FootagePool:
    """The providers of footage.

    Args:
        order: The names of the providers, in the order of preference.
        hosts: For a provider, the hosts of its files in place of the usual ones.
        timeout_seconds: The limit of a search.
        clock: Returns seconds of a monotonic clock.
        stored: The results that all instances share; None: those of this instance alone.
        account_keys: The keys of accounts; None: accounts have none.
    """

    def __init__(
        self,
        order: Sequence[str] = PROVIDERS,
        hosts: Mapping[str, Sequence[str]] | None = None,
        timeout_seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        stored: StoredResults | None = None,
        account_keys: AccountKeys | None = None,
    ) -> None:
        self._order = frozenset(order)
        self._hosts = hosts or {}
        self._seconds = timeout_seconds
        self._clock = clock
        self._cache = ResultCache(clock)
        self._stored = stored
        open_pool = partial(ProviderPool, Use.FOOTAGE, self._open_source, order)
        self.providers: ProviderPool[CachedSource] = open_pool()
        self.accounts = AccountPools(self.providers, partial(open_pool, is_shared=False), account_keys)

    async def find_sources(self, only: str = "", account_id: str = "") -> list[FootageSource]:
        """Return the providers that have a key for the calls of an account, in the order of preference.

        `only` is the name of one provider; empty: all.
        """
        found = await self.accounts.find(account_id)
        return [source for name, source in found.adapters.items() if only in ("", name)]

    def _open_source(self, name: str, credentials: Credentials) -> CachedSource | None:
        if name not in self._order or not credentials.keys:
            return None
        kind = _KINDS[name]
        client = ProviderClient(
            name,
            credentials.base_url or kind.base_url,
            KeyRing(name, credentials.keys, self._clock),
            kind.authenticate,
            Breaker(name, self._clock),
            timeout_seconds=self._seconds,
            max_response_bytes=MAX_RESPONSE_BYTES,
            key_statuses=kind.key_statuses,
        )
        source = kind.open(client, self._hosts.get(name, kind.hosts))
        return CachedSource(source, self._cache, kind.keep, self._stored)
