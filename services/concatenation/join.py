"""Join: concatenate segments by stream copy, with every frame on its tick."""

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
from services.media.ffmpeg import capture_ffmpeg, report_failures, run_ffmpeg
from services.runtime.progress import OnProgress, ignore_progress

# Raise it whenever the same segments give another file than before: the keys of joined videos depend on it.
VERSION = 3

LIST, JOINED = "list.ffconcat", "joined.mp4"

# The sample entries of files whose parameter sets may change: these are in the frames (ISO/IEC 14496-15, 5.4.2.1 and
# 8.4.1). Other codecs always have them in their key frames.
_INBAND_SAMPLE_ENTRIES = {"h264": "avc3", "hevc": "hev1"}


def segment_file(number: int) -> str:
    """Returns the file name of a segment; numbers begin at 1."""
    return f"{number}.mp4"


async def join_segments(
    segments: Sequence[Segment], folder: Path, program: Path, on_progress: OnProgress = ignore_progress
) -> None:
    """Join the segments in `folder`, which are compatible, into the file `JOINED` beside them.

    `on_progress` receives the part that is done, 0 to 1. Raises `FailedPrecondition` when they cannot be joined.
    """
    (folder / LIST).write_text(_concat_list(segments), encoding="ascii")
    frames = sum(segment.frame_count for segment in segments)
    seconds = float(frames / segments[0].frame_rate)
    with report_failures("the segments cannot be joined", FailedPrecondition, reason="RENDER_FAILED"):
        if _parameters_change(segments) and segments[0].codec == "hevc":
            for number in range(1, len(segments) + 1):
                await _inline_parameters(folder, segment_file(number), program)
        arguments = _arguments(segments)
        await run_ffmpeg(program, arguments, seconds=seconds, folder=folder, on_progress=on_progress)
    if await asyncio.to_thread(count_frames, folder / JOINED) != frames:
        words = f"the segments cannot be joined: they do not have {frames} frames in even steps"
        raise FailedPrecondition(words, reason="SEGMENTS_MISMATCHED")


def _concat_list(segments: Sequence[Segment]) -> str:
    """The list for ffmpeg's demuxer `concat`. Durations are rounded such that their sums are exact to a microsecond."""
    lines, frames = ["ffconcat version 1.0"], 0
    for number, segment in enumerate(segments, 1):
        begin, frames = frames, frames + segment.frame_count
        length = _microseconds(frames / segment.frame_rate) - _microseconds(begin / segment.frame_rate)
        lines += [f"file {segment_file(number)}", f"duration {length}us"]
    return "\n".join(lines) + "\n"


def _microseconds(seconds: Fraction) -> int:
    return round(seconds * 1_000_000)


def _arguments(segments: Sequence[Segment]) -> list[str]:
    first = segments[0]
    ticks, step = 1 / first.time_base, 1 / (first.frame_rate * first.time_base)
    # A segment that is shorter than the encoder's delay has later decoding times than its neighbours.
    delay = max(segment.delay for segment in segments)
    source: Any = ffmpeg.input(LIST, f="concat", safe=1, protocol_whitelist="file", format_whitelist="concat,mov")
    options = {
        "c": "copy",
        "bsf:v": f"setts=pts=PTS:dts=(N-{delay})*({step}):duration={step}",
        "video_track_timescale": ticks,
        "movie_timescale": ticks,
        "map_metadata": -1,
        "fflags": "+bitexact",
    }
    if _parameters_change(segments) and first.codec in _INBAND_SAMPLE_ENTRIES:
        options["tag:v"] = _INBAND_SAMPLE_ENTRIES[first.codec]
    return [str(argument) for argument in ffmpeg.output(source["v:0"], JOINED, **options).get_args()]


def _parameters_change(segments: Sequence[Segment]) -> bool:
    """Whether decoder parameters differ between segments, as those of GPU and software encoders do."""
    return any(segment.parameters != segments[0].parameters for segment in segments)


async def _inline_parameters(folder: Path, file: str, program: Path) -> None:
    """Move the parameter sets of an H.265 segment from its header into its key frames."""
    options = {"c": "copy", "bsf:v": "hevc_mp4toannexb", "tag:v": "hev1"}
    command: Any = ffmpeg.output(ffmpeg.input(file)["v:0"], f"inline-{file}", **options)
    await capture_ffmpeg(program, command, folder=folder)
    (folder / f"inline-{file}").replace(folder / file)


def count_frames(path: Path) -> int:
    """Returns the number of frames of a joined video; 0 when they are not shown in even steps from 0 on."""
    with av.open(str(path), options=UNDECODED) as container:
        stream = container.streams.video[0]
        if not stream.average_rate or stream.time_base is None:
            return 0
        step = 1 / (stream.average_rate * stream.time_base)
        times = sorted(packet.pts for packet in container.demux(stream) if packet.pts is not None)
        return len(times) if all(time == number * step for number, time in enumerate(times)) else 0
