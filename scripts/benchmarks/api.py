"""Api: how soon the interface answers under a load that does not heed the answers, and what the gateway's filters add.

Gateway, orchestrator, PostgreSQL and NATS are real processes; the services that work on media are stand-ins that answer
at once. The load comes from a process of its own on the same machine, over HTTP/1.1 connections that are kept; a time
counts from the moment at which a request was to be sent.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# Instead of this folder, whose platform.py would hide Python's.
sys.path[0] = str(ROOT)

import httpx  # noqa: E402
import structlog  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from gateway.config import Gateway  # noqa: E402
from scripts.benchmarks.api import attacks, bare  # noqa: E402
from scripts.benchmarks.api.load import Answers, Plan, offer  # noqa: E402
from services.embedded import environment, ports  # noqa: E402
from services.runtime.config import PREFIX, SERVICES  # noqa: E402
from tests.chaos.world import NO_QUOTAS, REQUEST, World, world  # noqa: E402

JOBS = 50
USER = "user_1"
# Beyond any load here; one user makes all of it.
UNLIMITED = {f"{PREFIX}GATEWAY_USER_BURST": "10000000"}
PARTS = {"orchestrator": "orchestrator-1", "PostgreSQL": "postgres", "NATS": "nats-server", "gateway": "envoy"}


def http(verb: str, path: str, token: str, body: str = "") -> str:
    """A request as it is sent."""
    length = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n" if body else ""
    return f"{verb} {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n{length}\r\n{body}"


def p(seconds: Sequence[float], percent: float) -> float:
    """A percentile, in milliseconds."""
    return sorted(seconds or [float("inf")])[min(len(seconds) - 1, int(len(seconds) * percent / 100))] * 1000


def spread(answers: Answers) -> list[str]:
    """The percentiles that are shown, in milliseconds, and how many requests were not answered well."""
    shown = [f"{p(answers.seconds, percent):.1f}" for percent in (50, 95, 99)]
    return [*shown, f"{p(answers.seconds, 100):.0f}", str(answers.bad)]


def cpu_seconds(here: World) -> dict[str, float]:
    """The time on the CPU that each part has had so far."""
    found = {}
    for part, name in PARTS.items():
        times = [process.cpu_times() for process in here.processes(name) if process.is_running()]
        found[part] = sum(time.user + time.system for time in times)
    return found


async def loaded(here: World, plan: Plan) -> tuple[Answers, str]:
    """What a load was answered, and what each took of the CPU, by part."""
    before = cpu_seconds(here)
    took = await offer(plan)
    spent = {part: 1000 * (now - before[part]) / max(1, len(took.seconds)) for part, now in cpu_seconds(here).items()}
    return took, ", ".join(f"{part} {milliseconds:.2f}" for part, milliseconds in spent.items())


async def jobs(here: World) -> list[str]:
    """Some jobs that have ended."""
    async with here.user(USER) as client:
        made = [(await client.post("/v1/videos", json=REQUEST)).json()["job_id"] for _ in range(JOBS)]
    await here.until_ended(made)
    return made


def envoy_seconds(here: World, folder: Path) -> dict[str, float]:
    """The time on the CPU that the gateway has had so far, and the bare one, whose configuration is in `folder`."""
    found = {"gateway": 0.0, "bare": 0.0}
    for process in here.processes("envoy"):
        times = process.cpu_times()
        found["bare" if any(str(folder) in part for part in process.cmdline()) else "gateway"] += sum(times[:2])
    return found


async def filters(
    here: World, folder: Path, requests: list[str], options: argparse.Namespace
) -> Mapping[str, tuple[float, float]]:
    """A light load through the gateway and through a bare one, which take turns.

    Its p50 in milliseconds, and the milliseconds on the CPU that each spent on a request, by name.
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
    async with bare.running(gateway, folder / "bare"):
        before = envoy_seconds(here, folder / "bare")
        for turn in range(options.turns):
            for name in sorted(addresses, reverse=bool(turn % 2)):
                plan = Plan(addresses[name], requests, options.light, options.turn_seconds, 200, seed=turn)
                seconds = (await offer(plan)).seconds
                # In the first turn, connections are made, and whatever else is made when it is first used.
                took[name] += seconds if turn else []
            before = before if turn else envoy_seconds(here, folder / "bare")
        spent = {name: now - before[name] for name, now in envoy_seconds(here, folder / "bare").items()}
    return {name: (p(found, 50), 1000 * spent[name] / max(1, len(found))) for name, found in took.items()}


async def measure(options: argparse.Namespace) -> Table:
    load = os.getloadavg()[0]
    title = f"The interface (load of the machine at the start: {load:.1f}, cores: {os.cpu_count()})"
    table = Table("load", "p50 ms", "p95 ms", "p99 ms", "max ms", "refused", "aim", "CPU ms a request", title=title)
    settings = {**NO_QUOTAS, f"{PREFIX}ORCHESTRATOR_JOBS_AT_ONCE": "8", f"{PREFIX}ORCHESTRATOR_SEGMENTS_AT_ONCE": "8"}
    with tempfile.TemporaryDirectory(prefix="api-") as folder, environment.set_variables(UNLIMITED):
        async with world(Path(folder), lease_seconds=10.0, settings=settings) as here:
            port, token = here.config.ports["gateway"], here.token(USER)
            reads = [http("GET", f"/v1/videos/{job}/status", token) for job in await jobs(here)]
            warm = Plan(port, reads, options.reads, 2, 200)
            await offer(warm)
            took, cpu = await loaded(here, Plan(port, reads, options.reads, options.seconds, 200))
            table.add_row(f"GET status, {options.reads:g} a second", *spread(took), "p95 at most 20 ms", cpu)

            body = httpx.Request("POST", "http://bench", json=REQUEST).content.decode()
            write = Plan(port, [http("POST", "/v1/videos", token, body)], options.writes, options.seconds, 202)
            # Segments are not rendered: the jobs wait, and only the requests themselves are seen.
            here.stand_ins.open.clear()
            took, cpu = await loaded(here, write)
            table.add_row(f"POST /v1/videos, {options.writes:g} a second", *spread(took), "p95 at most 50 ms", cpu)
            here.stand_ins.open.set()
            took, cpu = await loaded(here, write)
            driven = "the same while those jobs are driven to their ends"
            table.add_row(driven, *spread(took), "", cpu)

            await _until_quiet(here)
            found = await filters(here, Path(folder), reads, options)
            (whole, cpu_whole), (least, cpu_least) = found["gateway"], found["bare"]
            table.add_row(
                f"the gateway's filters, GET status at {options.light:g} a second",
                f"{whole:.2f} - {least:.2f} = {whole - least:+.2f}",
                *("", "", "", ""),
                "p50 at most +0.5 ms",
                f"{cpu_whole:.2f} - {cpu_least:.2f} = {cpu_whole - cpu_least:+.2f}",
            )
    return table


async def _until_quiet(here: World) -> None:
    """Wait until no job is driven any more."""
    rows = await here.rows("SELECT id FROM jobs WHERE status = 'processing'")
    await here.until_ended([str(job) for (job,) in rows], 600)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reads", type=float, default=500, help="GET status a second")
    parser.add_argument("--writes", type=float, default=100, help="POST /v1/videos a second")
    parser.add_argument("--seconds", type=float, default=20, help="how long each load lasts")
    parser.add_argument("--light", type=float, default=100, help="GET status a second, to see what the filters add")
    parser.add_argument("--turns", type=int, default=9, help="how often the gateway and the bare one take turns")
    parser.add_argument("--turn-seconds", type=float, default=3, help="how long a turn lasts")
    parser.add_argument(
        "--attacks", nargs="*", metavar="NAME", help="measure a second user's calls during attacks instead, all or some"
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often the second user makes each call in an attack")
    parser.add_argument("--processes", action="store_true", help="attack a platform of which each service is a process")
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
