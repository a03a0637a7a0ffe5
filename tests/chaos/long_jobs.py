"""Long chaos runs: instances killed during jobs, and a hundred concurrent jobs."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

from services.embedded import supervisor
from services.orchestrator.jobs import failpoints
from tests.chaos.stand_ins import REGISTER
from tests.chaos.world import World, world

REAL = ("config", *REGISTER)
TWICE = {"orchestrator": 2, "processing": 2}
ONE_EACH = {"MONEYPRINTER_PROCESSING_SLOTS": "1", "MONEYPRINTER_PROCESSING_THREADS": "1"}
LEASE_SECONDS = 10.0
PROCESSING = ("processing-1", "processing-2")
RESUMED_SECONDS = 35.0
SCRIPT = "A few words that take a moment to say. Then some more of them, until the picture has been seen for a while."


def request(number: int, script: str = SCRIPT, clips: int = 3) -> dict[str, Any]:
    """A short video with segments that no other number has."""
    colours = [
        f"#{(number * 3) % 256:02x}{(40 + place * 50) % 256:02x}{(number * 7) % 256:02x}" for place in range(clips)
    ]
    return {
        "title": f"Job {number}",
        "clips": [{"colour": colour} for colour in colours],
        "audio": {"script": script},
        "settings": {"resolution": "480p", "quality": "draft"},
    }


async def create(here: World, wanted: dict[str, Any], user: str = "user_1") -> str:
    async with here.user(user) as http:
        answer = await http.post("/v1/videos", json=wanted)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


async def create_with_retries(here: World, wanted: dict[str, Any]) -> str:
    """Create a job, retrying while the response is 503."""
    async with here.user() as http, asyncio.timeout(60):
        while (answer := await http.post("/v1/videos", json=wanted)).status_code == 503:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    return str(answer.json()["job_id"])


async def until_progress(here: World, job: str, percent: int) -> None:
    """Wait until `percent` of a job's segments are finished."""
    while True:
        [(status, progress_details)] = await here.rows("SELECT status, progress_details FROM jobs WHERE id = %s", job)
        done = progress_details.get("fractions", {}).get("video_processing", 0.0)
        if status != "processing" or done * 100 >= percent:
            return
        await asyncio.sleep(0.02)


def running_renders(here: World, name: str) -> int:
    """Count the running renders of an instance."""
    with suppress(psutil.NoSuchProcess):
        return sum("ffmpeg" in child.name() for child in here.process(name).children())
    return 0


def rendered(here: World) -> int:
    """Count the completed renders."""
    lines = [line for name in PROCESSING for line in here.log(name).splitlines()]
    return sum("ProcessingService/RenderSegment" in line and '"code": "OK"' in line for line in lines)


async def processing_killed(folder: Path, times: int) -> str:
    # With this log level every call is logged, so that renders can be counted.
    settings = {**ONE_EACH, "MONEYPRINTER_RUNTIME_LOG_LEVEL": "debug"}
    async with world(folder, real=REAL, instances=TWICE, lease_seconds=LEASE_SECONDS, settings=settings) as here:
        jobs, lost, again = [], [], []
        for number in range(times):
            # Kill one instance at a time: wait until the previous one is back.
            await asyncio.gather(*(supervisor.wait_until_open(here.port(name)) for name in PROCESSING))
            before = rendered(here)
            job = await create(here, request(number))
            await until_progress(here, job, (10, 50, 90)[number % 3])
            victim = max(PROCESSING, key=lambda name: running_renders(here, name))
            lost.append(running_renders(here, victim))
            here.process(victim).kill()
            assert await here.until_ended([job], 180) == {job: "completed"}
            [(segments,)] = await here.rows(
                "SELECT count(*) FROM steps WHERE job_id = %s AND name LIKE 'render %%'", job
            )
            again.append(rendered(here) - before - segments)
            jobs.append(job)
        published = await here.events(2 * times)
        assert set(published.values()) == {1}, published
        assert len(published) == 2 * times
        redone = [cut + more for cut, more in zip(lost, again, strict=True)]
        figures = (
            f"{times}/{times} complete; of {times} kills {sum(map(bool, lost))} cut a render; segments redone: at most"
            f" {max(redone)} a job; one event each"
        )
        assert max(redone) <= 1, f"{figures} (cut {lost}, rendered again though whole {again})"
        return figures


async def orchestrator_killed(folder: Path, times: int) -> str:
    async with world(folder, real=REAL, lease_seconds=LEASE_SECONDS) as here:
        undisturbed = await create(here, request(0))
        await here.until_ended([undisturbed], 120)
        deaths, waits, every = 0, list[float](), list[str]()
        for point in range(1, times + 1):
            await here.instances["orchestrator-1"].stop()
            died = folder / f"died-{point}"
            await here.serve("orchestrator", 1, {failpoints.VARIABLE: f"{point}@{died}"})
            # The first state change is the acceptance of the job; without a response the client retries.
            await create_with_retries(here, request(0))
            every = [str(job) for (job,) in await here.rows("SELECT id FROM jobs")]
            assert set((await here.until_ended(every, 180)).values()) == {"completed"}
            if not died.exists():
                break
            deaths += 1
            log = [line for line in here.log("orchestrator-1").splitlines() if "taken up" in line]
            later = [_logged_at(line) - died.stat().st_mtime for line in log]
            if later[-1] > 0:
                waits.append(min(wait for wait in later if wait > 0))
        hashes = await here.manifests(every)
        assert len(set(hashes.values())) == 1, "the results differ"
        published = await here.events(2 * len(hashes))
        assert set(published.values()) == {1}, published
        assert max(waits) <= RESUMED_SECONDS, waits
        return (
            f"died after each of {deaths} changes; {len(every)} jobs, one manifest hash; resumed after"
            f" {sorted(waits)[len(waits) // 2]:.1f} s (median), {max(waits):.1f} s at most; one event each"
        )


async def restarted(folder: Path, times: int) -> str:
    async with world(
        folder, real=REAL, instances=dict.fromkeys(("orchestrator", *REGISTER), 2), settings=ONE_EACH
    ) as here:
        jobs = list[str]()
        for number in range(times):
            for name in here.instances:
                jobs.append(await create(here, request(len(jobs))))
                await until_progress(here, jobs[-1], (0, 30, 60)[number % 3])
                await here.restart(name)
        assert set((await here.until_ended(jobs, 600)).values()) == {"completed"}
        published = await here.events(2 * len(jobs))
        assert set(published.values()) == {1}, published
        [(again,)] = await here.rows("SELECT count(*) FROM jobs WHERE attempt > 1")
        return (
            f"{len(here.instances)} instances restarted {times} times each; {len(jobs)}/{len(jobs)} accepted and"
            f" complete, {again} of them taken up again; one event each"
        )


def _logged_at(line: str) -> float:
    """The timestamp of a log line."""
    return datetime.fromisoformat(json.loads(line)["timestamp"]).timestamp()


async def many_jobs(folder: Path, times: int) -> str:
    users = [f"user_{number}" for number in range(20)]
    async with world(folder, real=REAL, instances=TWICE, lease_seconds=LEASE_SECONDS, settings=ONE_EACH) as here:
        # Give the estimates a history.
        before = [await create(here, request(times + number, "One two three four.", 1)) for number in range(8)]
        await here.until_ended(before, 120)
        began = time.monotonic()
        owners = {}
        for number in range(times):
            # One user after the other: without fair scheduling, the first would delay all others.
            user = users[number * len(users) // times]
            owners[await create(here, request(number, "One two three four.", 1), user)] = user
        waiting = asyncio.create_task(here.until_ended([*owners], 3600))
        times_of_answers, shares = [], None
        async with here.user(users[0]) as http:
            first = next(iter(owners))
            while not waiting.done():
                asked = time.monotonic()
                answer = await http.get(f"/v1/videos/{first}/status")
                times_of_answers.append(time.monotonic() - asked)
                assert answer.status_code == 200, answer.text
                if shares is None:
                    shares = await _shares(here, owners)
                await asyncio.sleep(0.25)
        states = list((await waiting).values())
        took = time.monotonic() - began
        p95 = sorted(times_of_answers)[int(len(times_of_answers) * 0.95)]
        completed = states.count("completed")
        figures = (
            f"{completed}/{times} completed in {took:.0f} s; status p95 {p95 * 1000:.0f} ms; progress of users when"
            f" half was done: {min(shares or [0]):.0f} to {max(shares or [0]):.0f} %;"
            f" {await _estimates(here, [*owners])}"
        )
        assert completed >= 0.99 * times, figures
        assert p95 <= 0.2, figures
        assert shares and max(shares) <= 3 * min(shares), figures
        return figures


async def _estimates(here: World, jobs: list[str]) -> str:
    """Describe the errors of the estimates at acceptance."""
    rows = await here.rows(
        "SELECT abs(extract(epoch FROM first_estimate - end_time)) / extract(epoch FROM end_time - create_time)"
        " FROM jobs WHERE status = 'completed' AND id = ANY(%s) ORDER BY create_time",
        jobs,
    )
    errors = [float(error) for (error,) in rows]
    halves = errors[: len(errors) // 2], errors[len(errors) // 2 :]
    first, second = (100 * sorted(half)[len(half) // 2] for half in halves)
    return f"estimates off by {first:.0f} and {second:.0f} % (median of the first and second half)"


async def _shares(here: World, owners: dict[str, str]) -> list[float] | None:
    """Return the mean progress of each user's jobs; None until half of all work is done."""
    rows = await here.rows("SELECT id, progress FROM jobs WHERE id = ANY(%s)", [*owners])
    if sum(progress for _, progress in rows) < 50 * len(owners):
        return None
    of: dict[str, list[int]] = {}
    for job, progress in rows:
        of.setdefault(owners[job], []).append(progress)
    return [sum(found) / len(found) for found in of.values()]
