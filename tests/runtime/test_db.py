"""Transactions have a time limit, after which the database counts as unreachable."""

from __future__ import annotations

import time
from contextlib import suppress

import psycopg
import pytest

from moneyprinter.errors import Unavailable
from services.orchestrator.config import Config as OrchestratorConfig
from services.runtime import db
from services.user.config import Config as UserConfig
from tests.databases import Databases


@pytest.mark.parametrize("single", [True, False])
async def test_a_statement_that_hangs_is_aborted(postgres: Databases, single: bool) -> None:
    async with db.open_pool("user", await postgres.fresh("user"), timeout_seconds=0.5) as pool:
        began = time.monotonic()
        with pytest.raises(Unavailable, match="cannot be reached") as failed:
            async with db.Transaction(pool, single=single) as connection:
                await connection.execute("SELECT pg_sleep(60)")
        assert time.monotonic() - began < 10
        assert (failed.value.reason, failed.value.retry_after_seconds) == ("SERVICE_UNAVAILABLE", 2.0)
        # The pool replaces the connection.
        pool.timeout_seconds = 10.0
        assert await db.fetch_all(pool, "SELECT 1 AS one") == [{"one": 1}]


@pytest.mark.parametrize(
    ("limit", "is_holder_idle"), [("idle_in_transaction_session_timeout", True), ("lock_timeout", False)]
)
async def test_the_server_ends_what_holds_or_waits_for_a_lock_too_long(
    postgres: Databases, monkeypatch: pytest.MonkeyPatch, limit: str, is_holder_idle: bool
) -> None:
    """A service that stops in a transaction blocks others for a while only, also when its connection stays open."""
    conninfo = await postgres.fresh("user")
    monkeypatch.setattr(db, "TIMEOUTS", {**db.TIMEOUTS, limit: "300ms"})
    insert = "INSERT INTO locked (name) VALUES ('a')"
    async with db.open_pool("user", conninfo, timeout_seconds=20.0) as pool:
        async with db.Transaction(pool) as connection:
            await connection.execute("CREATE TABLE locked (name text PRIMARY KEY)")
        holder = pool.connection()
        connection = await holder.__aenter__()
        await connection.execute(insert)
        if is_holder_idle:
            async with db.Transaction(pool) as other:
                await other.execute(insert)
        else:
            with pytest.raises(Unavailable):
                async with db.Transaction(pool) as other:
                    await other.execute(insert)
        with suppress(psycopg.Error):
            await connection.rollback()
        await holder.__aexit__(None, None, None)


async def test_a_connection_to_a_demoted_server_is_replaced(postgres: Databases) -> None:
    """A fail-over leaves connections to a server that only reads."""
    insert = "INSERT INTO revocations (credential) VALUES ('ses_1') RETURNING id"
    async with db.open_pool("user", await postgres.fresh("user"), size=1, timeout_seconds=10.0) as pool:
        for single in (True, False):
            await db.fetch_all(pool, "SELECT set_config('default_transaction_read_only', 'on', false)")
            with pytest.raises(Unavailable):
                async with db.Transaction(pool, single=single) as connection:
                    await connection.execute(insert)
            await db.fetch_all(pool, insert)


async def test_a_pool_without_a_free_connection_counts_as_unreachable(postgres: Databases) -> None:
    async with (
        db.open_pool("user", await postgres.fresh("user"), size=1, timeout_seconds=0.5) as pool,
        db.Transaction(pool, 60.0),
    ):
        with pytest.raises(Unavailable):
            await db.fetch_all(pool, "SELECT 1")


@pytest.mark.parametrize("kind", [OrchestratorConfig, UserConfig])
def test_clients_learn_of_an_outage_within_two_seconds(
    kind: type[OrchestratorConfig] | type[UserConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    for service in ("ORCHESTRATOR", "USER"):
        monkeypatch.delenv(f"MONEYPRINTER_{service}_DATABASE_TIMEOUT_SECONDS")
    assert kind().database_timeout_seconds == 1.5
