"""Commands: what somebody who knows ffmpeg would type for the same video."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from scripts.benchmarks.engine import plan

QUIET = ("-hide_banner", "-loglevel", "error", "-nostdin", "-y")


def inputs(shown: Sequence[plan.Shot]) -> list[str]:
    """The arguments of ffmpeg that open each shot where it begins."""
    arguments = []
    for shot in shown:
        seconds = shot.frame_count / plan.RATE + 0.5
        arguments += ["-ss", f"{shot.start_seconds:.6f}", "-t", f"{seconds:.6f}", "-i", shot.path]
    return arguments


def graph(task: plan.Task, shown: Sequence[plan.Shot], ass: Path | None, fonts: Path, first: int = 0) -> str:
    """The filters that draw the whole video as `[whole]`, from the inputs `first` on."""
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
    """What somebody who knows ffmpeg would type: all in one command, threads as ffmpeg likes them."""
    shown = plan.shots(task)
    drawing = ("-filter_complex", graph(task, shown, ass, fonts), "-map", "[whole]")
    return [str(program), *QUIET, *inputs(shown), *drawing, *_encoding(task), "-movflags", "+faststart", str(out)]


def script(task: plan.Task, program: Path, fonts: Path, folder: Path, out: Path) -> list[str]:
    """The least that it takes to do that in the engine's segments: two commands at a time, of one thread each."""
    path, commands, parts = {clip.sha256: clip.path for clip in task.clips}, [], []
    for segment in sorted(plan.segments(task, path), key=lambda segment: segment.index):
        [shown], one, ass = segment.shots, ("-threads", "1"), None
        if segment.captions_ass:
            ass = folder / f"{segment.index}.ass"
            ass.write_text(segment.captions_ass)
        parts.append(folder / f"{segment.index}.mp4")
        shot = plan.Shot(shown.source.object.key, shown.source_start.ToNanoseconds() / 1e9, segment.frame_count)
        drawing = (
            "-filter_complex_threads",
            "1",
            "-filter_complex",
            graph(task, [shot], ass, fonts),
            "-map",
            "[whole]",
        )
        commands.append([str(program), *QUIET, *one, *inputs([shot]), *drawing, *_encoding(task), *one, str(parts[-1])])
    (folder / "commands").write_text("".join(f"{written(command)}\0" for command in commands))
    (folder / "list").write_text("".join(f"file {part}\n" for part in parts))
    joining = ("-f", "concat", "-safe", "0", "-i", folder / "list", "-c", "copy", "-movflags", "+faststart", out)
    joined = written([str(program), *QUIET, *map(str, joining)])
    return ["sh", "-c", f"xargs -0 -n 1 -P 2 sh -c < {folder}/commands && {joined}"]


def _encoding(task: plan.Task) -> list[str]:
    options = {"c:v": "libx264", "preset": task.preset, "crf": task.crf, "g": 2 * plan.RATE, "profile:v": "high"}
    return [part for name, value in options.items() for part in (f"-{name}", str(value))]


def written(command: Sequence[str]) -> str:
    """A command as it is typed."""
    return shlex.join(command)
