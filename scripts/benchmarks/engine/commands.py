"""The ffmpeg commands that an expert would write for the same video."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from scripts.benchmarks.engine import plan
from services.media.ffmpeg import QUIET


def inputs(shown: Sequence[plan.Shot]) -> list[str]:
    """Return the input arguments of ffmpeg, which seek to the start of each shot."""
    arguments = []
    for shot in shown:
        seconds = shot.frame_count / plan.RATE + 0.5
        arguments += ["-ss", f"{shot.start_seconds:.6f}", "-t", f"{seconds:.6f}", "-i", shot.path]
    return arguments


def graph(task: plan.Task, shown: Sequence[plan.Shot], ass: Path | None, fonts: Path, first: int = 0) -> str:
    """Return the filter graph that draws the whole video as `[whole]`, from the input number `first` on."""
    w, h = task.width, task.height
    fit = {
        "cover": f"crop=w='min(iw,ih*{w}/{h})':h='min(ih,iw*{h}/{w})',scale={w}:{h}:flags=lanczos",
        "contain": f"scale={w}:{h}:force_original_aspect_ratio=decrease:force_divisible_by=2:flags=lanczos,"
        f"pad={w}:{h}:-1:-1:black",
    }[task.fit]
    parts = [
        f"[{first + place}:v]fps={plan.RATE}:start_time=0,trim=end_frame={shot.frame_count},"
        f"{fit},setsar=1,format=yuv420p[v{place}];"
        for place, shot in enumerate(shown)
    ]
    labels = "".join(f"[v{place}]" for place in range(len(shown)))
    burn = f",ass={ass}:fontsdir={fonts}" if ass else ""
    return f"{''.join(parts)}{labels}concat=n={len(shown)}:v=1:a=0{burn}[whole]"


def hand_tuned(task: plan.Task, program: Path, ass: Path | None, fonts: Path, out: Path) -> list[str]:
    """Return one ffmpeg command for the whole video, with ffmpeg's own number of threads."""
    shown = plan.shots(task)
    drawing = ("-filter_complex", graph(task, shown, ass, fonts), "-map", "[whole]")
    return [str(program), *QUIET, *inputs(shown), *drawing, *_encoding(task), "-movflags", "+faststart", str(out)]


def script(task: plan.Task, program: Path, fonts: Path, folder: Path, out: Path, at_once: int) -> list[str]:
    """Return a shell script that renders the engine's segments, `at_once` at a time on one thread each."""
    commands, parts, one = [], [], ("-threads", "1")
    for shot, segment in plan.pieces(task):
        ass = folder / f"{segment.index}.ass" if segment.captions_ass else None
        if ass:
            ass.write_text(segment.captions_ass)
        part = folder / f"{segment.index}.mp4"
        drawing = ("-filter_complex", graph(task, [shot], ass, fonts), "-filter_complex_threads", "1")
        encoding = ("-map", "[whole]", *_encoding(task), *one, part)
        commands.append((program, *QUIET, *one, *inputs([shot]), *drawing, *encoding))
        parts.append(part)
    (folder / "commands").write_text("".join(f"{shlex.join(map(str, command))}\0" for command in commands))
    (folder / "list").write_text("".join(f"file {part}\n" for part in parts))
    joining = ("-f", "concat", "-safe", "0", "-i", folder / "list", "-c", "copy", "-movflags", "+faststart", out)
    joined = shlex.join(map(str, (program, *QUIET, *joining)))
    return ["sh", "-c", f"xargs -0 -n 1 -P {at_once} sh -c < {folder}/commands && {joined}"]


def _encoding(task: plan.Task) -> list[str]:
    options = {"c:v": "libx264", "preset": task.preset, "crf": task.crf, "g": 2 * plan.RATE, "profile:v": "high"}
    return [part for name, value in options.items() for part in (f"-{name}", str(value))]
