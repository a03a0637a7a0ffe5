"""Join: put segments one after the other by stream copy, with every frame on its tick."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import ffmpeg

from moneyprinter.errors import FailedPrecondition
from services.concatenation.segments import UNDECODED, Segment
from services.runtime import children
from services.runtime.progress import OnProgress, ignore_progress

# Raise it whenever the same segments give another file than before: joined videos have it in their names.
VERSION = 3

LIST, JOINED = "list.ffconcat", "joined.mp4"

# What a file is called whose parameters may change: they are in its frames then (ISO/IEC 14496-15, 5.4.2.1 and 8.4.1).
# Other codecs have them in their key frames always.
_CHANGING = {"h264": "avc3", "hevc": "hev1"}


def name(place: int) -> str:
    """The file of the segment that is the `place`-th, from 1."""
    return f"{place}.mp4"


async def join(
    segments: Sequence[Segment], folder: Path, program: Path, on_progress: OnProgress = ignore_progress
) -> None:
    """Join the segments in `folder`, which are alike, into one file beside them.

    Raises `FailedPrecondition` when they cannot be joined.
    """
    (folder / LIST).write_text(_list(segments), encoding="ascii")
    frames = sum(segment.frames for segment in segments)
    seconds = float(frames / segments[0].rate)
    try:
        if _changes(segments) and segments[0].codec == "hevc":
            for place in range(1, len(segments) + 1):
                await _carry_parameters(folder, name(place), program)
        await children.ffmpeg(program, _arguments(segments), seconds=seconds, folder=folder, on_progress=on_progress)
    except children.ChildFailed as failure:
        what = "the segments cannot be joined"
        raise children.to_error(failure, what, FailedPrecondition, reason="RENDER_FAILED") from failure
    if await asyncio.to_thread(count, folder / JOINED) != frames:
        words = f"the segments cannot be joined: they do not have {frames} frames in even steps"
        raise FailedPrecondition(words, reason="SEGMENTS_MISMATCHED")


def _list(segments: Sequence[Segment]) -> str:
    """The list for ffmpeg. Lengths are rounded so that their sums are right, however many there are."""
    lines, frames = ["ffconcat version 1.0"], 0
    for place, segment in enumerate(segments, 1):
        begin, frames = frames, frames + segment.frames
        length = _microseconds(frames / segment.rate) - _microseconds(begin / segment.rate)
        lines += [f"file {name(place)}", f"duration {length}us"]
    return "\n".join(lines) + "\n"


def _microseconds(seconds: Fraction) -> int:
    return round(seconds * 1_000_000)


def _arguments(segments: Sequence[Segment]) -> list[str]:
    first = segments[0]
    ticks, step = 1 / first.time_base, 1 / (first.rate * first.time_base)
    # A segment that is shorter than the encoder's delay was given later decoding times than its neighbours.
    delay = max(segment.delay for segment in segments)
    listed: Any = ffmpeg.input(LIST, f="concat", safe=1, protocol_whitelist="file", format_whitelist="concat,mov")
    options = {
        "c": "copy",
        "bsf:v": f"setts=pts=PTS:dts=(N-{delay})*({step}):duration={step}",
        "video_track_timescale": ticks,
        "movie_timescale": ticks,
        "map_metadata": -1,
        "fflags": "+bitexact",
    }
    if _changes(segments) and first.codec in _CHANGING:
        options["tag:v"] = _CHANGING[first.codec]
    return [str(argument) for argument in ffmpeg.output(listed["v:0"], JOINED, **options).get_args()]


def _changes(segments: Sequence[Segment]) -> bool:
    """Whether what a decoder must know changes on the way: some were encoded by a GPU, say, and others not."""
    return any(segment.parameters != segments[0].parameters for segment in segments)


async def _carry_parameters(folder: Path, file: str, program: Path) -> None:
    """Put what a decoder must know into the key frames of a segment, where its header had it (H.265)."""
    options = {"c": "copy", "bsf:v": "hevc_mp4toannexb", "tag:v": "hev1"}
    written: Any = ffmpeg.output(ffmpeg.input(file)["v:0"], f"carrying-{file}", **options)
    await children.run((program, *children.QUIET, *map(str, written.get_args())), folder=folder)
    (folder / f"carrying-{file}").replace(folder / file)


def count(path: Path) -> int:
    """The frames of a joined video; 0 when it has none, or they are not shown in even steps from 0 on."""
    with av.open(str(path), options=UNDECODED) as container:
        stream = container.streams.video[0]
        if not stream.average_rate or stream.time_base is None:
            return 0
        step = 1 / (stream.average_rate * stream.time_base)
        times = sorted(packet.pts for packet in container.demux(stream) if packet.pts is not None)
        return len(times) if all(time == number * step for number, time in enumerate(times)) else 0
