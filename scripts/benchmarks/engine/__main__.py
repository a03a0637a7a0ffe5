"""Measures the rendering engine (speed, memory, quality) against one ffmpeg command, a bare script and MoviePy.

The ways take turns, so that other work on the machine affects all of them. The figures are medians.

    scripts/bench engine
    scripts/bench engine --script --moviepy       with a script that cuts as the engine does, and with MoviePy
    scripts/bench engine --parts stream           only the encoder's stream
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

from scripts.benchmarks.engine import clips, commands, plan, quality, stream
from scripts.benchmarks.engine.meter import Took, Worker, run, worker
from tests.mesh import ffmpeg_program

ROOT = Path(__file__).resolve().parents[3]

FONTS = Path(font_manrope.__file__).parent / "files"
ENGINE, HAND, SCRIPT, MOVIEPY = "engine", "one ffmpeg command", "a script of commands", "MoviePy"
SIZES = {"9:16": (1080, 1920), "16:9": (1920, 1080), "16:9-4k": (3840, 2160)}
STREAM_FRAMES = 150
INSTANCES = (1, 2, 4)
# The width of the widest table.
WIDTH = 120


@dataclass(frozen=True)
class Bench:
    """The settings and processes that all measurements share."""

    folder: Path
    monolith: Worker | None
    options: argparse.Namespace
    console: Console

    def ass(self, task: plan.Task) -> Path | None:
        """Write the captions of a task. Returns the file; None without captions."""
        if not task.captions:
            return None
        path = self.folder / "captions.ass"
        path.write_text(task.ass())
        return path

    def by_engine(self, task: plan.Task, **how: Any) -> tuple[Took, dict[str, Any]]:
        """Make a video with the engine, in segments."""
        message = {
            "task": task.message(),
            "out": str(self.out(ENGINE)),
            "fonts": str(FONTS),
            "slots": self.options.slots,
            "threads": self.options.threads,
        }
        # A new instance each time: one that has joined a video has a larger memory.
        with run_instance(self.folder) as engine:
            return engine.do({**message, **how})

    def by_hand(self, task: plan.Task) -> Took:
        """Make a video with one ffmpeg command."""
        return run(commands.hand_tuned(task, ffmpeg_program(), self.ass(task), FONTS, self.out(HAND)))

    def by_script(self, task: plan.Task) -> Took:
        """Make a video with one ffmpeg command per segment."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            out, slots = self.out(SCRIPT), self.options.slots
            return run(commands.script(task, ffmpeg_program(), FONTS, Path(folder), out, slots))

    def by_moviepy(self, task: plan.Task) -> Took:
        """Make a video with MoviePy, as the monolith did."""
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
        """Return the output file of a way."""
        return self.folder / f"{way.replace(' ', '-')}.mp4"


@contextmanager
def open_bench(options: argparse.Namespace, console: Console) -> Iterator[Bench]:
    """Start the worker processes in a temporary folder while the context is open."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-engine-")))
        (folder / "instance").mkdir()
        monolith = None
        if options.moviepy:
            python = find_moviepy_python(folder, options.moviepy_python)
            (folder / "monolith").mkdir()
            script = ROOT / "scripts" / "benchmarks" / "engine" / "monolith.py"
            command = (str(python), "-I", str(script), str(folder / "monolith"))
            monolith = stack.enter_context(worker(command, {"IMAGEIO_FFMPEG_EXE": str(ffmpeg_program())}))
        yield Bench(folder, monolith, options, console)


def run_instance(folder: Path) -> AbstractContextManager[Worker]:
    """Run a processing instance. All instances of a folder share its objects."""
    command = (sys.executable, "-m", "scripts.benchmarks.engine.instance", str(folder / "instance"))
    return worker(command, {"PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"})


def find_moviepy_python(folder: Path, python: Path | None) -> Path:
    """Return a Python with MoviePy: the given one, or a new virtual environment."""
    if python is not None:
        return python
    subprocess.run([sys.executable, "-m", "venv", folder / "moviepy"], check=True)
    subprocess.run([folder / "moviepy" / "bin" / "python", "-m", "pip", "install", "-q", "moviepy==2.2.1"], check=True)
    return folder / "moviepy" / "bin" / "python"


def median_of(took: list[Took]) -> Took:
    """Return the median of each figure."""
    rows = list(zip(*(asdict(one).values() for one in took), strict=True))
    return Took(*(statistics.median(row) for row in rows))


@dataclass(frozen=True)
class Ratio:
    """A way relative to the single ffmpeg command: the median over the turns."""

    wall: float
    cpu: float


def compare(bench: Bench, task: plan.Task) -> tuple[dict[str, Took], dict[str, Ratio], float]:
    """Make a video each way, in turns, and print a table.

    Returns the figures and ratios of each way, and the seconds until the engine's first second was playable.
    """
    first: list[float] = []

    def by_engine(task: plan.Task) -> Took:
        one, response = bench.by_engine(task)
        first.append(response["first"])
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
    took = {way: median_of(each) for way, each in runs.items()}
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
    """Compare two ways turn by turn, since other work on the machine changes between turns."""
    turns = list(zip(took, other, strict=False))
    return Ratio(
        wall=statistics.median(one.wall_seconds / two.wall_seconds for one, two in turns),
        cpu=statistics.median(one.cpu_seconds / two.cpu_seconds for one, two in turns),
    )


def measure_instances(bench: Bench, task: plan.Task) -> None:
    """Print the wall time by the number of instances, each with one slot and one thread."""
    walls: dict[int, list[float]] = defaultdict(list)
    with ExitStack() as stack:
        instances = [stack.enter_context(run_instance(bench.folder)) for _ in range(max(INSTANCES))]
        for _ in range(bench.options.runs):
            for count in INSTANCES:
                walls[count].append(render_with_instances(bench, task, instances[:count]))
    table = Table("instances", "wall", "÷ one", title=f"Instances on {len(os.sched_getaffinity(0))} cores, {task.name}")
    first = statistics.median(walls[INSTANCES[0]])
    for count, each in walls.items():
        wall = statistics.median(each)
        table.add_row(str(count), f"{wall:.1f} s", f"{wall / first:.2f}")
    bench.console.print(table)


def render_with_instances(bench: Bench, task: plan.Task, instances: Sequence[Worker]) -> float:
    """Make a video with several instances, each of which takes the next segment when free. Returns the seconds."""
    shutil.rmtree(bench.folder / "instance" / "objects" / "cache", ignore_errors=True)
    message = {"task": task.message(), "out": str(bench.out(ENGINE)), "fonts": str(FONTS), "slots": 1, "threads": 1}
    left = [segment.index for segment in plan.segments(task, {clip.sha256: "" for clip in task.clips})][::-1]

    def work(one: Worker) -> None:
        while left:
            one.do({**message, "only": [left.pop()], "keep": True})

    began = time.monotonic()
    with ThreadPoolExecutor(len(instances)) as threads:
        list(threads.map(work, instances))
    _, response = instances[0].do({**message, "keep": True})
    assert response["reused"] == response["segments"], "the instances rendered other segments than were joined"
    return time.monotonic() - began


def measure_changed_caption(bench: Bench, task: plan.Task) -> float:
    """Render again after a change of one caption. Returns the wall time relative to a full render."""
    seconds = task.frame_count / plan.RATE
    parts, reused = [], (0, 0)
    for turn in range(bench.options.runs):
        full, response = bench.by_engine(task)
        place = (turn + 1) * len(task.captions) // (bench.options.runs + 1)
        changed = replace(task, captions=plan.captions(seconds, changed=place))
        part, response = bench.by_engine(changed, keep=True)
        parts.append(part.wall_seconds / full.wall_seconds)
        reused = response["reused"], response["segments"]
    bench.console.print(f"One changed caption: {reused[0]} of {reused[1]} segments were reused.")
    return statistics.median(parts)


def measure_stream(bench: Bench, source: clips.Clip) -> float:
    """Print the time of the encoder service and of a local ffmpeg child. Returns the ratio at the chosen quality."""
    raw = stream.frames(bench.folder, source.path, STREAM_FRAMES)
    megabytes = raw.stat().st_size / 1e6
    table = Table(
        "quality", "service", "MB/s", "local child", "MB/s", "÷", title="Encoder stream over mTLS, 1080p, libx264"
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
    """Build the table of figures and targets."""
    table = Table("figure", "measured", "target", "", title="Targets")
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
        rows.append((f"peak memory, shared pages counted once, {task.name}", engine.proportional_mb, peak, " MB"))
        rows.append((f"time to the first playable second, {task.name}", first, 4.0, " s"))
        if MOVIEPY in took:
            name = f"MoviePy ÷ engine, wall, {task.name}"
            at_least.add(name)
            aim = 8.0 if task.fit == "contain" and task.height > task.width else 6.0
            rows.append((name, ratios[MOVIEPY].wall / ratios[ENGINE].wall, aim, ""))
    if "spread" in options.parts:
        measure_instances(bench, tasks[0])
    if "again" in options.parts:
        rows.append(("one changed caption ÷ full render", measure_changed_caption(bench, captioned), 0.25, ""))
    if "stream" in options.parts:
        rows.append((f"encoder stream ÷ local child, {options.quality}", measure_stream(bench, made[1]), 1.15, ""))
    load = os.getloadavg()
    bench.console.print(f"{len(os.sched_getaffinity(0))} cores; load average of 1, 5, 15 minutes: {load}")
    if rows:
        bench.console.print(figures(rows, at_least))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/bench engine", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="the duration of the video")
    parser.add_argument("--runs", type=int, default=3, help="the number of turns of each way")
    parser.add_argument("--quality", choices=plan.QUALITIES, default="high", help="preset and CRF of every way")
    parser.add_argument("--sizes", default="9:16,16:9", help=f"some of {', '.join(SIZES)}")
    parser.add_argument("--fits", default="cover,contain", help="cover, contain or both")
    parser.add_argument("--parts", default="compare,spread,again,stream", help="the parts to measure")
    parser.add_argument("--slots", type=int, default=2, help="the number of segments that the engine renders at once")
    parser.add_argument("--threads", type=int, help="the threads of one render (default: cores divided by slots)")
    parser.add_argument("--script", action="store_true", help="also measure a bare script that cuts as the engine does")
    parser.add_argument("--moviepy", action="store_true", help="also measure MoviePy")
    parser.add_argument("--moviepy-runs", type=int, default=1, help="the number of turns of MoviePy, which is slow")
    parser.add_argument("--moviepy-python", type=Path, help="a Python with MoviePy installed")
    parser.add_argument("--no-quality", action="store_true", help="do not measure SSIM and VMAF")
    parser.add_argument("--show", action="store_true", help="print the ffmpeg command of each video")
    options = parser.parse_args()
    console = Console(width=WIDTH)
    with open_bench(options, console) as bench:
        measure(bench)


if __name__ == "__main__":
    main()
