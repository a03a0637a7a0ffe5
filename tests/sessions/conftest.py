"""Fixtures: a Redis server of each kind, one for all tests of a worker."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.sessions.servers import KINDS, RedisServer


@pytest.fixture(scope="session")
async def redis_servers() -> AsyncIterator[dict[str, RedisServer]]:
    """The servers by kind, each in a folder with a short path, as sockets need."""
    async with AsyncExitStack() as stack:
        found = {}
        for kind, run in KINDS.items():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mp-redis-")))
            found[kind] = await stack.enter_async_context(run(folder))
        yield found


@pytest.fixture(params=list(KINDS))
async def redis_server(request: pytest.FixtureRequest, redis_servers: dict[str, RedisServer]) -> RedisServer:
    """A server of each kind in turn, without data."""
    server = redis_servers[request.param]
    await server.command_as_administrator("FLUSHALL")
    return server
