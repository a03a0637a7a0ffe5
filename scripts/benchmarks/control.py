"""Control: what the control plane costs a job whose media work is replaced by nothing, and what a long queue costs it.

Gateway, orchestrator, PostgreSQL and NATS are real processes. The services that work on media, and storage, are
stand-ins that answer at once, in the process that measures: what they take of the machine is counted too.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# Instead of this folder, whose platform.py would hide Python's.
sys.path[0] = str(ROOT)

import httpx  # noqa: E402
import psutil  # noqa: E402
import structlog  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from moneyprinter.client import Client  # noqa: E402
from services.runtime.config import PREFIX  # noqa: E402
from tests.chaos.world import NO_QUOTAS, REQUEST, World, world  # noqa: E402

AT_ONCE = 16


async def create(http: httpx.AsyncClient) -> tuple[str, float]:
    """The id of a new job, and how long the answer took, in seconds."""
    began = time.monotonic()
    answer = await http.post("/v1/videos", json=REQUEST)
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    return answer.json()["job_id"], time.monotonic() - began


async def create_all(here: World, number: int) -> list[tuple[str, float]]:
    """Many jobs, `AT_ONCE` requests at once, in the order in which they were answered.

    Each comes from a user of its own that is new, since the gateway lets one user make only so many.
    """
    made: list[tuple[str, float]] = []
    left = iter(range(number))

    async def some() -> None:
        async with here.user(f"user_{secrets.token_hex(8)}") as http:
            for _ in left:
                made.append(await create(http))  # noqa: PERF401  others append between

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return made


async def one_by_one(here: World, number: int) -> list[float]:
    """Seconds from POST until a watcher was told `completed`, of jobs that have the platform for themselves."""
    found = []
    async with here.user() as http, Client(here.url.removeprefix("http://"), token=here.token("user_1")) as client:
        for _ in range(number):
            began = time.monotonic()
            job, _ = await create(http)
            async for update in client.watch(job):
                last = update.status.status
            assert last == "completed"
            found.append(time.monotonic() - began)
    return found


async def sustained(here: World, number: int) -> float:
    """Jobs a second, from the first POST to the last end."""
    began = time.monotonic()
    jobs = [job for job, _ in await create_all(here, number)]
    states = await here.until_ended(jobs, 600)
    assert set(states.values()) == {"completed"}
    return number / (time.monotonic() - began)


def cpu_seconds(here: World) -> dict[str, float]:
    """The time on the CPU that each part has had so far."""
    parts = {
        "orchestrator": here.processes("orchestrator-1"),
        "PostgreSQL": here.processes("postgres"),
        "NATS": here.processes("nats-server"),
        "gateway": here.processes("envoy"),
        "stand-ins and the measuring client": [psutil.Process()],
    }
    return {
        name: sum(sum(process.cpu_times()[:2]) for process in processes if process.is_running())
        for name, processes in parts.items()
    }


async def queued(here: World, number: int, table: Table) -> None:
    """Create jobs that wait, look at the orchestrator, and let them go."""
    process = here.process("orchestrator-1")
    before = process.memory_info().rss
    here.stand_ins.open.clear()
    made = await create_all(here, number)
    tenth = max(1, number // 10)
    times = [seconds for _, seconds in made]
    table.add_row(
        f"POST, p50 of the first and the last {tenth} of {number}",
        f"{_p(times[:tenth], 50):.0f} and {_p(times[-tenth:], 50):.0f} ms",
        "no growth",
    )
    resident = process.memory_info().rss
    table.add_row(
        f"resident memory of the orchestrator with {number} queued",
        f"{resident / 1e6:.0f} MB ({before / 1e6:.0f} MB with none)",
        "under 250 MB",
    )
    here.stand_ins.open.set()
    began = time.monotonic()
    states = await here.until_ended([job for job, _ in made], 3600)
    assert set(states.values()) == {"completed"}
    took = time.monotonic() - began
    rows = await here.rows("SELECT end_time FROM jobs WHERE id = ANY(%s) ORDER BY end_time", [job for job, _ in made])
    ends = [end.timestamp() for (end,) in rows]
    half = len(ends) // 2
    first, second = half / (ends[half] - ends[0]), (len(ends) - half - 1) / (ends[-1] - ends[half])
    table.add_row(f"all {number} completed", f"in {took:.0f} s", "")
    table.add_row("jobs a second, first and second half of them", f"{first:.1f} and {second:.1f}", "the same")


def _p(seconds: Sequence[float], percent: int) -> float:
    """A percentile, in milliseconds."""
    return sorted(seconds)[min(len(seconds) - 1, len(seconds) * percent // 100)] * 1000


async def measure(options: argparse.Namespace) -> Table:
    load = os.getloadavg()[0]
    title = f"The control plane (load of the machine at the start: {load:.1f}, cores: {os.cpu_count()})"
    table = Table("figure", "measured", "aim", title=title)
    settings = {**NO_QUOTAS, f"{PREFIX}ORCHESTRATOR_JOBS_AT_ONCE": str(options.jobs_at_once)}
    settings[f"{PREFIX}ORCHESTRATOR_SEGMENTS_AT_ONCE"] = str(options.jobs_at_once)
    with tempfile.TemporaryDirectory(prefix="control-") as folder:
        async with world(Path(folder), lease_seconds=10.0, settings=settings) as here:
            await one_by_one(here, 5)
            found = await one_by_one(here, options.alone)
            table.add_row(f"POST to completed, p50 of {options.alone}", f"{_p(found, 50):.0f} ms", "at most 150 ms")
            table.add_row("the same, p95", f"{_p(found, 95):.0f} ms", "")
            before = cpu_seconds(here)
            rates = [await sustained(here, options.jobs) for _ in range(3)]
            spent = {name: now - before[name] for name, now in cpu_seconds(here).items()}
            table.add_row(
                f"jobs a second, {options.jobs} jobs, median of 3 (jobs_at_once={options.jobs_at_once})",
                f"{statistics.median(rates):.1f}",
                "at least 50",
            )
            # Of a busy machine, the time on the CPU says more than the clock does.
            each = {name: 1000 * seconds / (3 * options.jobs) for name, seconds in spent.items()}
            for name, milliseconds in each.items():
                table.add_row(f"CPU time a job: {name}", f"{milliseconds:.1f} ms", "")
            table.add_row("CPU time a job: all", f"{sum(each.values()):.1f} ms", "at most 40 ms (50/s on 2 cores)")
            await queued(here, options.queued, table)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alone", type=int, default=50, help="how many jobs are timed one by one")
    parser.add_argument("--jobs", type=int, default=300, help="how many jobs are made at once")
    parser.add_argument("--queued", type=int, default=5000, help="how many jobs wait")
    parser.add_argument("--jobs-at-once", type=int, default=8, help="how many the orchestrator drives at once")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    Console().print(asyncio.run(measure(options)))


if __name__ == "__main__":
    main()
