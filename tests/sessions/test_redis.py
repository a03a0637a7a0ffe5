"""Redis: one suite for the embedded server and for an external one with TLS and an ACL user, and their failures."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from moneyprinter.errors import Unavailable
from services.runtime.config import ConfigError, RuntimeConfig
from services.runtime.redis import OPERATION_SECONDS, RedisClient, open_client
from services.runtime.revocation_feed import Change, RevocationFeed, RevocationPublisher
from tests.sessions.servers import RedisServer


@asynccontextmanager
async def client_of(config: RuntimeConfig) -> AsyncIterator[RedisClient]:
    async with open_client(config) as client:
        assert client is not None
        yield client


@pytest.fixture
async def client(redis_server: RedisServer, config: RuntimeConfig) -> AsyncIterator[RedisClient]:
    async with client_of(redis_server.configure(config)) as client:
        yield client


async def is_usable(client: RedisClient) -> bool:
    try:
        await client.check()
    except Unavailable:
        return False
    return True


async def wait_until_usable(client: RedisClient) -> None:
    async with asyncio.timeout(20):
        while not await is_usable(client):  # noqa: ASYNC110  nothing notifies
            await asyncio.sleep(0.02)


class Changes:
    """The changes that PostgreSQL would hold."""

    def __init__(self) -> None:
        self.changes: list[Change] = []

    async def list_since(self, seconds: float) -> list[Change]:
        return [(id, at) for id, at in self.changes if at > time.time() - seconds]

    def add(self, id: str, age_seconds: float = 0.0) -> None:
        self.changes.append((id, time.time() - age_seconds))


async def read_now(feed: RevocationFeed, *ids: str) -> bool | None:
    """Read the feed past its cache."""
    feed._read = float("-inf")
    return await feed.contains_any(ids)


async def test_a_feed_has_every_change_soon_and_after_a_restart_without_data(
    redis_server: RedisServer, client: RedisClient
) -> None:
    changes, feed = Changes(), RevocationFeed(client)
    publisher, second = (RevocationPublisher(client, changes.list_since) for _ in range(2))
    changes.add("ses_old", age_seconds=3000)
    # No reader has asked yet, so nothing is published, and a reader does not use what it finds.
    assert await publisher.publish() is False
    assert await read_now(feed, "ses_old") is None
    assert await publisher.publish() is True
    assert await read_now(feed, "ses_old") is True
    assert await read_now(feed, "ses_1", "user_1") is False
    changes.add("user_1")
    assert await second.publish() is True
    assert await read_now(feed, "ses_1", "user_1") is True

    redis_server.kill()
    assert await read_now(feed, "ses_2") is None
    changes.add("ses_2")
    with pytest.raises(Unavailable):
        await publisher.publish()
    await redis_server.start()
    await wait_until_usable(client)
    assert await read_now(feed, "ses_2") is None
    assert await publisher.publish() is True
    # A reader that starts now sees all of them, too.
    for reader in (feed, RevocationFeed(client)):
        assert await read_now(reader, "ses_2") is True
        assert await read_now(reader, "ses_old") is True
        assert await read_now(reader, "ses_3") is False


async def test_a_feed_whose_publisher_has_stopped_is_not_used(client: RedisClient) -> None:
    changes, feed = Changes(), RevocationFeed(client)
    publisher = RevocationPublisher(client, changes.list_since)
    await read_now(feed)
    await publisher.publish()
    assert await read_now(feed, "ses_1") is False
    async with asyncio.timeout(10):
        while await read_now(feed, "ses_1") is not None:  # noqa: ASYNC110  time has to pass
            await asyncio.sleep(0.02)


async def test_a_change_is_published_after_a_long_rest(client: RedisClient) -> None:
    """A publisher that was not wanted for minutes reads as far back as it rested."""
    changes, feed = Changes(), RevocationFeed(client)
    publisher = RevocationPublisher(client, changes.list_since)
    await read_now(feed)
    await publisher.publish()
    publisher._listed -= 300
    changes.add("ses_1", age_seconds=200)
    await publisher.publish()
    assert await read_now(RevocationFeed(client), "ses_1") is True


async def test_full_memory_is_a_failure_although_the_server_reads(
    redis_server: RedisServer, client: RedisClient
) -> None:
    await client.check()
    await redis_server.command_as_administrator("CONFIG", "SET", "maxmemory", "1")
    try:
        assert not await is_usable(client)
    finally:
        await redis_server.command_as_administrator("CONFIG", "SET", "maxmemory", "0")
    await wait_until_usable(client)


async def test_a_hung_server_delays_one_operation_and_then_none(redis_server: RedisServer, client: RedisClient) -> None:
    await client.check()
    redis_server.send(signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert not await is_usable(client)
        first = time.monotonic() - began
        assert not any([await is_usable(client) for _ in range(100)])
        assert time.monotonic() - began - first < first
        assert first < 10 * OPERATION_SECONDS
    finally:
        redis_server.send(signal.SIGCONT)
    await wait_until_usable(client)


async def test_a_wrong_password_is_a_failure_and_a_corrected_one_needs_no_restart(
    redis_servers: dict[str, RedisServer], config: RuntimeConfig, tmp_path: Path
) -> None:
    server = redis_servers["external"]
    file = tmp_path / "password"
    file.write_text("wrong")
    async with client_of(server.configure(config).model_copy(update={"redis_password_file": file})) as client:
        assert not await is_usable(client)
        file.write_text(server.settings["redis_password_file"].read_text())
        await wait_until_usable(client)


async def test_a_server_with_a_foreign_certificate_is_not_used(
    redis_servers: dict[str, RedisServer], config: RuntimeConfig, certificates: Path
) -> None:
    foreign = {"redis_ca_file": certificates / "ca.pem"}
    async with client_of(redis_servers["external"].configure(config).model_copy(update=foreign)) as client:
        assert not await is_usable(client)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"redis": "localhost:6379"}, "redis://host:6379"),
        ({"redis": "redis://name:secret-word@localhost"}, "PASSWORD_FILE"),
        ({"redis": "rediss://localhost", "redis_ca_file": Path("/nowhere.pem")}, "REDIS_CA_FILE"),
        ({"redis": "redis://localhost", "redis_ca_file": Path("/ca.pem")}, "rediss://"),
        ({"redis": "redis://localhost", "redis_username": "moneyprinter"}, "PASSWORD_FILE"),
        ({"redis": "redis://localhost:port"}, "MONEYPRINTER_RUNTIME_REDIS"),
    ],
)
async def test_a_wrong_setting_is_named_without_secrets(
    config: RuntimeConfig, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as failure:
        async with open_client(config.model_copy(update=settings)):
            pass
    assert "secret-word" not in str(failure.value)
    assert "\n" not in str(failure.value)
