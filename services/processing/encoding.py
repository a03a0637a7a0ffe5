"""Encoding: how each codec is told to encode at each quality, always so that segments can be joined.

Groups of pictures are closed and of one length, nothing depends on what comes before or after a segment, and
the same frames give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.processing.spec import Codec, Quality

GOP_SECONDS = 2


@dataclass(frozen=True)
class Level:
    """What a quality means for a codec."""

    speed: str | int
    """The preset; for VP9, `cpu-used`."""
    factor: int
    """The CRF."""
    held_frames: int
    """How many frames the encoder has in memory at once, as measured with one thread."""


# Presets and CRFs that look about alike. docs: media.v1.Quality.
LEVELS: Mapping[tuple[Codec, Quality], Level] = {
    (Codec.H264, Quality.DRAFT): Level("ultrafast", 28, 10),
    (Codec.H264, Quality.STANDARD): Level("veryfast", 23, 28),
    (Codec.H264, Quality.HIGH): Level("medium", 20, 60),
    (Codec.H264, Quality.NEAR_LOSSLESS): Level("slow", 12, 75),
    (Codec.H265, Quality.DRAFT): Level("ultrafast", 30, 40),
    (Codec.H265, Quality.STANDARD): Level("veryfast", 26, 50),
    (Codec.H265, Quality.HIGH): Level("medium", 23, 60),
    (Codec.H265, Quality.NEAR_LOSSLESS): Level("slow", 14, 80),
    (Codec.VP9, Quality.DRAFT): Level(8, 40, 60),
    (Codec.VP9, Quality.STANDARD): Level(5, 33, 60),
    (Codec.VP9, Quality.HIGH): Level(3, 28, 60),
    (Codec.VP9, Quality.NEAR_LOSSLESS): Level(2, 12, 60),
    (Codec.AV1, Quality.DRAFT): Level(12, 45, 100),
    (Codec.AV1, Quality.STANDARD): Level(10, 35, 120),
    (Codec.AV1, Quality.HIGH): Level(8, 28, 140),
    (Codec.AV1, Quality.NEAR_LOSSLESS): Level(6, 14, 160),
}


def options(codec: Codec, quality: Quality, rate: int, threads: int) -> dict[str, Any]:
    """The options of ffmpeg for an output of so many frames a second."""
    level, gop = LEVELS[codec, quality], GOP_SECONDS * rate
    common = {"g": gop, "keyint_min": gop, "crf": level.factor, "threads:v": threads, "flags:v": "+cgop+bitexact"}
    match codec:
        case Codec.H264:
            special = {
                "c:v": "libx264",
                "preset": level.speed,
                "profile:v": "high",
                "sc_threshold": 0,
                # Its thread that looks ahead gains nothing from more frames at hand; the bytes are the same.
                "x264-params": "stitchable=1:sync-lookahead=1",
            }
        case Codec.H265:
            # No level allows for the small blocks that a side under 32 pixels needs when the other one is over 4200.
            parameters = f"keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0:info=0:log-level=error"
            parameters += ":allow-non-conformance=1"
            special = {
                "c:v": "libx265",
                "preset": level.speed,
                "tag:v": "hvc1",
                "x265-params": f"{parameters}:pools={threads}:frame-threads=1",
            }
        case Codec.VP9:
            special = {
                "c:v": "libvpx-vp9",
                "b:v": 0,
                "deadline": "realtime" if quality is Quality.DRAFT else "good",
                "cpu-used": level.speed,
                "row-mt": 1,
                "auto-alt-ref": 0 if quality is Quality.DRAFT else 1,
                "lag-in-frames": 0 if quality is Quality.DRAFT else 25,
            }
        case Codec.AV1:
            special = {
                "c:v": "libsvtav1",
                "preset": level.speed,
                "svtav1-params": f"keyint={gop}:scd=0:lp={threads}",
            }
    return special | common
