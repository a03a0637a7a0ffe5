"""Picture: what ffmpeg is told to turn a part of a video into a segment, in one size or more.

Every segment of a video is encoded with the same parameters, from a key frame on, so that segments are
joined without being encoded again. The same order gives the same bytes. Sources are decoded, and pictures
drawn, once for all sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ffmpeg

from services.media import encoding
from services.media.encoding import Codec
from services.processing import graph
from services.processing.source import Source
from services.processing.spec import Spec

SEGMENT = "segment.mp4"

# Raise it whenever the same order gives other pixels than before: stored segments have it in their names.
VERSION = 7

# The ticks of a frame in the file's time base, so that every frame begins on one at any frame rate.
FRAME_TICKS = 512


def files(spec: Spec) -> list[str]:
    """The files of a segment: in the canvas's size, then in the other sizes."""
    return [SEGMENT, *(f"segment-{place}.mp4" for place in range(1, len(spec.renditions) + 1))]


def raw(spec: Spec, sources: Sequence[Source], threads: int, max_pixels: int, pipes: Sequence[int]) -> list[str]:
    """The arguments of ffmpeg to write the frames of each size, planar YUV 4:2:0, to a pipe of its own."""
    file = {**_frames(spec, threads), "f": "rawvideo"}
    stage = graph.Stage(spec.canvas, tuple(sources), threads, max_pixels)
    outputs = [
        ffmpeg.output(picture, f"pipe:{pipe}", **file)
        for picture, pipe in zip(graph.sizes(graph.segment(spec, stage), spec.renditions), pipes, strict=True)
    ]
    return [str(argument) for argument in ffmpeg.merge_outputs(*outputs).get_args()]


def arguments(spec: Spec, sources: Sequence[Source], threads: int, max_pixels: int) -> list[str]:
    """The arguments of ffmpeg, to be run in a folder with the sources, named as `graph.source_name` says."""
    rate = spec.canvas.frames_per_second
    file = {**_frames(spec, threads), "map_metadata": -1, **file_options(rate)}
    coded = {
        "c:v": encoding.SOFTWARE_ENCODERS[spec.codec],
        **({"tag:v": "hvc1"} if spec.codec is Codec.H265 else {}),
        **encoding.software_options(spec.codec, spec.quality, rate, threads),
    }
    stage = graph.Stage(spec.canvas, tuple(sources), threads, max_pixels)
    outputs = [
        ffmpeg.output(picture, name, **coded, **file)
        for picture, name in zip(graph.sizes(graph.segment(spec, stage), spec.renditions), files(spec), strict=True)
    ]
    return [str(argument) for argument in ffmpeg.merge_outputs(*outputs).get_args()]


def file_options(rate: int) -> dict[str, Any]:
    """What the muxer is told, so that all segments' files are of one form."""
    ticks = rate * FRAME_TICKS
    return {
        "video_track_timescale": ticks,
        "movie_timescale": ticks,
        "fflags": "+bitexact",
        # One fragment: it can be played as soon as it is there, and be joined to others.
        "movflags": "+cmaf+frag_custom+skip_trailer",
    }


def _frames(spec: Spec, threads: int) -> dict[str, Any]:
    """All frames that are drawn, each once, come out."""
    return {"frames:v": spec.frame_count, "fps_mode": "passthrough", "filter_complex_threads": threads}
