"""Fail-over: a primary dies under load, its synchronous standby is promoted, and no accepted job is lost."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from moneyprinter.errors import Unavailable
from services.embedded import postgres
from services.orchestrator.postgres.store import PostgresStore
from services.runtime import db
from tests.orchestrator.samples import job
from tests.postgres.servers import Pair, run_pair

SURVIVED_SECONDS = 30.0


@pytest.fixture(scope="module")
async def pair() -> AsyncIterator[Pair]:
    """A primary with a synchronous standby, and the database of the orchestrator."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        async with run_pair(Path(folder)) as pair:
            await postgres.create_schemas(pair.primary, ["orchestrator"], "jobs")
            yield pair


async def test_a_promoted_standby_has_every_accepted_job(pair: Pair) -> None:
    async with db.open_pool("orchestrator", pair.conninfo("orchestrator", "jobs")) as pool:
        store = PostgresStore(pool, lambda: None)
        accepted: list[str] = []
        refused: list[float] = []
        failed = asyncio.Event()

        async def create_until(stop: asyncio.Event) -> None:
            while not stop.is_set():
                made, began = job(), time.monotonic()
                try:
                    await store.create(made)
                except Unavailable:
                    refused.append(time.monotonic() - began)
                    failed.set()
                    await asyncio.sleep(0.05)
                else:
                    accepted.append(made.id)

        stop = asyncio.Event()
        clients = [asyncio.create_task(create_until(stop)) for _ in range(4)]
        async with asyncio.timeout(60):
            while len(accepted) < 50:  # noqa: ASYNC110  the clients count
                await asyncio.sleep(0.02)
        pair.kill_primary()
        began = time.monotonic()
        await asyncio.wait_for(failed.wait(), 30)
        await pair.promote()
        before = len(accepted)
        async with asyncio.timeout(60):
            while len(accepted) < before + 50:  # noqa: ASYNC110  the clients count
                await asyncio.sleep(0.02)
        survived = time.monotonic() - began
        stop.set()
        await asyncio.gather(*clients)
        rows = await db.fetch_all(pool, "SELECT id FROM jobs")
        missing = set(accepted) - {row["id"] for row in rows}
        assert not missing
        assert survived < SURVIVED_SECONDS
        assert max(refused) < 10.0
