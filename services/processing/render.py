"""Render: turn sources into a segment with ffmpeg, in a child process, and check what it made."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from moneyprinter.errors import FailedPrecondition
from services.processing import fragment, graph, picture
from services.processing.fonts import Fonts
from services.processing.fragment import Fragment
from services.processing.source import Source, failed
from services.processing.spec import Clip, Shot, Spec
from services.runtime import children
from services.runtime.progress import OnProgress, ignore_progress

NO_FONTS = "fonts.conf"


@dataclass(frozen=True)
class Tool:
    """What segments are rendered with."""

    ffmpeg: Path
    version: str
    """What ffmpeg says of itself."""
    threads: int
    max_pixels: int
    limits: children.Limits
    fonts: Fonts
    niceness: int = children.BEHIND

    def identity(self, captions_ass: str) -> str:
        """All of it that the bytes of a segment with such captions depend on."""
        return f"{picture.VERSION} {self.version} {self.threads} {self.fonts.sha256(captions_ass)}"


async def render(
    spec: Spec, sources: Sequence[Source], folder: Path, tool: Tool, on_progress: OnProgress = ignore_progress
) -> Fragment:
    """Render the sources in `folder` into the files of a segment beside them (`picture.files`).

    Returns the description of the first file. Raises `FailedPrecondition` with the reason RENDER_FAILED, and what
    ffmpeg said.
    """
    environment = await asyncio.to_thread(lay_out, spec, folder, tool)
    arguments = picture.arguments(spec, sources, tool.threads, tool.max_pixels)
    try:
        await children.ffmpeg(
            tool.ffmpeg,
            arguments,
            seconds=spec.seconds,
            folder=folder,
            on_progress=on_progress,
            limits=tool.limits,
            environment=environment,
            niceness=tool.niceness,
        )
    except children.ChildFailed as failure:
        what = "the segment cannot be rendered"
        raise children.to_error(failure, what, FailedPrecondition, reason="RENDER_FAILED") from failure
    return await checked(spec, folder)


def lay_out(spec: Spec, folder: Path, tool: Tool) -> dict[str, str]:
    """Put captions, and the fonts that they name, beside the sources; what ffmpeg's environment must say of them."""
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
    # With all that it needs at hand, the renderer is kept from the fonts of this machine.
    (folder / NO_FONTS).write_text("<fontconfig></fontconfig>")
    return {"FONTCONFIG_FILE": str((folder / NO_FONTS).absolute())}


async def checked(spec: Spec, folder: Path) -> Fragment:
    """What the first file of a segment says of itself. Raises FailedPrecondition unless all have all frames."""
    made = [await asyncio.to_thread(_read, folder / name) for name in picture.files(spec)]
    frames = min(each.frame_count if each else 0 for each in made)
    if made[0] is None or frames != spec.frame_count:
        raise failed(_ended(spec, frames))
    return made[0]


def _ended(spec: Spec, frames: int) -> str:
    """What to say when there are fewer frames than there should be."""
    missing = f"{frames} frames into the {spec.frame_count} that are asked of it"
    match spec.shots:
        case [Shot(Clip() as clip)]:
            seconds = clip.start.total_seconds() + frames / spec.canvas.frames_per_second * float(clip.speed)
            return f"the clip ends at {seconds:.2f} s, {missing}"
        case _:
            return f"a clip ends {missing}"


def _read(path: Path) -> Fragment | None:
    """What a file says of itself; None when it has no picture, or is not there."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        return fragment.read(file.read(fragment.HEAD_BYTES))
