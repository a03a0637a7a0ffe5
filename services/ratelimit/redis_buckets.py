"""Redis buckets: token buckets that all instances share. A script takes tokens, so no call is counted twice or lost.

A bucket is one number: the time at which it will be full again (the generic cell rate algorithm, as in ATM networks).
The clock is the server's, and a full bucket takes no memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.ratelimit.limits import BucketState, Taking
from services.runtime.redis import RedisClient

PREFIX = "moneyprinter:limit:"

_TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + clock[2] / 1000
local interval, burst, tokens = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local wanted = full + tokens * interval
local wait = wanted - now - burst * interval
if wait <= 0 then
  redis.call('SET', KEYS[1], string.format('%.3f', wanted), 'PX', math.ceil(wanted - now))
  full = wanted
end
return {math.floor(burst - (full - now) / interval + 0.000001), math.max(0, math.ceil(wait))}
"""


class RedisBuckets:
    """Buckets in Redis."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client

    async def take(self, takings: Sequence[Taking]) -> list[BucketState]:
        """Take tokens from several buckets in one round trip. Raises `Unavailable` when Redis cannot be used."""

        async def run(connections: Any) -> list[list[int]]:
            async with connections.pipeline(transaction=False) as pipeline:
                for taking in takings:
                    interval = 60_000 / taking.limit.per_minute
                    name = f"{PREFIX}{taking.bucket}"
                    # The server caches scripts by their text; one that has restarted needs it again.
                    pipeline.eval(_TAKE, 1, name, interval, taking.limit.burst, taking.tokens)
                found: list[list[int]] = await pipeline.execute()
            return found

        found = await self._client.run(run) if takings else []
        return [BucketState(wait > 0, remaining, wait / 1000) for remaining, wait in found]
