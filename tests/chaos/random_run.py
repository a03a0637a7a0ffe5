"""Random run: a platform under random work of three users and random faults, then a check of the invariants.

scripts/chaos --random SEED [--minutes N]
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import httpx
from rich.console import Console

from services.embedded import ports
from services.runtime.config import PORTS
from tests import media
from tests.chaos.random_faults import FaultInjector, left_of, schedule
from tests.chaos.random_work import Notes, User
from tests.up import READY

PASSWORD = "a long phrase that is not easily guessed"
USERS = ("ada", "bob")
SETTINGS = {
    "MONEYPRINTER_USER_REGISTRATION": "open",
    # An interrupted upload leaves a file, which is removed after a day by default.
    "MONEYPRINTER_ORCHESTRATOR_FILES_CHECK_SECONDS": "10",
    "MONEYPRINTER_ORCHESTRATOR_ORPHAN_SECONDS": "40",
}
ENDED_SECONDS = 300.0
SWEPT_SECONDS = 150.0
SILENCE_SECONDS = 6.0
ENDS = {f"video.processing.{end}" for end in ("completed", "failed", "cancelled")}


@dataclass
class Platform:
    """`moneyprinter up --processes`, restarted when it was killed."""

    data: Path
    port: int
    process: asyncio.subprocess.Process | None = None
    starts: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it, and wait until it is ready."""
        self.starts += 1
        with (self.data.parent / "up.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "services.cli", "up", "--data", str(self.data)),
                *("--port", str(self.port), "--processes", "--replicas", "processing=2,orchestrator=2"),
                env={"PATH": os.environ["PATH"], **SETTINGS},
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        async with asyncio.timeout(180):
            while line := (await self.process.stdout.readline()).decode():
                if READY.fullmatch(line):
                    return
        await self.process.wait()
        raise AssertionError(f"up did not start (see {self.data.parent / 'up.log'})")

    async def keep(self, until: asyncio.Event) -> None:
        """Restart it whenever it ends, until `until` is set."""
        while not until.is_set():
            assert self.process is not None
            with suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await self.process.wait()
            if self.process.returncode is None or until.is_set():
                continue
            try:
                await self.start()
            except AssertionError:
                # Also restart one that was killed during its start.
                assert self.process.returncode == -signal.SIGKILL, "up did not start"

    async def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(90):
            return await self.process.wait()


async def run(seed: int, minutes: float, folder: Path, console: Console) -> list[str]:
    """Run a platform for some minutes under the faults of a seed; returns descriptions of the violated invariants."""
    numbers = ports.pick_ports(len(PORTS) + 50)
    port = next(n for n in numbers if all(n + step in numbers for step in range(len(PORTS))))
    platform, notes = Platform(folder / "data", port), Notes()
    await platform.start()
    clip = media.clip(folder / "clip.mp4", seconds=1.0, sound=True).read_bytes()
    account = json.loads((folder / "data" / "first-account").read_text())
    users = [User(account["username"], account["password"], platform.url, clip, seed, notes)]
    for name in USERS:
        user = User(name, PASSWORD, platform.url, clip, seed, notes)
        answer = await user.http.post("/v1/auth/register", json={"username": name, "password": PASSWORD})
        assert answer.status_code == httpx.codes.CREATED, answer.text
        users.append(user)
    over, done = asyncio.Event(), asyncio.Event()
    working = [asyncio.create_task(user.work(over)) for user in users]
    keeping = asyncio.create_task(platform.keep(done))
    began = time.monotonic()
    stopping: list[FaultInjector] = []
    for fault in schedule(seed, minutes * 60):
        await asyncio.sleep(max(0.0, began + fault.at_seconds - time.monotonic()))
        assert platform.process is not None
        inflicter = FaultInjector(platform.process.pid)
        stopping.append(inflicter)
        if fault.target == "platform":
            inflicter.log.append(str(fault))
            with suppress(ProcessLookupError):
                platform.process.kill()
        else:
            await inflicter.inject(fault)
        console.print(*inflicter.log, sep="\n", markup=False, highlight=False)
    for inflicter in stopping:
        await inflicter.close()
    over.set()
    broken = await _outcomes(working)
    done.set()
    broken += await _outcomes([keeping])
    console.print(f"{len(notes.accepted)} jobs; answers: {dict(sorted(notes.answers.items()))}; cut: {dict(notes.cut)}")
    broken += notes.wrong + await _check(platform, users, notes)
    code = await platform.stop()
    if code:
        broken.append(f"up ended with {code}")
    await asyncio.sleep(1)
    broken += [f"still runs: {line}" for line in left_of(folder / "data")]
    broken += [f"left in scratch: {path}" for path in (folder / "data" / "scratch").rglob("*") if path.is_file()]
    for user in users:
        await user.http.aclose()
    return broken


async def _outcomes(tasks: Sequence[asyncio.Task[None]]) -> list[str]:
    results = await asyncio.gather(*tasks, return_exceptions=True)
    return [f"{task.get_coro()}: {type(r).__name__}: {r}" for task, r in zip(tasks, results, strict=True) if r]


async def _check(platform: Platform, users: Sequence[User], notes: Notes) -> list[str]:
    """Check the invariants after the faults."""
    async with asyncio.timeout(120):
        while not all([await user.sign_in() for user in users]):  # noqa: ASYNC110
            await asyncio.sleep(0.5)
    broken: list[str] = []
    for user in users:
        states = await _until_ended(user, notes, broken)
        broken += await _events(user, notes, states)
        broken += await _files(user, states)
    verify = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "services.cli", "audit", "verify", "--data", str(platform.data)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await verify.communicate()
    if verify.returncode:
        broken.append(f"the audit log: {output.decode()}")
    return broken + await _orphans(platform, users)


async def _jobs(user: User) -> dict[str, Any]:
    found: dict[str, Any] = {}
    token = ""
    while True:
        answer = await user.http.get("/v1/videos", params={"page_size": 50, "page_token": token})
        found |= {video["job_id"]: video for video in answer.json()["videos"]}
        if not (token := answer.json().get("next_page_token", "")):
            return found


async def _until_ended(user: User, notes: Notes, broken: list[str]) -> dict[str, str]:
    """Wait until all jobs of a user have ended; returns their states."""
    end = time.monotonic() + ENDED_SECONDS
    while True:
        found = await _jobs(user)
        running = [job for job, video in found.items() if video["status"] == "processing"]
        if not running or time.monotonic() > end:
            break
        await user.approve()
        await asyncio.sleep(1)
    broken += [f"{job} has not ended" for job in running]
    for job, video in found.items():
        if video["status"] == "failed":
            broken.append(f"{job} failed: {json.dumps(video.get('error'))}")
        elif video["status"] == "cancelled" and job not in notes.cancelled:
            broken.append(f"{job} is cancelled without a request")
    mine = {job for job, name in notes.accepted.items() if name == user.name}
    broken += [f"{job} was accepted, and is gone" for job in mine - found.keys() - notes.deleted]
    return {job: video["status"] for job, video in found.items()}


async def _events(user: User, notes: Notes, states: dict[str, str]) -> list[str]:
    """Describe errors in the events of a user."""
    events: dict[str, list[dict[str, Any]]] = defaultdict(list)
    positions: list[int] = []
    with suppress(httpx.ReadTimeout):
        timeout = httpx.Timeout(20, read=SILENCE_SECONDS)
        async with user.http.stream("GET", "/v1/events", timeout=timeout) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: {"):
                    event = json.loads(line.removeprefix("data: "))
                    if event.get("job_id"):
                        events[event["job_id"]].append(event)
                        positions.append(int(event["position"]))
    broken = [] if positions == sorted(set(positions)) else [f"positions of {user.name} are not in order"]
    for job, found in events.items():
        if [int(event["sequence"]) for event in found] != list(range(1, len(found) + 1)):
            broken.append(f"events of {job} have gaps: {[event['sequence'] for event in found]}")
    for job, state in states.items():
        ends = [event["event_type"].rpartition(".")[2] for event in events[job] if event["event_type"] in ENDS]
        if not ends or ends[-1] != state or not 1 <= len(ends) <= 1 + notes.ends_more[job]:
            broken.append(f"{job} is {state}, was retried {notes.ends_more[job]} times, and its events end {ends}")
    return broken


async def _files(user: User, states: dict[str, str]) -> list[str]:
    """Describe finished videos that do not play."""
    broken = []
    for job in [job for job, state in states.items() if state == "completed"]:
        answer = await user.http.get(f"/v1/videos/{job}/file")
        try:
            assert answer.status_code == httpx.codes.OK, answer.text
            await asyncio.to_thread(_play, answer.content)
        except (AssertionError, av.FFmpegError) as failure:
            broken.append(f"{job} does not play: {failure}")
    return broken


def _play(content: bytes) -> None:
    with av.open(io.BytesIO(content), "r") as container:
        assert len(list(container.decode(video=0))) > 10, "it has no picture"
    with av.open(io.BytesIO(content), "r") as container:
        assert len(list(container.decode(audio=0))) > 10, "it has no sound"


async def _orphans(platform: Platform, users: Sequence[User]) -> list[str]:
    """Delete all videos and uploads; objects that remain are orphans."""
    broken = []
    for user in users:
        for job in await _jobs(user):
            await user.http.delete(f"/v1/videos/{job}")
        for asset in (await user.http.get("/v1/assets", params={"page_size": 50})).json()["assets"]:
            answer = await user.http.delete(f"/v1/assets/{asset['asset_id']}")
            if answer.status_code != httpx.codes.OK:
                broken.append(f"{asset['asset_id']} cannot be deleted: {answer.text[:200]}")
    objects = platform.data / "objects"
    end = time.monotonic() + SWEPT_SECONDS
    while True:
        left = [path.relative_to(objects) for path in objects.rglob("*") if path.is_file()]
        # Caches, and files of the store itself, belong to no job.
        orphans = [str(path) for path in left if path.parts[0] != "cache" and not path.parts[0].endswith("!")]
        if not orphans or time.monotonic() > end:
            return broken + [f"orphan: {path}" for path in orphans[:20]]
        await asyncio.sleep(1)
