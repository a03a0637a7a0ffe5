"""Command: the arguments of ffmpeg that render a segment, in one size or more.

Every segment of a video is encoded with the same parameters, from a key frame on, so that segments join without another
encode. The same request gives the same bytes. Sources are decoded, and frames drawn, once for all sizes.
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

# Raise it whenever the same request gives other pixels than before: the keys of stored segments depend on it.
VERSION = 7

# The ticks of a frame in the time base of the file. Every frame begins on a tick, at any frame rate.
FRAME_TICKS = 512


def segment_files(spec: Spec) -> list[str]:
    """Returns the file names of a segment: in the size of the canvas, then in the other sizes."""
    return [SEGMENT, *(f"segment-{place}.mp4" for place in range(1, len(spec.renditions) + 1))]


def rawvideo_arguments(
    spec: Spec, sources: Sequence[Source], threads: int, max_pixels: int, pipes: Sequence[int]
) -> list[str]:
    """Returns the arguments of ffmpeg that write the frames of each size, planar YUV 4:2:0, to one of `pipes`.

    `pipes` are file descriptors; the other parameters are those of `segment_arguments`.
    """
    file = {**_frame_options(spec, threads), "f": "rawvideo"}
    context = graph.GraphContext(spec.canvas, tuple(sources), threads, max_pixels)
    outputs = [
        ffmpeg.output(frames, f"pipe:{pipe}", **file)
        for frames, pipe in zip(
            graph.scale_to_sizes(graph.draw_segment(spec, context), spec.renditions), pipes, strict=True
        )
    ]
    return [str(argument) for argument in ffmpeg.merge_outputs(*outputs).get_args()]


def segment_arguments(spec: Spec, sources: Sequence[Source], threads: int, max_pixels: int) -> list[str]:
    """Returns the arguments of ffmpeg that render a segment, in a folder with the sources (`graph.source_name`).

    `threads` are those of each decoder, filter graph and encoder. `max_pixels` limits the frames of videos.
    """
    rate = spec.canvas.frames_per_second
    file = {**_frame_options(spec, threads), "map_metadata": -1, **muxer_options(rate)}
    coded = {
        "c:v": encoding.SOFTWARE_ENCODERS[spec.codec],
        **({"tag:v": "hvc1"} if spec.codec is Codec.H265 else {}),
        **encoding.software_options(spec.codec, spec.quality, rate, threads),
    }
    context = graph.GraphContext(spec.canvas, tuple(sources), threads, max_pixels)
    outputs = [
        ffmpeg.output(frames, name, **coded, **file)
        for frames, name in zip(_draw_sizes(spec, context), segment_files(spec), strict=True)
    ]
    return [str(argument) for argument in ffmpeg.merge_outputs(*outputs).get_args()]


def muxer_options(rate: int) -> dict[str, Any]:
    """Returns the options of the muxer for segments of `rate` frames a second."""
    ticks = rate * FRAME_TICKS
    return {
        "video_track_timescale": ticks,
        "movie_timescale": ticks,
        "fflags": "+bitexact",
        # A single fragment: it plays as soon as it is complete, and joins others.
        "movflags": "+cmaf+frag_custom+skip_trailer",
    }


def _draw_sizes(spec: Spec, context: graph.GraphContext) -> list[Any]:
    return graph.scale_to_sizes(graph.draw_segment(spec, context), spec.renditions)


def _frame_options(spec: Spec, threads: int) -> dict[str, Any]:
    """The options that pass each frame of the graph to the encoder exactly once."""
    return {"frames:v": spec.frame_count, "fps_mode": "passthrough", "filter_complex_threads": threads}
