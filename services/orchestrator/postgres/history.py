"""The history of jobs in PostgreSQL: what estimates are made from (`jobs/estimates.py`)."""

from __future__ import annotations

from collections import defaultdict

from services.orchestrator.jobs.estimates import LoadSnapshot, PastJob, Waiting
from services.orchestrator.jobs.model import PRIORITIES
from services.runtime.db import Pool, Transaction

# Estimates are made from this many of the most recently completed jobs.
REMEMBERED_JOBS = 200


class PostgresJobHistory:
    """The recent jobs of all users (`estimates.JobHistory`)."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def snapshot(self) -> LoadSnapshot:
        async with Transaction(self._pool) as connection:
            cursor = await connection.execute(
                "SELECT request ->> 'quality' AS quality, work_seconds,"
                " extract(epoch FROM end_time - start_time)::float - review_seconds AS took FROM jobs"
                " WHERE status = 'completed' AND work_seconds > 0 AND start_time IS NOT NULL"
                " ORDER BY end_time DESC LIMIT %s",
                (REMEMBERED_JOBS,),
            )
            past = [PastJob(row["quality"], row["work_seconds"], row["took"]) for row in await cursor.fetchall()]
            cursor = await connection.execute(
                "SELECT priority, user_id, count(*) AS jobs, sum(work_seconds) AS work_seconds FROM jobs"
                " WHERE status = 'processing' AND attempt = base_attempt GROUP BY priority, user_id"
            )
            others: dict[str, dict[str, Waiting]] = defaultdict(dict)
            for row in await cursor.fetchall():
                others[PRIORITIES[row["priority"]]][row["user_id"]] = Waiting(row["jobs"], row["work_seconds"])
            waiting = others.pop("normal", {})
            cursor = await connection.execute(
                "SELECT count(*) AS running FROM jobs WHERE status = 'processing' AND attempt > base_attempt"
                " AND review IS NULL"
            )
            (now,) = await cursor.fetchall()
        return LoadSnapshot(past, waiting, now["running"], dict(others))
