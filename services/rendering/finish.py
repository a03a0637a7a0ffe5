"""Finish: put picture and sound into one file that plays while it loads.

The picture is copied, not encoded again; the sound is encoded once for all sizes. It begins with the
picture and is exactly as long as the plan says: the delay of its encoder is told to players by the
file. The same parts give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import ffmpeg

from moneyprinter.errors import FailedPrecondition
from services.media.formats import SEGMENT_FORMATS, SOUND_FORMATS, VIDEO_FORMATS, own_file
from services.runtime import children
from services.runtime.progress import OnProgress, ignore_progress, part_of

PICTURE, SOUND = "picture", "sound"
POSTER, THUMBNAILS, ANIMATION = "poster.jpg", "thumbnails.jpg", "preview.gif"

# Only what our own services hand over.
_PICTURES = own_file(SEGMENT_FORMATS)
_SOUNDS = own_file(SOUND_FORMATS)
_VIDEOS = own_file(VIDEO_FORMATS)

# An animation shows so many pieces of a video, of a second each, in pictures so large and so many a second.
ANIMATED_PIECES, ANIMATION_SIDE, ANIMATION_RATE = 6, 320, 12


class Container(Enum):
    """A kind of file."""

    MP4 = "mp4"
    WEBM = "webm"


_CODED: dict[Container, dict[str, Any]] = {
    Container.MP4: {"c:a": "aac", "b:a": "192k", "movflags": "+faststart"},
    Container.WEBM: {"c:a": "libopus", "b:a": "160k", "cues_to_front": 1},
}


@dataclass(frozen=True)
class Form:
    """What a video is made into."""

    container: Container
    seconds: float
    title: str
    renditions: tuple[str, ...] = ()
    """The names of the other sizes (`480p`)."""
    animation: bool = False
    may_be_black: bool = False
    may_be_silent: bool = False

    @property
    def video(self) -> str:
        """The file of the video itself."""
        return f"video.{self.container.value}"

    @property
    def videos(self) -> tuple[str, ...]:
        """The files of the video in all sizes, itself first."""
        return (self.video, *(f"video-{name}.{self.container.value}" for name in self.renditions))

    @property
    def previews(self) -> tuple[str, ...]:
        """The files that show what is in the video."""
        return (POSTER, THUMBNAILS, *([ANIMATION] if self.animation else []))


def picture(place: int) -> str:
    """The file with the picture of a size: 0 is the video's own."""
    return f"{PICTURE}-{place}" if place else PICTURE


async def mux(folder: Path, program: Path, form: Form, on_progress: OnProgress = ignore_progress) -> None:
    """Make the videos from the pictures and the sound in `folder`. Raises FailedPrecondition."""
    files = len(form.videos)
    sound = (
        ffmpeg.input(SOUND, **_SOUNDS)["a:0"]
        .filter("aresample", 48000)
        .filter("aformat", channel_layouts="stereo")
        .filter("apad", whole_dur=form.seconds)
        .filter("atrim", end=form.seconds)
    )
    await _write(folder, program, form, 0, sound, part_of(on_progress, 0, 1 / files))
    for place in range(1, files):
        copied = ffmpeg.input(form.video, **_VIDEOS)["a:0"]
        share = part_of(on_progress, place / files, (place + 1) / files)
        await _write(folder, program, form, place, copied, share)


async def _write(folder: Path, program: Path, form: Form, place: int, sound: Any, on_progress: OnProgress) -> None:
    coded = _CODED[form.container]
    if place:
        coded = {**{name: value for name, value in coded.items() if not name.endswith(":a")}, "c:a": "copy"}
    options = {
        "c:v": "copy",
        **coded,
        "map_metadata": -1,
        "metadata": f"title={plain(form.title)}",
        "fflags": "+bitexact",
        "flags:a": "+bitexact",
    }
    shown = ffmpeg.input(picture(place), **_PICTURES)["v:0"]
    await encode(ffmpeg.output(shown, sound, form.videos[place], **options), folder, program, form.seconds, on_progress)


async def animate(folder: Path, program: Path, seconds: float, on_progress: OnProgress = ignore_progress) -> None:
    """Make a small animation of the picture in `folder`: pieces of it, evenly spread. Raises FailedPrecondition."""
    step = max(1.0, seconds / ANIMATED_PIECES)
    shown = (
        ffmpeg.input(PICTURE, **_PICTURES)["v:0"]
        .filter("fps", fps=ANIMATION_RATE)
        .filter("select", f"lt(mod(t,{step:.6f}),1)")
        .filter("setpts", f"N/{ANIMATION_RATE}/TB")
        .filter("scale", _animated("iw", "ih"), _animated("ih", "iw"), flags="area")
        .split()
    )
    drawn = ffmpeg.filter([shown[0], shown[1].filter("palettegen")], "paletteuse", dither="sierra2_4a")
    await encode(ffmpeg.output(drawn, ANIMATION, f="gif", loop=0), folder, program, ANIMATED_PIECES, on_progress)


def _animated(side: str, other: str) -> str:
    """The length of a side of the animation, as an expression: the longer one is fixed, and both are even."""
    return f"if(gte({side},{other}),{ANIMATION_SIDE},2*max(1,round({ANIMATION_SIDE}*{side}/{other}/2)))"


async def encode(command: Any, folder: Path, program: Path, seconds: float, on_progress: OnProgress) -> None:
    """Run ffmpeg in `folder`, and report how much is done of so many seconds. Raises FailedPrecondition."""
    arguments: Sequence[str] = [str(argument) for argument in command.get_args()]
    try:
        await children.ffmpeg(program, arguments, seconds=seconds, folder=folder, on_progress=on_progress)
    except children.ChildFailed as failure:
        what = "the video cannot be finished"
        raise children.to_error(failure, what, FailedPrecondition, reason="RENDER_FAILED") from failure


async def run(command: Any, folder: Path, program: Path) -> bytes:
    """Run ffmpeg in `folder`, and return what it printed. Raises FailedPrecondition."""
    arguments: Sequence[str] = [str(argument) for argument in command.get_args()]
    try:
        return await children.run((program, *children.QUIET, *arguments), folder=folder)
    except children.ChildFailed as failure:
        what = "the video cannot be finished"
        raise children.to_error(failure, what, FailedPrecondition, reason="RENDER_FAILED") from failure


def plain(title: str) -> str:
    """A title on one line, without characters that control anything."""
    return " ".join("".join(c if c.isprintable() else " " for c in title).split())
