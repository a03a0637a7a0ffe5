"""Encoding: the settings of each software encoder at each quality, always such that segments can be joined.

Groups of pictures are closed and have one length, nothing depends on what precedes or follows a segment, and the same
frames give the same bytes, whichever service encodes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

GOP_SECONDS = 2
"""The time from one key frame to the next: videos can be cut and searched there."""


class Codec(StrEnum):
    """The codec of a video. The names are those of `media.v1.Codec`."""

    H264 = "h264"
    H265 = "h265"
    VP9 = "vp9"
    AV1 = "av1"


class Quality(StrEnum):
    """The picture quality of an encode, and its cost. The names are those of `media.v1.Quality`."""

    DRAFT = "draft"
    STANDARD = "standard"
    HIGH = "high"
    NEAR_LOSSLESS = "near lossless"


@dataclass(frozen=True)
class Level:
    """The settings of a codec's software encoder at a quality."""

    preset: str
    """The preset; for VP9, `cpu-used`."""
    crf: int
    held_frames: int
    """How many frames the encoder holds in memory at once, as measured with one thread."""


SOFTWARE_ENCODERS: Mapping[Codec, str] = {
    Codec.H264: "libx264",
    Codec.H265: "libx265",
    Codec.VP9: "libvpx-vp9",
    Codec.AV1: "libsvtav1",
}
"""The software encoder of each codec, by its name in ffmpeg."""

# Presets and CRFs that look about alike (see `media.v1.Quality`).
LEVELS: Mapping[tuple[Codec, Quality], Level] = {
    (Codec.H264, Quality.DRAFT): Level("ultrafast", 28, 10),
    (Codec.H264, Quality.STANDARD): Level("veryfast", 23, 28),
    (Codec.H264, Quality.HIGH): Level("medium", 20, 60),
    (Codec.H264, Quality.NEAR_LOSSLESS): Level("slow", 12, 75),
    (Codec.H265, Quality.DRAFT): Level("ultrafast", 30, 40),
    (Codec.H265, Quality.STANDARD): Level("veryfast", 26, 50),
    (Codec.H265, Quality.HIGH): Level("medium", 23, 60),
    (Codec.H265, Quality.NEAR_LOSSLESS): Level("slow", 14, 80),
    (Codec.VP9, Quality.DRAFT): Level("8", 40, 60),
    (Codec.VP9, Quality.STANDARD): Level("5", 33, 60),
    (Codec.VP9, Quality.HIGH): Level("3", 28, 60),
    (Codec.VP9, Quality.NEAR_LOSSLESS): Level("2", 12, 60),
    (Codec.AV1, Quality.DRAFT): Level("12", 45, 100),
    (Codec.AV1, Quality.STANDARD): Level("10", 35, 120),
    (Codec.AV1, Quality.HIGH): Level("8", 28, 140),
    (Codec.AV1, Quality.NEAR_LOSSLESS): Level("6", 14, 160),
}

BT709 = {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709", "range": "tv"}
"""The options of the filter `setparams` for the colours of every encoded frame."""


def software_options(codec: Codec, quality: Quality, frames_per_second: int, threads: int) -> dict[str, Any]:
    """Returns the options of ffmpeg for the software encoder of a codec, by their names without `-`."""
    level, gop, draft = LEVELS[codec, quality], GOP_SECONDS * frames_per_second, quality is Quality.DRAFT
    common = {"g": gop, "keyint_min": gop, "crf": level.crf, "threads:v": threads, "flags:v": "+cgop+bitexact"}
    match codec:
        case Codec.H264:
            special = {
                "preset": level.preset,
                "profile:v": "high",
                "sc_threshold": 0,
                # A synchronous lookahead holds fewer frames; the encoder gains nothing from more, and the bytes are
                # the same.
                "x264-params": "stitchable=1:sync-lookahead=1",
            }
        case Codec.H265:
            parameters = f"keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0:info=0:log-level=error"
            # No level allows the small blocks that a side under 32 pixels needs when the other is over 4200 pixels.
            parameters += ":allow-non-conformance=1"
            special = {"preset": level.preset, "x265-params": f"{parameters}:pools={threads}:frame-threads=1"}
        case Codec.VP9:
            special = {
                "b:v": 0,
                "deadline": "realtime" if draft else "good",
                "cpu-used": level.preset,
                "row-mt": 1,
                "auto-alt-ref": 0 if draft else 1,
                "lag-in-frames": 0 if draft else 25,
            }
        case Codec.AV1:
            special = {"preset": level.preset, "svtav1-params": f"keyint={gop}:scd=0:lp={threads}"}
    return special | common
