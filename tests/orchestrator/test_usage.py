"""The use of an account: what a day's quotas count, and what is deleted when no quota counts it any more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.orchestrator.jobs.model import Job
from services.orchestrator.postgres.cleanup import PostgresCleanupQueue
from services.orchestrator.postgres.quotas import PostgresUsage
from services.orchestrator.postgres.store import PostgresStore
from services.orchestrator.videos.quotas import UNLIMITED
from services.runtime.db import Pool
from tests.databases import Databases, open_pool
from tests.orchestrator.samples import job

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
async def pool(postgres: Databases) -> AsyncIterator[Pool]:
    async with open_pool("orchestrator", await postgres.fresh("orchestrator")) as pool:
        yield pool


async def remove(job: Job, deleted: bool) -> None:
    raise AssertionError("no job has files to remove")


async def create(pool: Pool, now: datetime) -> None:
    await PostgresStore(pool, lambda: None, now=lambda: now).create(replace(job("user_1"), create_time=now))


async def test_videos_of_the_day_before_are_not_counted_and_are_deleted(pool: Pool) -> None:
    for hours in (25, 23, 1):
        await create(pool, NOW - timedelta(hours=hours))
    usage = PostgresUsage(pool, UNLIMITED, lambda: NOW)
    before = await usage.get_usage("user_1")
    assert await PostgresCleanupQueue(pool, lambda: NOW).clean_next(remove) is False
    assert await usage.get_usage("user_1") == before
    async with pool.connection() as connection:
        rows = await (await connection.execute("SELECT seconds FROM requested_videos")).fetchall()
    assert len(rows) == 2
    assert before.minutes * 60 == pytest.approx(sum(row["seconds"] for row in rows))


async def test_reservations_that_expired_are_deleted(pool: Pool) -> None:
    await PostgresUsage(pool, UNLIMITED, lambda: NOW - timedelta(hours=3)).reserve("user_1", "ast_old", 10)
    await PostgresUsage(pool, UNLIMITED, lambda: NOW).reserve("user_1", "ast_new", 20)
    await PostgresCleanupQueue(pool, lambda: NOW).clean_next(remove)
    async with pool.connection() as connection:
        rows = await (await connection.execute("SELECT id, bytes FROM reservations")).fetchall()
    assert rows == [{"id": "ast_new", "bytes": 20}]
