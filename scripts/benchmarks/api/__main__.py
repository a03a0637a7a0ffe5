"""Measures the response times of the API under an open load, and what the gateway's filters add.

Gateway, orchestrator, PostgreSQL and NATS are real processes; the media services are stand-ins that answer at once. A
separate process on the same machine creates the load, over persistent HTTP/1.1 connections. A response time counts from
the moment at which the request was due.

    scripts/bench api
    scripts/bench api --reads 100 --writes 20 --seconds 5
    scripts/bench api --attacks                   a second user's response times during all attacks
    scripts/bench api --attacks large_bodies      or during one
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import structlog
from rich.console import Console
from rich.table import Table

from gateway.config import Gateway
from scripts.benchmarks.api import attacks, bare
from scripts.benchmarks.api.load import Answers, Plan, send_load
from services.embedded import environment, ports
from services.runtime.config import PREFIX, SERVICES
from tests.chaos.world import NO_QUOTAS, REQUEST, World, world

JOBS = 50
USER = "user_1"
# More than any load here, since one user sends all requests.
UNLIMITED = {f"{PREFIX}GATEWAY_USER_BURST": "10000000"}
PARTS = {"orchestrator": "orchestrator-1", "PostgreSQL": "postgres", "NATS": "nats-server", "gateway": "envoy"}


def format_request(verb: str, path: str, token: str, body: str = "") -> str:
    """Format a request as HTTP/1.1."""
    length = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n" if body else ""
    return f"{verb} {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n{length}\r\n{body}"


def percentile(seconds: Sequence[float], percent: float) -> float:
    """Return a percentile in milliseconds."""
    return sorted(seconds or [float("inf")])[min(len(seconds) - 1, int(len(seconds) * percent / 100))] * 1000


def summary_columns(answers: Answers) -> list[str]:
    """Return the percentiles of the table in milliseconds, and the number of failed requests."""
    shown = [f"{percentile(answers.seconds, percent):.1f}" for percent in (50, 95, 99)]
    return [*shown, f"{percentile(answers.seconds, 100):.0f}", str(answers.bad)]


def cpu_seconds(here: World) -> dict[str, float]:
    """Return the CPU time of each part so far, in seconds."""
    found = {}
    for part, name in PARTS.items():
        times = [process.cpu_times() for process in here.processes(name) if process.is_running()]
        found[part] = sum(time.user + time.system for time in times)
    return found


async def measure_load(here: World, plan: Plan) -> tuple[Answers, str]:
    """Send a load. Returns the responses, and the CPU time per request of each part."""
    before = cpu_seconds(here)
    took = await send_load(plan)
    spent = {part: 1000 * (now - before[part]) / max(1, len(took.seconds)) for part, now in cpu_seconds(here).items()}
    return took, ", ".join(f"{part} {milliseconds:.2f}" for part, milliseconds in spent.items())


async def run_jobs(here: World) -> list[str]:
    """Run `JOBS` jobs to their end. Returns their ids."""
    async with here.user(USER) as client:
        made = [(await client.post("/v1/videos", json=REQUEST)).json()["job_id"] for _ in range(JOBS)]
    await here.until_ended(made)
    return made


def envoy_seconds(here: World, folder: Path) -> dict[str, float]:
    """Return the CPU seconds of the gateway and of the bare one, whose configuration is in `folder`."""
    found = {"gateway": 0.0, "bare": 0.0}
    for process in here.processes("envoy"):
        times = process.cpu_times()
        found["bare" if any(str(folder) in part for part in process.cmdline()) else "gateway"] += sum(times[:2])
    return found


async def measure_filters(
    here: World, folder: Path, requests: list[str], options: argparse.Namespace
) -> Mapping[str, tuple[float, float]]:
    """Send a light load through the gateway and through a bare one, in turns.

    Returns, for each, the p50 in milliseconds and the CPU milliseconds per request.
    """
    port, internal_port = ports.pick_ports(2)
    gateway = Gateway(
        addresses={name: ",".join(here.config.addresses(name)) for name in SERVICES},
        certificates=here.config.certificates,
        port=port,
        internal_port=internal_port,
        access_log=folder / "bare-requests.log",
    )
    took: dict[str, list[float]] = {"gateway": [], "bare": []}
    addresses = {"gateway": here.config.ports["gateway"], "bare": port}
    async with bare.run_gateway(gateway, folder / "bare"):
        before = envoy_seconds(here, folder / "bare")
        for turn in range(options.turns):
            for name in sorted(addresses, reverse=bool(turn % 2)):
                plan = Plan(addresses[name], requests, options.light, options.turn_seconds, 200, seed=turn)
                seconds = (await send_load(plan)).seconds
                # The first turn opens connections and warms caches, and does not count.
                took[name] += seconds if turn else []
            before = before if turn else envoy_seconds(here, folder / "bare")
        spent = {name: now - before[name] for name, now in envoy_seconds(here, folder / "bare").items()}
    return {name: (percentile(found, 50), 1000 * spent[name] / max(1, len(found))) for name, found in took.items()}


async def measure(options: argparse.Namespace) -> Table:
    load = os.getloadavg()[0]
    title = f"API (load average at the start: {load:.1f}, cores: {os.cpu_count()})"
    table = Table("load", "p50 ms", "p95 ms", "p99 ms", "max ms", "failed", "target", "CPU ms per request", title=title)
    settings = {**NO_QUOTAS, f"{PREFIX}ORCHESTRATOR_JOBS_AT_ONCE": "8", f"{PREFIX}ORCHESTRATOR_SEGMENTS_AT_ONCE": "8"}
    with tempfile.TemporaryDirectory(prefix="api-") as folder, environment.set_variables(UNLIMITED):
        async with world(Path(folder), lease_seconds=10.0, settings=settings) as here:
            port, token = here.config.ports["gateway"], here.token(USER)
            reads = [format_request("GET", f"/v1/videos/{job}/status", token) for job in await run_jobs(here)]
            warm = Plan(port, reads, options.reads, 2, 200)
            await send_load(warm)
            took, cpu = await measure_load(here, Plan(port, reads, options.reads, options.seconds, 200))
            table.add_row(f"GET status, {options.reads:g} per second", *summary_columns(took), "p95 at most 20 ms", cpu)

            body = httpx.Request("POST", "http://bench", json=REQUEST).content.decode()
            write = Plan(
                port, [format_request("POST", "/v1/videos", token, body)], options.writes, options.seconds, 202
            )
            # The stand-ins render no segment, so the jobs wait and only the requests cost time.
            here.stand_ins.open.clear()
            took, cpu = await measure_load(here, write)
            table.add_row(
                f"POST /v1/videos, {options.writes:g} per second", *summary_columns(took), "p95 at most 50 ms", cpu
            )
            here.stand_ins.open.set()
            took, cpu = await measure_load(here, write)
            driven = "the same while these jobs run"
            table.add_row(driven, *summary_columns(took), "", cpu)

            await _wait_until_quiet(here)
            found = await measure_filters(here, Path(folder), reads, options)
            (whole, cpu_whole), (least, cpu_least) = found["gateway"], found["bare"]
            table.add_row(
                f"gateway's filters, GET status at {options.light:g} per second",
                f"{whole:.2f} - {least:.2f} = {whole - least:+.2f}",
                *("", "", "", ""),
                "p50 at most +0.5 ms",
                f"{cpu_whole:.2f} - {cpu_least:.2f} = {cpu_whole - cpu_least:+.2f}",
            )
    return table


async def _wait_until_quiet(here: World) -> None:
    """Wait until no job runs."""
    rows = await here.rows("SELECT id FROM jobs WHERE status = 'processing'")
    await here.until_ended([str(job) for (job,) in rows], 600)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/bench api", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reads", type=float, default=500, help="the rate of GET status, per second")
    parser.add_argument("--writes", type=float, default=100, help="the rate of POST /v1/videos, per second")
    parser.add_argument("--seconds", type=float, default=20, help="the duration of each load, in seconds")
    parser.add_argument("--light", type=float, default=100, help="the rate of GET status for the filters, per second")
    parser.add_argument("--turns", type=int, default=9, help="the number of turns of gateway and bare gateway")
    parser.add_argument("--turn-seconds", type=float, default=3, help="the duration of a turn, in seconds")
    parser.add_argument(
        "--attacks", nargs="*", metavar="NAME", help="measure a second user's calls during these attacks (default: all)"
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="the number of rounds of the second user's calls in each attack"
    )
    parser.add_argument("--processes", action="store_true", help="attack a platform with one process per service")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if options.attacks is None:
        table = asyncio.run(measure(options))
    else:
        with tempfile.TemporaryDirectory(prefix="attacks-") as folder:
            started = ("--processes",) if options.processes else ()
            table = asyncio.run(attacks.measure(Path(folder), options.rounds, options.attacks, *started))
    Console(width=180).print(table)


if __name__ == "__main__":
    main()
