"""Measures the control plane: latency, throughput and CPU time of a job without media work, and of a long queue.

Gateway, orchestrator, PostgreSQL and NATS are real processes. The media services and storage are stand-ins that answer
at once. They run in the measuring process, so the table includes their CPU time.

    scripts/bench control
    scripts/bench control --alone 10 --jobs 100 --queued 500
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import secrets
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import psutil
import structlog
from rich.console import Console
from rich.table import Table

from moneyprinter.client import Client
from services.runtime.config import PREFIX
from tests.chaos.world import NO_QUOTAS, REQUEST, World, world

CONCURRENT_REQUESTS = 16


async def create(http: httpx.AsyncClient) -> tuple[str, float]:
    """Create a job. Returns its id and the response time in seconds."""
    began = time.monotonic()
    answer = await http.post("/v1/videos", json=REQUEST)
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    return answer.json()["job_id"], time.monotonic() - began


async def create_all(here: World, number: int) -> list[tuple[str, float]]:
    """Create many jobs, `CONCURRENT_REQUESTS` at once. Returns them in the order of their responses.

    Each concurrent client is a new user, since the gateway limits the requests of one user.
    """
    made: list[tuple[str, float]] = []
    left = iter(range(number))

    async def create_some() -> None:
        async with here.user(f"user_{secrets.token_hex(8)}") as http:
            for _ in left:
                made.append(await create(http))  # noqa: PERF401  concurrent appends

    await asyncio.gather(*(create_some() for _ in range(CONCURRENT_REQUESTS)))
    return made


async def run_one_by_one(here: World, number: int) -> list[float]:
    """Run jobs one after another. Returns the seconds from POST until a watcher receives `completed`."""
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


async def measure_throughput(here: World, number: int) -> float:
    """Run many jobs. Returns the jobs per second, from the first POST to the last end."""
    began = time.monotonic()
    jobs = [job for job, _ in await create_all(here, number)]
    states = await here.until_ended(jobs, 600)
    assert set(states.values()) == {"completed"}
    return number / (time.monotonic() - began)


def cpu_seconds(here: World) -> dict[str, float]:
    """Return the CPU time of each part so far, in seconds."""
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


async def measure_queue(here: World, number: int, table: Table) -> None:
    """Queue jobs, measure the orchestrator, then let the jobs run."""
    process = here.process("orchestrator-1")
    before = process.memory_info().rss
    here.stand_ins.open.clear()
    made = await create_all(here, number)
    tenth = max(1, number // 10)
    times = [seconds for _, seconds in made]
    table.add_row(
        f"POST, p50 of the first and the last {tenth} of {number} jobs",
        f"{_percentile(times[:tenth], 50):.0f} and {_percentile(times[-tenth:], 50):.0f} ms",
        "no growth",
    )
    resident = process.memory_info().rss
    table.add_row(
        f"resident memory of the orchestrator with {number} jobs queued",
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
    table.add_row(f"time until all {number} jobs completed", f"{took:.0f} s", "")
    table.add_row("jobs per second, first and second half", f"{first:.1f} and {second:.1f}", "the same")


def _percentile(seconds: Sequence[float], percent: int) -> float:
    """Return a percentile in milliseconds."""
    return sorted(seconds)[min(len(seconds) - 1, len(seconds) * percent // 100)] * 1000


async def measure(options: argparse.Namespace) -> Table:
    load = os.getloadavg()[0]
    title = f"Control plane (load average at the start: {load:.1f}, cores: {os.cpu_count()})"
    table = Table("figure", "measured", "target", title=title)
    settings = {**NO_QUOTAS, f"{PREFIX}ORCHESTRATOR_JOBS_AT_ONCE": str(options.jobs_at_once)}
    settings[f"{PREFIX}ORCHESTRATOR_SEGMENTS_AT_ONCE"] = str(options.jobs_at_once)
    with tempfile.TemporaryDirectory(prefix="control-") as folder:
        async with world(Path(folder), lease_seconds=10.0, settings=settings) as here:
            await run_one_by_one(here, 5)
            found = await run_one_by_one(here, options.alone)
            table.add_row(
                f"one job, POST to completed, p50 of {options.alone}",
                f"{_percentile(found, 50):.0f} ms",
                "at most 150 ms",
            )
            table.add_row("one job, POST to completed, p95", f"{_percentile(found, 95):.0f} ms", "")
            before = cpu_seconds(here)
            rates = [await measure_throughput(here, options.jobs) for _ in range(3)]
            spent = {name: now - before[name] for name, now in cpu_seconds(here).items()}
            table.add_row(
                f"jobs per second, {options.jobs} jobs, median of 3 (jobs_at_once={options.jobs_at_once})",
                f"{statistics.median(rates):.1f}",
                "at least 50",
            )
            # On a busy machine, CPU time is steadier than wall time.
            each = {name: 1000 * seconds / (3 * options.jobs) for name, seconds in spent.items()}
            for name, milliseconds in each.items():
                table.add_row(f"CPU time per job: {name}", f"{milliseconds:.1f} ms", "")
            table.add_row("CPU time per job: all", f"{sum(each.values()):.1f} ms", "at most 40 ms (50/s on 2 cores)")
            await measure_queue(here, options.queued, table)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/bench control", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--alone", type=int, default=50, help="the number of jobs to time one after another")
    parser.add_argument("--jobs", type=int, default=300, help="the number of jobs in each throughput run")
    parser.add_argument("--queued", type=int, default=5000, help="the number of jobs in the long queue")
    parser.add_argument(
        "--jobs-at-once", type=int, default=8, help="the number of jobs that the orchestrator runs at once"
    )
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    Console().print(asyncio.run(measure(options)))


if __name__ == "__main__":
    main()
