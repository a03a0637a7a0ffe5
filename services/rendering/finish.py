"""Finish: mux the video track and the audio track into one file that plays while it loads.

The video track is copied, not encoded again. The audio is encoded once for all sizes. It begins with the video and is
exactly as long as planned: the file declares the delay of its encoder to players. The same inputs give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import ffmpeg

from moneyprinter.errors import FailedPrecondition
from services.media.ffmpeg import report_failures, run_ffmpeg
from services.media.formats import SEGMENT_FORMATS, SOUND_FORMATS, VIDEO_FORMATS, own_file
from services.runtime.progress import OnProgress, ignore_progress, part_of

VIDEO_TRACK, AUDIO_TRACK = "video_track", "audio_track"
"""The files with the tracks of a video."""
POSTER, THUMBNAILS, ANIMATION = "poster.jpg", "thumbnails.jpg", "preview.gif"

CANNOT_FINISH = "the video cannot be finished"

_VIDEO_TRACK_OPTIONS = own_file(SEGMENT_FORMATS)
_AUDIO_OPTIONS = own_file(SOUND_FORMATS)
_VIDEO_OPTIONS = own_file(VIDEO_FORMATS)

# An animation shows parts of a video, of a second each: how many, their longer side in pixels, and frames a second.
ANIMATION_PARTS, ANIMATION_SIDE, ANIMATION_RATE = 6, 320, 12


class Container(Enum):
    """The container of a finished video."""

    MP4 = "mp4"
    WEBM = "webm"


_CODING: dict[Container, dict[str, Any]] = {
    Container.MP4: {"c:a": "aac", "b:a": "192k", "movflags": "+faststart"},
    Container.WEBM: {"c:a": "libopus", "b:a": "160k", "cues_to_front": 1},
}


@dataclass(frozen=True)
class OutputSpec:
    """The files that a video is finished into."""

    container: Container
    seconds: float
    title: str
    renditions: tuple[str, ...] = ()
    """The names of the other sizes, such as `480p`."""
    animation: bool = False
    may_be_black: bool = False
    may_be_silent: bool = False

    @property
    def video(self) -> str:
        """The file name of the video itself."""
        return f"video.{self.container.value}"

    @property
    def videos(self) -> tuple[str, ...]:
        """The file names of the video in all sizes, its own first."""
        return (self.video, *(f"video-{name}.{self.container.value}" for name in self.renditions))

    @property
    def previews(self) -> tuple[str, ...]:
        """The file names of poster, thumbnails and animation."""
        return (POSTER, THUMBNAILS, *([ANIMATION] if self.animation else []))


def video_track_file(index: int) -> str:
    """Returns the file name of the video track in a size; 0 is the video's own size."""
    return f"{VIDEO_TRACK}-{index}" if index else VIDEO_TRACK


async def mux(folder: Path, program: Path, spec: OutputSpec, on_progress: OnProgress = ignore_progress) -> None:
    """Mux the tracks in `folder` into the videos. `on_progress` receives the part that is done, 0 to 1.

    Raises `FailedPrecondition` with the reason RENDER_FAILED when ffmpeg fails.
    """
    files = len(spec.videos)
    audio = (
        ffmpeg.input(AUDIO_TRACK, **_AUDIO_OPTIONS)["a:0"]
        .filter("aresample", 48000)
        .filter("aformat", channel_layouts="stereo")
        .filter("apad", whole_dur=spec.seconds)
        .filter("atrim", end=spec.seconds)
    )
    await _mux_file(folder, program, spec, 0, audio, part_of(on_progress, 0, 1 / files))
    for index in range(1, files):
        copied = ffmpeg.input(spec.video, **_VIDEO_OPTIONS)["a:0"]
        share = part_of(on_progress, index / files, (index + 1) / files)
        await _mux_file(folder, program, spec, index, copied, share)


async def _mux_file(
    folder: Path, program: Path, spec: OutputSpec, index: int, audio: Any, on_progress: OnProgress
) -> None:
    coding = _CODING[spec.container]
    if index:
        coding = {**{name: value for name, value in coding.items() if not name.endswith(":a")}, "c:a": "copy"}
    options = {
        "c:v": "copy",
        **coding,
        "map_metadata": -1,
        "metadata": f"title={clean_title(spec.title)}",
        "fflags": "+bitexact",
        "flags:a": "+bitexact",
    }
    video = ffmpeg.input(video_track_file(index), **_VIDEO_TRACK_OPTIONS)["v:0"]
    await _run(ffmpeg.output(video, audio, spec.videos[index], **options), folder, program, spec.seconds, on_progress)


async def make_animation(
    folder: Path, program: Path, seconds: float, on_progress: OnProgress = ignore_progress
) -> None:
    """Make a small animation of the video track in `folder`, from evenly spread parts of it.

    `seconds` is the length of the video. Raises `FailedPrecondition` with the reason RENDER_FAILED when ffmpeg fails.
    """
    step = max(1.0, seconds / ANIMATION_PARTS)
    frames = (
        ffmpeg.input(VIDEO_TRACK, **_VIDEO_TRACK_OPTIONS)["v:0"]
        .filter("fps", fps=ANIMATION_RATE)
        .filter("select", f"lt(mod(t,{step:.6f}),1)")
        .filter("setpts", f"N/{ANIMATION_RATE}/TB")
        .filter("scale", _animation_side("iw", "ih"), _animation_side("ih", "iw"), flags="area")
        .split()
    )
    animation = ffmpeg.filter([frames[0], frames[1].filter("palettegen")], "paletteuse", dither="sierra2_4a")
    await _run(ffmpeg.output(animation, ANIMATION, f="gif", loop=0), folder, program, ANIMATION_PARTS, on_progress)


def _animation_side(side: str, other: str) -> str:
    """The expression of a side of the animation: the longer side is fixed, and both are even."""
    return f"if(gte({side},{other}),{ANIMATION_SIDE},2*max(1,round({ANIMATION_SIDE}*{side}/{other}/2)))"


async def _run(command: Any, folder: Path, program: Path, seconds: float, on_progress: OnProgress) -> None:
    with report_failures(CANNOT_FINISH, FailedPrecondition, reason="RENDER_FAILED"):
        await run_ffmpeg(program, command, seconds=seconds, folder=folder, on_progress=on_progress)


def clean_title(title: str) -> str:
    """Returns a title on one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in title).split())
