"""Picture: what ffmpeg is told to turn a part of a video into a segment.

Every segment of a video is encoded with the same parameters, from a key frame on, so that segments are
joined without being encoded again. The same order gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import ffmpeg

from services.processing import graph
from services.processing.source import Source
from services.processing.spec import Spec

SEGMENT = "segment.mp4"

# Raise it whenever the same order gives other pixels than before: stored segments have it in their names.
VERSION = 4

GOP_SECONDS = 2

# The ticks of a frame in the file's time base, so that every frame begins on one at any frame rate.
FRAME_TICKS = 512


def arguments(spec: Spec, sources: Sequence[Source], threads: int, max_pixels: int) -> list[str]:
    """The arguments of ffmpeg, to be run in a folder with the sources, named as `graph.source_name` says."""
    rate = spec.canvas.frames_per_second
    ticks = rate * FRAME_TICKS
    encoding = {
        "c:v": "libx264",
        "preset": spec.quality.preset,
        "crf": spec.quality.crf,
        "profile:v": "high",
        "g": GOP_SECONDS * rate,
        "keyint_min": GOP_SECONDS * rate,
        "sc_threshold": 0,
        "x264-params": "stitchable=1",
        "flags:v": "+cgop+bitexact",
        "threads:v": threads,
    }
    file = {
        "frames:v": spec.frame_count,
        "fps_mode": "passthrough",
        "video_track_timescale": ticks,
        "movie_timescale": ticks,
        "map_metadata": -1,
        "fflags": "+bitexact",
        "filter_complex_threads": threads,
    }
    stage = graph.Stage(spec.canvas, tuple(sources), threads, max_pixels)
    encoded = ffmpeg.output(graph.segment(spec, stage), SEGMENT, **encoding, **file)
    return [str(argument) for argument in encoded.get_args()]
