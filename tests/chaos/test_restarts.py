"""Rolling restarts, as for a new version: clients notice nothing."""

from __future__ import annotations

import asyncio

from tests.chaos.world import ENDED, REQUEST, World


async def test_a_rolling_restart_refuses_and_loses_no_job(two: World) -> None:
    restarted = asyncio.Event()

    async def make_videos(worker: int) -> list[str]:
        jobs: list[str] = []
        while not restarted.is_set():
            # Always another user, so that no limit applies.
            async with two.user(f"user_{worker}_{len(jobs)}") as http:
                created = await http.post("/v1/videos", json=REQUEST)
                assert created.status_code == 202, created.text
                jobs.append(created.json()["job_id"])
                while (status := await http.get(f"/v1/videos/{jobs[-1]}/status")).json().get("status") not in ENDED:
                    assert status.status_code == 200, status.text
        return jobs

    async with asyncio.TaskGroup() as users:
        making = [users.create_task(make_videos(worker)) for worker in range(4)]
        for name in two.instances:
            await two.restart(name)
        restarted.set()
    jobs = [job for task in making for job in task.result()]
    assert await two.until_ended(jobs) == dict.fromkeys(jobs, "completed")
    published = await two.events(2 * len(jobs))
    assert set(published.values()) == {1}
