"""A job of high priority does not wait for a long one, with and without free job slots."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.world import REQUEST, World, world

LONG = {**REQUEST, "title": "Long", "audio": {"script": "Many words. " * 200}}
SHORT = {**REQUEST, "title": "Short"}


async def create(here: World, user: str, request: dict[str, Any], priority: str) -> str:
    async with here.user(user) as http:
        answer = await http.post("/v1/videos", json={**request, "priority": priority})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])


async def end_of(here: World, job: str) -> datetime:
    ((end,),) = await here.rows("SELECT end_time FROM jobs WHERE id = %s", job)
    assert isinstance(end, datetime)
    return end


@pytest.mark.parametrize(
    ("jobs_at_once", "priorities"), [(2, ("normal", "high")), (1, ("normal", "high")), (1, ("low", "normal"))]
)
async def test_a_job_of_higher_priority_overtakes_a_long_one(
    tmp_path: Path, jobs_at_once: int, priorities: tuple[str, str]
) -> None:
    settings = {
        "MONEYPRINTER_ORCHESTRATOR_SEGMENTS_AT_ONCE": "1",
        "MONEYPRINTER_ORCHESTRATOR_JOBS_AT_ONCE": str(jobs_at_once),
    }
    async with world(tmp_path, settings=settings) as here:
        here.stand_ins.seconds = 0.25
        long = await create(here, "user_1", LONG, priorities[0])
        await here.stand_ins.rendering.wait()
        urgent = await create(here, "user_1", SHORT, priorities[1])
        assert await here.until_ended([urgent]) == {urgent: "completed"}
        ((status, rendered),) = await here.rows(
            "SELECT status, (SELECT count(*) FROM steps WHERE job_id = id AND starts_with(name, 'render ')) FROM jobs"
            " WHERE id = %s",
            long,
        )
        counted = "SELECT (progress_details ->> 'segment_count')::int FROM jobs WHERE id = %s"
        ((segments,),) = await here.rows(counted, long)
        assert status == "processing"
        assert segments - rendered > segments / 3, "most of the long one's segments came later"
        here.stand_ins.seconds = 0.0
        assert await here.until_ended([long]) == {long: "completed"}
        assert await end_of(here, urgent) < await end_of(here, long)


async def test_users_share_the_renderers(tmp_path: Path) -> None:
    """The short job of another user does not wait for a long one that started earlier."""
    async with world(tmp_path, settings={"MONEYPRINTER_ORCHESTRATOR_SEGMENTS_AT_ONCE": "1"}) as here:
        here.stand_ins.seconds = 0.25
        long = await create(here, "user_1", LONG, "normal")
        await here.stand_ins.rendering.wait()
        other = await create(here, "user_2", SHORT, "normal")
        assert await here.until_ended([other]) == {other: "completed"}
        assert await here.rows("SELECT status FROM jobs WHERE id = %s", long) == [("processing",)]
        here.stand_ins.seconds = 0.0
        await asyncio.wait_for(here.until_ended([long]), 60)
