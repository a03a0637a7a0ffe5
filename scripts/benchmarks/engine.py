"""Engine: how fast, how well and with how much memory a video is drawn, against one ffmpeg command and MoviePy.

`--script` also measures what cutting can give at best; `--moviepy` the monolith's way, in an environment of its own
that is made in a temporary folder.
All ways take turns, so that whatever else the machine does meets them all; figures are medians.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import font_manrope
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent.parent
# Instead of this folder, whose platform.py would hide Python's.
sys.path[0] = str(ROOT)

from scripts.benchmarks.engine import clips, commands, plan, quality, stream  # noqa: E402
from scripts.benchmarks.engine.meter import Took, Worker, run, worker  # noqa: E402
from tests.mesh import ffmpeg_program  # noqa: E402

FONTS = Path(font_manrope.__file__).parent / "files"
ENGINE, HAND, SCRIPT, MOVIEPY = "engine", "one ffmpeg command", "a script of commands", "MoviePy"
SIZES = {"9:16": (1080, 1920), "16:9": (1920, 1080), "16:9-4k": (3840, 2160)}
STREAM_FRAMES = 150
INSTANCES = (1, 2, 4)
# Wide enough for the widest table, wherever it is printed.
WIDTH = 120


@dataclass(frozen=True)
class Bench:
    """What all measurements share."""

    folder: Path
    monolith: Worker | None
    options: argparse.Namespace
    console: Console

    def ass(self, task: plan.Task) -> Path | None:
        """The file with the captions of a task."""
        if not task.captions:
            return None
        path = self.folder / "captions.ass"
        path.write_text(task.ass())
        return path

    def by_engine(self, task: plan.Task, **how: Any) -> tuple[Took, dict[str, Any]]:
        """Make a video as segments."""
        message = {
            "task": task.message(),
            "out": str(self.out(ENGINE)),
            "fonts": str(FONTS),
            "slots": self.options.slots,
            "threads": self.options.threads,
        }
        # A new one each time: one that joined a video before is larger.
        with instance(self.folder) as engine:
            return engine.do({**message, **how})

    def by_hand(self, task: plan.Task) -> Took:
        """Make it with one command."""
        return run(commands.hand_tuned(task, ffmpeg_program(), self.ass(task), FONTS, self.out(HAND)))

    def by_script(self, task: plan.Task) -> Took:
        """Make it with a command for each segment of the engine's."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            out, slots = self.out(SCRIPT), self.options.slots
            return run(commands.script(task, ffmpeg_program(), FONTS, Path(folder), out, slots))

    def by_moviepy(self, task: plan.Task) -> Took:
        """Make it as the monolith did."""
        assert self.monolith is not None
        message = {
            **{name: getattr(task, name) for name in ("width", "height", "fit", "preset", "crf", "captions")},
            "rate": plan.RATE,
            "shots": [asdict(shot) for shot in plan.shots(task)],
            "caption_seconds": plan.CAPTION_SECONDS,
            "font": str(next(iter(sorted(FONTS.glob("*800*.ttf"))), next(FONTS.iterdir()))),
            "out": str(self.out(MOVIEPY)),
        }
        return self.monolith.do(message)[0]

    def out(self, way: str) -> Path:
        """The file that a way writes."""
        return self.folder / f"{way.replace(' ', '-')}.mp4"


@contextmanager
def opened(options: argparse.Namespace, console: Console) -> Iterator[Bench]:
    """Start the processes that work, in a folder that is removed at the end."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-engine-")))
        (folder / "instance").mkdir()
        monolith = None
        if options.moviepy:
            python = environment(folder, options.moviepy_python)
            (folder / "monolith").mkdir()
            script = ROOT / "scripts" / "benchmarks" / "engine" / "monolith.py"
            command = (str(python), "-I", str(script), str(folder / "monolith"))
            monolith = stack.enter_context(worker(command, {"IMAGEIO_FFMPEG_EXE": str(ffmpeg_program())}))
        yield Bench(folder, monolith, options, console)


def instance(folder: Path) -> AbstractContextManager[Worker]:
    """Keep a processing instance running; all of a folder have their objects in common."""
    command = (sys.executable, "-m", "scripts.benchmarks.engine.instance", str(folder / "instance"))
    return worker(command, {"PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"})


def environment(folder: Path, python: Path | None) -> Path:
    """A Python with MoviePy: the one that is given, or one made for this run."""
    if python is not None:
        return python
    subprocess.run([sys.executable, "-m", "venv", folder / "moviepy"], check=True)
    subprocess.run([folder / "moviepy" / "bin" / "python", "-m", "pip", "install", "-q", "moviepy==2.2.1"], check=True)
    return folder / "moviepy" / "bin" / "python"


def middle(took: list[Took]) -> Took:
    """The median of each figure."""
    rows = list(zip(*(asdict(one).values() for one in took), strict=True))
    return Took(*(statistics.median(row) for row in rows))


@dataclass(frozen=True)
class Ratio:
    """How a way compares with the hand-tuned command: the median of the turns, in each of which both had their run."""

    wall: float
    cpu: float


def compare(bench: Bench, task: plan.Task) -> tuple[dict[str, Took], dict[str, Ratio], float]:
    """Make a video each way, in turns, and print a table; and when the engine's first second could be played."""
    first: list[float] = []

    def by_engine(task: plan.Task) -> Took:
        one, said = bench.by_engine(task)
        first.append(said["first"])
        return one

    ways: dict[str, Callable[[plan.Task], Took]] = {ENGINE: by_engine, HAND: bench.by_hand}
    if bench.options.script:
        ways[SCRIPT] = bench.by_script
    runs: dict[str, list[Took]] = defaultdict(list)
    for turn in range(bench.options.runs):
        for way, make in ways.items():
            runs[way].append(make(task))
        if bench.monolith is not None and turn < bench.options.moviepy_runs:
            runs[MOVIEPY].append(bench.by_moviepy(task))
    took = {way: middle(each) for way, each in runs.items()}
    ratios = {way: ratio(each, runs[HAND]) for way, each in runs.items()}
    seconds = task.frame_count / plan.RATE
    title = f"{task.name}: {seconds:.0f} s, x264 {task.preset} CRF {task.crf}, medians of {bench.options.runs}"
    table = Table("way", "wall", "÷", "from-to", "CPU", "÷", "RSS", "PSS", "SSIM", "VMAF", "size", title=title)
    for way, one in took.items():
        walls = [each.wall_seconds for each in runs[way]]
        ssim, vmaf = ("", "")
        if not bench.options.no_quality:
            measured = quality.compare(task, bench.out(way), ffmpeg_program(), bench.ass(task), FONTS)
            ssim, vmaf = f"{measured[0]:.4f}", f"{measured[1]:.1f}"
        table.add_row(
            *(way, f"{one.wall_seconds:.1f} s", f"{ratios[way].wall:.2f}"),
            *(f"{min(walls):.1f}-{max(walls):.1f}", f"{one.cpu_seconds:.1f} s"),
            *(f"{ratios[way].cpu:.2f}", f"{one.resident_mb:.0f} MB"),
            *(f"{one.proportional_mb:.0f} MB", ssim, vmaf, f"{bench.out(way).stat().st_size / 1e6:.1f} MB"),
        )
    bench.console.print(table)
    return took, ratios, statistics.median(first)


def ratio(took: list[Took], other: list[Took]) -> Ratio:
    """Compare two ways turn by turn: what else the machine does changes from one turn to the next."""
    turns = list(zip(took, other, strict=False))
    return Ratio(
        wall=statistics.median(one.wall_seconds / two.wall_seconds for one, two in turns),
        cpu=statistics.median(one.cpu_seconds / two.cpu_seconds for one, two in turns),
    )


def spread(bench: Bench, task: plan.Task) -> None:
    """Print how wall falls with the instances that render, of which each has one slot and one thread."""
    walls: dict[int, list[float]] = defaultdict(list)
    with ExitStack() as stack:
        instances = [stack.enter_context(instance(bench.folder)) for _ in range(max(INSTANCES))]
        for _ in range(bench.options.runs):
            for count in INSTANCES:
                walls[count].append(together(bench, task, instances[:count]))
    table = Table("instances", "wall", "÷ one", title=f"Instances on {len(os.sched_getaffinity(0))} cores, {task.name}")
    first = statistics.median(walls[INSTANCES[0]])
    for count, each in walls.items():
        wall = statistics.median(each)
        table.add_row(str(count), f"{wall:.1f} s", f"{wall / first:.2f}")
    bench.console.print(table)


def together(bench: Bench, task: plan.Task, instances: Sequence[Worker]) -> float:
    """Make a video with some instances, which take its segments as they get free; the seconds that this takes."""
    shutil.rmtree(bench.folder / "instance" / "objects" / "cache", ignore_errors=True)
    message = {"task": task.message(), "out": str(bench.out(ENGINE)), "fonts": str(FONTS), "slots": 1, "threads": 1}
    left = [segment.index for segment in plan.segments(task, {clip.sha256: "" for clip in task.clips})][::-1]

    def work(one: Worker) -> None:
        while left:
            one.do({**message, "only": [left.pop()], "keep": True})

    began = time.monotonic()
    with ThreadPoolExecutor(len(instances)) as threads:
        list(threads.map(work, instances))
    _, said = instances[0].do({**message, "keep": True})
    assert said["reused"] == said["segments"], "the instances rendered other segments than were joined"
    return time.monotonic() - began


def again(bench: Bench, task: plan.Task) -> float:
    """Render again after one caption was changed; the part of a full render's wall that this takes."""
    seconds = task.frame_count / plan.RATE
    parts, reused = [], (0, 0)
    for turn in range(bench.options.runs):
        full, said = bench.by_engine(task)
        place = (turn + 1) * len(task.captions) // (bench.options.runs + 1)
        changed = replace(task, captions=plan.captions(seconds, changed=place))
        part, said = bench.by_engine(changed, keep=True)
        parts.append(part.wall_seconds / full.wall_seconds)
        reused = said["reused"], said["segments"]
    bench.console.print(f"One changed caption: {reused[0]} of {reused[1]} segments were found again.")
    return statistics.median(parts)


def streamed(bench: Bench, source: clips.Clip) -> float:
    """Print what the encoder's stream takes against a child of one's own; the ratio for the quality that is asked."""
    raw = stream.frames(bench.folder, source.path, STREAM_FRAMES)
    megabytes = raw.stat().st_size / 1e6
    table = Table(
        "quality", "service", "MB/s", "own child", "MB/s", "÷", title="Encoder stream over mTLS, 1080p, libx264"
    )
    found = 0.0
    for level in ("draft", bench.options.quality):
        took = asyncio.run(stream.service(raw, level, bench.options.runs))
        there, here = (statistics.median(column) for column in zip(*took, strict=True))
        found = statistics.median(one / other for one, other in took)
        rates = (f"{there:.2f} s", f"{megabytes / there:.0f}", f"{here:.2f} s", f"{megabytes / here:.0f}")
        table.add_row(level, *rates, f"{found:.2f}")
    bench.console.print(table)
    return found


def figures(rows: list[tuple[str, float, float, str]], at_least: set[str]) -> Table:
    """What was to be reached."""
    table = Table("figure", "measured", "aim", "", title="Figures to reach")
    for name, value, aim, unit in rows:
        reached = value >= aim if name in at_least else value <= aim
        most = "at least" if name in at_least else "at most"
        shown = f"{value:.0f}{unit}" if unit == " MB" else f"{value:.2f}{unit}"
        table.add_row(name, shown, f"{most} {aim:g}{unit}", "reached" if reached else "not reached")
    return table


def measure(bench: Bench) -> None:
    options = bench.options
    each = options.seconds / len(clips.KINDS)
    made = tuple(asyncio.run(clips.make(bench.folder, ffmpeg_program(), each + 0.1)))
    frame_count = round(options.seconds * plan.RATE)
    rows: list[tuple[str, float, float, str]] = []
    at_least: set[str] = set()
    tasks = [
        plan.Task(made, *SIZES[size], fit, options.quality, frame_count)
        for size in options.sizes.split(",")
        for fit in options.fits.split(",")
    ]
    captioned = replace(tasks[0], captions=plan.captions(options.seconds))
    if options.show:
        for task in tasks:
            command = shlex.join(commands.hand_tuned(task, ffmpeg_program(), None, FONTS, bench.out(HAND)))
            bench.console.print(f"{task.name}:", command, soft_wrap=True, markup=False, highlight=False)
    for task in [*tasks, captioned] if "compare" in options.parts else []:
        took, ratios, first = compare(bench, task)
        engine = took[ENGINE]
        rows.append((f"wall ÷ one ffmpeg command, {task.name}", ratios[ENGINE].wall, 0.90, ""))
        rows.append((f"CPU ÷ one ffmpeg command, {task.name}", ratios[ENGINE].cpu, 1.00, ""))
        peak = 1800 if task.width * task.height > 1920 * 1080 else 1000
        rows.append((f"peak memory, shared pages once, {task.name}", engine.proportional_mb, peak, " MB"))
        rows.append((f"first second that can be played, after, {task.name}", first, 4.0, " s"))
        if MOVIEPY in took:
            name = f"MoviePy ÷ engine, wall, {task.name}"
            at_least.add(name)
            aim = 8.0 if task.fit == "contain" and task.height > task.width else 6.0
            rows.append((name, ratios[MOVIEPY].wall / ratios[ENGINE].wall, aim, ""))
    if "spread" in options.parts:
        spread(bench, tasks[0])
    if "again" in options.parts:
        rows.append(("one changed caption ÷ full render", again(bench, captioned), 0.25, ""))
    if "stream" in options.parts:
        rows.append((f"encoder stream ÷ own child, {options.quality}", streamed(bench, made[1]), 1.15, ""))
    load = os.getloadavg()
    bench.console.print(f"{len(os.sched_getaffinity(0))} cores; load of the last 1, 5, 15 minutes: {load}")
    if rows:
        bench.console.print(figures(rows, at_least))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long the video is")
    parser.add_argument("--runs", type=int, default=3, help="how often each way takes its turn")
    parser.add_argument("--quality", choices=plan.QUALITIES, default="high", help="preset and CRF, of every way")
    parser.add_argument("--sizes", default="9:16,16:9", help=f"some of {', '.join(SIZES)}")
    parser.add_argument("--fits", default="cover,contain", help="cover, contain or both")
    parser.add_argument("--parts", default="compare,spread,again,stream", help="what is measured")
    parser.add_argument("--slots", type=int, default=2, help="segments that the engine renders at once")
    parser.add_argument("--threads", type=int, help="of one render; by default the cores divided by the slots")
    parser.add_argument("--script", action="store_true", help="measure a bare script that cuts as the engine does, too")
    parser.add_argument("--moviepy", action="store_true", help="measure the monolith's way, too")
    parser.add_argument("--moviepy-runs", type=int, default=1, help="how often; it is slow")
    parser.add_argument("--moviepy-python", type=Path, help="a Python that has MoviePy already")
    parser.add_argument("--no-quality", action="store_true", help="measure no SSIM and VMAF")
    parser.add_argument("--show", action="store_true", help="print the ffmpeg command of each video")
    options = parser.parse_args()
    console = Console(width=WIDTH)
    with opened(options, console) as bench:
        measure(bench)


if __name__ == "__main__":
    main()
