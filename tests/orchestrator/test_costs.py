"""The cost of providers: what is left is reserved before a job may spend it, and released when the job ends."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from moneyprinter.errors import ResourceExhausted
from services.orchestrator.jobs.model import Failure, Job, JobProgress, NarratedScript, Narration
from services.orchestrator.jobs.scenes import WrittenScript
from services.orchestrator.jobs.usage import Usage
from services.orchestrator.postgres.quotas import PostgresUsage
from services.orchestrator.postgres.store import PostgresStore
from services.orchestrator.videos.quotas import Quotas
from tests.databases import Databases, open_pool
from tests.orchestrator.samples import RESULT, job

LEASE = timedelta(seconds=10)
LIMITS = Quotas(month_cost=1.0, job_cost=0.25)


class Account:
    """The jobs of one account, with limits."""

    def __init__(self, pool: object, limits: Quotas) -> None:
        self.now = datetime.now(UTC)
        self.store = PostgresStore(pool, lambda: None, now=lambda: self.now, limits=limits)  # type: ignore[arg-type]
        self.usage = PostgresUsage(pool, limits, lambda: self.now)  # type: ignore[arg-type]

    async def create(self) -> str:
        """Create a job. Returns OK, or the reason why not."""
        try:
            await self.store.create(replace(job(), create_time=self.now))
        except ResourceExhausted as refused:
            return refused.reason
        return "OK"

    async def claim(self) -> Job:
        claimed = await self.store.claim(LEASE)
        assert claimed is not None
        return claimed

    async def cost(self) -> float:
        return round((await self.usage.get_usage("user_1")).cost, 6)


@pytest.fixture
async def account(postgres: Databases) -> AsyncIterator[Account]:
    async with open_pool("orchestrator", await postgres.fresh("orchestrator")) as pool:
        yield Account(pool, LIMITS)


async def test_concurrent_jobs_stay_within_the_limit(account: Account) -> None:
    found = Counter(await asyncio.gather(*(account.create() for _ in range(10))))
    assert found == {"OK": 4, "COST_LIMIT_REACHED": 6}
    assert await account.cost() == 1.0
    assert (await account.claim()).request.max_cost == 0.25


async def test_an_ended_job_leaves_what_it_has_not_spent(account: Account) -> None:
    for _ in range(4):
        assert await account.create() == "OK"
    done, failed, cancelled = [await account.claim() for _ in range(3)]
    tokens = (Usage("openai", "output_tokens", 100, 0.05),)
    await account.store.record(done, "script", WrittenScript, WrittenScript((), usage=tokens))
    # The approved script has the usage of the written one: it is not charged again.
    await account.store.record(done, "edit", WrittenScript, WrittenScript((), usage=tokens))
    spoken = NarratedScript(Narration(None, 1.0, (), usage=(Usage("openai", "characters", 9, 0.01),)), ())
    await account.store.record(done, "speak", NarratedScript, spoken)
    await account.store.complete(done, RESULT, done.stages, JobProgress())
    assert await account.cost() == 0.81
    await account.store.record(failed, "script", WrittenScript, WrittenScript((), usage=tokens))
    await account.store.fail(failed, Failure("audio_generation", "INTERNAL", "no"), failed.stages)
    await account.store.cancel(cancelled.id, cancelled.user_id)
    assert await account.cost() == 0.36, "0.06 and 0.05 were charged, and one job may still cost 0.25"
    assert await account.create() == "OK"
    retried = await account.store.retry(failed.id, failed.user_id, account.now)
    assert retried is not None
    assert await account.cost() == 0.81, "a retried job reserves its part again"
    await account.store.delete(done.id, done.user_id)
    assert await account.cost() == 0.81, "a deleted video was charged nevertheless"
    account.now = (account.now.replace(day=1) + timedelta(days=40)).replace(day=2)
    assert await account.cost() == 0.0, "the next month begins with nothing"


async def test_an_administrator_sets_the_limit_of_an_account(account: Account) -> None:
    await account.usage.set_cost_limit("user_1", 0.3)
    assert [await account.create() for _ in range(3)] == ["OK", "OK", "COST_LIMIT_REACHED"]
    allowed = sorted([(await account.claim()).request.max_cost or 0.0 for _ in range(2)])
    assert allowed == pytest.approx([0.05, 0.25]), "no more than what is left"
    await account.usage.set_cost_limit("user_1", 0.0)
    assert await account.create() == "OK"
    assert (await account.claim()).request.max_cost == 0.0, "no provider that charges is used, and nothing is refused"
    await account.usage.set_cost_limit("user_1", None)
    assert (await account.usage.get_usage("user_1")).max_cost is None


async def test_calls_without_a_job_count_for_the_month(account: Account) -> None:
    usage = account.usage
    reserved = await asyncio.gather(*(usage.reserve_call("user_1", f"call_{number}", 0.4) for number in range(2)))
    assert (reserved, await account.cost()) == ([0.25, 0.25], 0.5)
    await usage.record_call("user_1", "call_0", 0.9)
    await usage.record_call("user_1", "call_1", 0.0)
    await usage.record_call("user_2", "call_0", 0.0)
    assert await account.cost() == 0.9
    assert await usage.reserve_call("user_1", "call_2", 5.0) == pytest.approx(0.1)
    with pytest.raises(ResourceExhausted) as refused:
        await usage.reserve_call("user_1", "call_3", 0.1)
    assert refused.value.reason == "COST_LIMIT_REACHED"
    assert await account.create() == "COST_LIMIT_REACHED"

    await usage.set_cost_limit("user_2", 0.0)
    assert await usage.reserve_call("user_2", "call_4", 0.1) == 0, "no provider that charges"


async def test_without_a_limit_calls_are_counted(postgres: Databases) -> None:
    async with open_pool("orchestrator", await postgres.fresh("orchestrator")) as pool:
        account = Account(pool, Quotas())
        assert await account.usage.reserve_call("user_1", "call_0", 0.4) is None
        await account.usage.record_call("user_1", "call_0", 0.3)
        assert await account.cost() == 0.3
