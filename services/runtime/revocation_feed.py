"""Revocation feed: which accounts, sessions and API keys were revoked or changed lately, in Redis.

The user service publishes them from PostgreSQL, and the other services read them. An entry means only that a token may
have lost its authority: the reader then checks the credential itself. So entries never need to be withdrawn.

The feed is one sorted set, scored by the time of the change. Its member with an infinite score is the generation: the
server's run id and a random suffix. A server that lost data, such as one restarted or promoted, has another run id, so
the publisher fills the set anew. A key that expires shows that the set has every change up to a moment ago; without it,
readers do not use the feed. It holds the generation, which readers compare with the set's.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from moneyprinter.errors import Unavailable
from services.runtime.redis import RedisClient

CHANGES = "moneyprinter:revocations"
CURRENT = "moneyprinter:revocations:current"
WANTED = "moneyprinter:revocations:wanted"

# A token stops working after these together: 0.2 + 0.5 + 0.15 s.
PUBLISH_SECONDS = 0.2
CURRENT_SECONDS = 0.5
REFRESH_SECONDS = 0.15
# The publisher rests when no reader has asked for this time.
WANTED_SECONDS = 5.0
RETAIN_SECONDS = 2 * 3600.0
"""How long a change is kept: longer than any access token lives."""
OVERLAP_SECONDS = 20.0
"""Changes are stamped before they are committed: both sides read this much again. Transactions are shorter."""
_GENERATION = "generation:"

Change = tuple[str, float]
"""The id of an account, session or API key, and when it was changed, in seconds since 1970."""


class RevocationPublisher:
    """Writes the feed."""

    def __init__(self, client: RedisClient, list_changes: Callable[[float], Awaitable[Sequence[Change]]]) -> None:
        """`list_changes` returns the committed changes of the last so many seconds."""
        self._client = client
        self._list_changes = list_changes
        self._listed = float("-inf")

    async def publish(self) -> bool:
        """Write the changes since the last call, when a reader has asked for them lately. Returns whether one has.

        Raises `Unavailable` when Redis or the source of the changes is.
        """

        async def inspect(connections: Any) -> tuple[str | None, dict[str, Any], list[str]]:
            async with connections.pipeline(transaction=False) as pipeline:
                pipeline.get(WANTED).info("server").zrangebyscore(CHANGES, "+inf", "+inf")
                wanted, server, generations = await pipeline.execute()
            return wanted, server, generations

        wanted, server, generations = await self._client.run(inspect)
        if not wanted:
            return False
        began = time.monotonic()
        prefix = f"{_GENERATION}{server['run_id']}:"
        generation = next((one for one in generations if one.startswith(prefix)), None)
        # All since the last call that succeeded: it may have been long ago.
        seconds = RETAIN_SECONDS if generation is None else began - self._listed + OVERLAP_SECONDS
        changes = await self._list_changes(min(seconds, RETAIN_SECONDS))
        left = CURRENT_SECONDS - (time.monotonic() - began)
        if left <= 0:
            raise Unavailable("the changes took too long to read", reason="SERVICE_UNAVAILABLE")
        new = generation or f"{prefix}{secrets.token_hex(8)}"
        entries = dict(changes)
        # Two publishers may each begin a generation: readers accept either.
        scores: dict[str, float] = {**entries, new: float("inf")} if generation is None else entries

        async def write(connections: Any) -> None:
            async with connections.pipeline(transaction=True) as pipeline:
                if generation is None and generations:
                    pipeline.zrem(CHANGES, *generations)
                if scores:
                    pipeline.zadd(CHANGES, scores, gt=True)
                if entries:
                    pipeline.zremrangebyscore(CHANGES, "-inf", max(entries.values()) - RETAIN_SECONDS)
                pipeline.set(CURRENT, new, px=max(1, int(left * 1000)))
                await pipeline.execute()

        await self._client.run(write)
        self._listed = began
        return True


class RevocationFeed:
    """Reads the feed on demand, at most every `REFRESH_SECONDS`."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._changes: dict[str, float] = {}
        self._generation = ""
        self._newest = 0.0
        self._read = float("-inf")
        self._is_current = False
        self._lock = asyncio.Lock()

    async def contains_any(self, ids: Iterable[str]) -> bool | None:
        """Return whether one of the ids was revoked or changed lately; None when the feed is not current."""
        if time.monotonic() - self._read > REFRESH_SECONDS:
            async with self._lock:
                if time.monotonic() - self._read > REFRESH_SECONDS:
                    await self._refresh()
        return any(id in self._changes for id in ids) if self._is_current else None

    async def _refresh(self) -> None:
        began = time.monotonic()
        first = self._newest - OVERLAP_SECONDS if self._generation else float("-inf")
        try:
            current, found = await self._read_from(first)
            generations = [id for id, _ in found if id.startswith(_GENERATION)]
            if current in generations and current != self._generation and self._generation:
                current, found = await self._read_from(float("-inf"))
        except Unavailable:
            self._is_current = False
        else:
            self._is_current = current is not None and current in (id for id, _ in found)
            self._add([(id, at) for id, at in found if not id.startswith(_GENERATION)])
            if self._is_current and current:
                self._generation = current
        self._read = began

    async def _read_from(self, first: float) -> tuple[str | None, list[Change]]:
        async def read(connections: Any) -> tuple[str | None, list[Change]]:
            # The set is read after the key, so it is at least as new.
            async with connections.pipeline(transaction=False) as pipeline:
                pipeline.set(WANTED, "1", px=int(WANTED_SECONDS * 1000)).get(CURRENT)
                pipeline.zrangebyscore(CHANGES, first, float("inf"), withscores=True)
                _, current, found = await pipeline.execute()
            return current, [(id, float(at)) for id, at in found]

        return await self._client.run(read)

    def _add(self, changes: Sequence[Change]) -> None:
        self._changes.update(changes)
        self._newest = max((self._newest, *(at for _, at in changes)))
        if len(changes) and len(self._changes) > 1000:
            oldest = self._newest - RETAIN_SECONDS
            self._changes = {id: at for id, at in self._changes.items() if at >= oldest}
