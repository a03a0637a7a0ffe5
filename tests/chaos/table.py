"""Table: the long chaos runs over real processes, with their measurements."""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
from rich.console import Console
from rich.table import Table

from tests.chaos import long_jobs, long_outages, random_run

Fault = Callable[[Path, int], Awaitable[str]]


@dataclass(frozen=True)
class Row:
    """A row of the table: one fault."""

    name: str
    fault: str
    """The description; `{times}` is a number of repetitions, of jobs or of seconds."""
    must_hold: str
    run: Fault
    """Runs the fault in a folder, `times` times; returns the figures. Raises AssertionError on a violation."""
    times: int = 1


ROWS = (
    Row(
        "processing",
        "SIGKILL a processing instance at 10, 50, 90 % of a job, {times} times",
        "all complete; at most one segment redone each; one `completed` event each",
        long_jobs.processing_killed,
        20,
    ),
    Row(
        "orchestrator",
        "SIGKILL the orchestrator after each of the first {times} state changes of a job",
        "every job ends once; the same manifest hash; resumed within 35 s",
        long_jobs.orchestrator_killed,
        60,
    ),
    Row(
        "restarts",
        "SIGTERM every instance in turn, {times} times, during jobs (two instances of each service)",
        "no request is refused; all complete; one `completed` event each",
        long_jobs.restarted,
        3,
    ),
    Row(
        "nats",
        "NATS killed for {times} s under 5 creates a second (stand-ins for the media services)",
        "every create answered 202; every 202 becomes a finished job",
        long_outages.nats_killed,
        60,
    ),
    Row(
        "postgres-hangs",
        "PostgreSQL stopped (SIGSTOP) for {times} s",
        "503 with retry-after within 2 s; running renders are not lost",
        long_outages.postgres_stopped,
        30,
    ),
    Row(
        "postgres-dies",
        "PostgreSQL killed (SIGKILL), and away for {times} s",
        "503 with retry-after within 2 s; running renders are not lost",
        long_outages.postgres_killed,
        30,
    ),
    Row(
        "disk",
        "disk full on scratch, and on the store",
        "STORAGE_FULL, scratch removed, the next job works",
        long_outages.disk_full,
    ),
    Row(
        "stopped-orchestrator",
        "SIGSTOP an orchestrator for {times} s, then SIGCONT",
        "another finishes the job; the late result is refused",
        long_outages.orchestrator_stopped,
        60,
    ),
    Row(
        "stopped-processing",
        "SIGSTOP a processing instance for {times} s, then SIGCONT",
        "the job ends once; another instance renders what the stopped one had",
        long_outages.processing_stopped,
        60,
    ),
    Row(
        "thrice",
        "every message of the queue of {times} jobs delivered three more times, shuffled (stand-ins)",
        "same final state: no work is repeated, one event each",
        long_outages.triple_delivery,
        100,
    ),
    Row(
        "many",
        "{times} concurrent jobs of 20 users",
        "all end, at least 99 % complete; API p95 at most 200 ms; shares of users within 3x",
        long_jobs.many_jobs,
        100,
    ),
)


async def run(rows: list[Row], times: int | None, console: Console) -> bool:
    table = Table("fault", "must hold", "held", "measured", title="Faults", show_lines=True)
    good = True
    for row in rows:
        often = times or row.times
        fault = row.fault.format(times=often)
        console.print(f"{row.name}: {fault} ...")
        began = time.monotonic()
        folder = Path(tempfile.mkdtemp(prefix="chaos-"))
        try:
            held, figures = "yes", await row.run(folder, often)
            await asyncio.to_thread(shutil.rmtree, folder)
        except Exception as failure:
            # Record any failure, and continue with the other faults.
            held, good = "NO", False
            figures = f"{type(failure).__name__}: {str(failure)[:400]} (its logs are in {folder})"
        console.print(f"  {held}: {figures} ({time.monotonic() - began:.0f} s)")
        table.add_row(fault, row.must_hold, held, figures)
    console.print(table)
    return good


async def run_random(seed: int, minutes: float, console: Console) -> bool:
    """Run the random faults of a seed; returns whether all invariants held."""
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))
    broken = await random_run.run(seed, minutes, folder, console)
    for line in broken:
        console.print(f"BROKEN: {line}", markup=False, highlight=False)
    if broken:
        console.print(f"seed {seed}: {len(broken)} did not hold (everything is in {folder})")
    else:
        await asyncio.to_thread(shutil.rmtree, folder)
        console.print(f"seed {seed}: all held")
    return not broken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[row.name for row in ROWS], help="only these faults")
    parser.add_argument("--times", type=int, help="the number of repetitions, jobs or seconds of a fault")
    parser.add_argument("--random", type=int, metavar="SEED", help="random faults under random work, from a seed")
    parser.add_argument("--minutes", type=float, default=3.0, help="the duration with --random")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if options.random is not None:
        sys.exit(0 if asyncio.run(run_random(options.random, options.minutes, Console(width=150))) else 1)
    rows = [row for row in ROWS if not options.only or row.name in options.only]
    sys.exit(0 if asyncio.run(run(rows, options.times, Console(width=150))) else 1)


if __name__ == "__main__":
    main()
