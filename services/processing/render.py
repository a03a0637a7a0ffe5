"""Render: render a segment with ffmpeg in a child process, and check its files."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from moneyprinter.errors import FailedPrecondition
from services.media.ffmpeg import report_failures, run_ffmpeg
from services.processing import command, fragment, graph
from services.processing.fonts import Fonts
from services.processing.fragment import Fragment
from services.processing.source import Source, render_failed
from services.processing.spec import Clip, Shot, Spec
from services.runtime import children
from services.runtime.progress import OnProgress, ignore_progress

FONTCONFIG_FILE = "fonts.conf"


@dataclass(frozen=True)
class Tool:
    """The tool that renders segments: ffmpeg, with its threads, limits and fonts."""

    ffmpeg: Path
    version: str
    """The version line of ffmpeg."""
    threads: int
    max_pixels: int
    limits: children.Limits
    fonts: Fonts
    niceness: int = children.BACKGROUND_NICENESS

    def identity(self, captions_ass: str) -> str:
        """Returns all of it that the bytes of a segment with such captions depend on."""
        return f"{command.VERSION} {self.version} {self.threads} {self.fonts.sha256(captions_ass)}"


async def render(
    spec: Spec, sources: Sequence[Source], folder: Path, tool: Tool, on_progress: OnProgress = ignore_progress
) -> Fragment:
    """Render the sources in `folder` into the files of a segment beside them (`command.segment_files`).

    Returns the structure of the first file. `on_progress` receives the part that is done, 0 to 1. Raises
    `FailedPrecondition` with the reason RENDER_FAILED when ffmpeg fails or a file has too few frames.
    """
    environment = await asyncio.to_thread(prepare_captions, spec, folder, tool)
    arguments = command.segment_arguments(spec, sources, tool.threads, tool.max_pixels)
    with report_failures("the segment cannot be rendered", FailedPrecondition, reason="RENDER_FAILED"):
        await run_ffmpeg(
            tool.ffmpeg,
            arguments,
            seconds=spec.seconds,
            folder=folder,
            on_progress=on_progress,
            limits=tool.limits,
            environment=environment,
            niceness=tool.niceness,
        )
    return await check_segment(spec, folder)


def prepare_captions(spec: Spec, folder: Path, tool: Tool) -> dict[str, str]:
    """Write the captions, and links to their fonts, beside the sources. Returns the environment that ffmpeg needs."""
    if not spec.captions_ass:
        return {}
    (folder / graph.CAPTIONS).write_text(spec.captions_ass, encoding="utf-8")
    (folder / graph.FONTS).mkdir(exist_ok=True)
    for number, path in enumerate(tool.fonts.files(spec.captions_ass)):
        link = folder / graph.FONTS / f"{number}{path.suffix}"
        link.unlink(missing_ok=True)
        link.symlink_to(path)
    if not tool.fonts.complete(spec.captions_ass):
        return {}
    # With all fonts of the script in the folder, libass must not find other fonts of this machine.
    (folder / FONTCONFIG_FILE).write_text("<fontconfig></fontconfig>")
    return {"FONTCONFIG_FILE": str((folder / FONTCONFIG_FILE).absolute())}


async def check_segment(spec: Spec, folder: Path) -> Fragment:
    """Check the files of a segment. Returns the structure of the first.

    Raises `FailedPrecondition` when a file has too few frames.
    """
    fragments = [await asyncio.to_thread(_read_fragment, folder / name) for name in command.segment_files(spec)]
    frames = min(each.frame_count if each else 0 for each in fragments)
    if fragments[0] is None or frames != spec.frame_count:
        raise render_failed(_describe_shortfall(spec, frames))
    return fragments[0]


def _describe_shortfall(spec: Spec, frames: int) -> str:
    """Describes where a segment ended that has fewer frames than its spec."""
    missing = f"{frames} frames into the {spec.frame_count} that are asked of it"
    match spec.shots:
        case [Shot(Clip() as clip)]:
            seconds = clip.start.total_seconds() + frames / spec.canvas.frames_per_second * float(clip.speed)
            return f"the clip ends at {seconds:.2f} s, {missing}"
        case _:
            return f"a clip ends {missing}"


def _read_fragment(path: Path) -> Fragment | None:
    """The structure of a file; None when it is missing or has no video track."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        return fragment.parse_fragment(file.read(fragment.HEAD_BYTES))
