"""Backends: what encodes, and what ffmpeg is told to let it encode frames that come as they are.

ffmpeg does it for all of them, in a child process: it is the only one of our tools that has VA-API, and the
one that processing encodes with, so that a segment encoded here joins one encoded there. It writes FLV (see
`flv`) to its standard output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from services.encoder.frames import Codec, Format, Quality
from services.runtime import children

# One key frame in this many seconds, so that a segment can be cut and searched; as processing has it.
GOP_SECONDS = 2


@dataclass(frozen=True)
class Backend:
    """What encodes."""

    name: str
    """As ffmpeg spells it."""
    codec: Codec
    hardware: bool
    """Whether it runs on a GPU or another video engine."""
    levels: tuple[tuple[str, int], ...] = field(repr=False)
    """Preset and constant quality of each `Quality`, on scales of its own."""


# What is worked with, of each codec the best first, with preset and constant quality on scales of its own. Software
# has what processing has, so that a segment looks alike wherever it is encoded; a test compares the two. The figures
# of hardware are what its users take for the same; none was at hand to measure.
# fmt: off
BACKENDS = (
    #                                         draft              standard          high              near lossless
    Backend("h264_nvenc", Codec.H264, True, (("p1", 32),         ("p4", 27),       ("p6", 24),       ("p7", 16))),
    Backend("h264_qsv", Codec.H264, True,   (("veryfast", 28),   ("fast", 23),     ("slow", 20),     ("veryslow", 12))),
    Backend("h264_vaapi", Codec.H264, True, (("7", 28),          ("4", 23),        ("2", 20),        ("1", 12))),
    Backend("libx264", Codec.H264, False,   (("ultrafast", 28),  ("veryfast", 23), ("medium", 20),   ("slow", 12))),
    Backend("hevc_nvenc", Codec.H265, True, (("p1", 32),         ("p4", 28),       ("p6", 25),       ("p7", 17))),
    Backend("hevc_qsv", Codec.H265, True,   (("veryfast", 28),   ("fast", 24),     ("slow", 21),     ("veryslow", 13))),
    Backend("hevc_vaapi", Codec.H265, True, (("7", 28),          ("4", 24),        ("2", 21),        ("1", 13))),
    Backend("libx265", Codec.H265, False,   (("ultrafast", 30),  ("veryfast", 26), ("medium", 23),   ("slow", 14))),
    Backend("libvpx-vp9", Codec.VP9, False, (("8", 40),          ("5", 33),        ("3", 28),        ("2", 12))),
    Backend("av1_nvenc", Codec.AV1, True,   (("p1", 38),         ("p4", 33),       ("p6", 29),       ("p7", 19))),
    Backend("av1_qsv", Codec.AV1, True,     (("veryfast", 30),   ("fast", 26),     ("slow", 22),     ("veryslow", 14))),
    Backend("av1_vaapi", Codec.AV1, True,   (("7", 130),         ("4", 110),       ("2", 90),        ("1", 50))),
    Backend("libsvtav1", Codec.AV1, False,  (("12", 45),         ("10", 35),       ("8", 28),        ("6", 14))),
)
# fmt: on


@dataclass(frozen=True)
class Machine:
    """What ffmpeg is told of the machine."""

    ffmpeg: Path
    threads: int
    """Threads of one encode, where it runs on the CPU."""
    render_node: Path
    """The device that VA-API works on."""
    memory_bytes: int
    """The address space of an encode on the CPU."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What drivers are told by the environment."""


def command(backend: Backend, format: Format, machine: Machine) -> Sequence[str | Path]:
    """The command line of ffmpeg for frames on its standard input."""
    rate = format.frames_per_second
    told = options(backend, format, machine.threads)
    said = [text for name, value in told.items() for text in (f"-{name}", str(value))]
    device = ("-vaapi_device", machine.render_node) if backend.name.endswith("_vaapi") else ()
    size = f"{format.width}x{format.height}"
    return (
        *(machine.ffmpeg, *children.QUIET, *device),
        *("-f", "rawvideo", "-pixel_format", "yuv420p", "-video_size", size, "-framerate", str(rate), "-i", "pipe:0"),
        *("-vf", _filters(backend), "-c:v", backend.name, *said, "-fps_mode", "passthrough"),
        # At once, and no more than is read back.
        *("-f", "flv", "-flvflags", "no_metadata+no_sequence_end", "-flush_packets", "1", "pipe:1"),
    )


def _filters(backend: Backend) -> str:
    """Say what the frames are, and hand them over as the backend takes them."""
    described = "setsar=1,setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
    match backend.name.rpartition("_")[2]:
        case "qsv":
            return f"{described},format=nv12"
        case "vaapi":
            return f"{described},format=nv12,hwupload"
        case _:
            return described


def options(backend: Backend, format: Format, threads: int) -> dict[str, object]:
    """What ffmpeg is told, by the names of its options, to encode frames of a format at its quality."""
    preset, factor = backend.levels[list(Quality).index(format.quality)]
    gop = GOP_SECONDS * format.frames_per_second
    common: dict[str, object] = {"g": gop, "flags:v": "+cgop+bitexact"}
    match backend.name.rpartition("_")[2]:
        case "nvenc":
            # Without a bit rate to aim at, it holds the quality.
            constant = {"tune": "hq", "rc": "vbr", "cq": factor, "b:v": 0}
            return {**common, "preset": preset, **constant, "forced-idr": 1, "no-scenecut": 1}
        case "qsv":
            return {**common, "preset": preset, "global_quality:v": factor, "forced_idr": 1}
        case "vaapi":
            return {**common, "compression_level:v": preset, "rc_mode": "CQP", "global_quality:v": factor}
    software = _software(backend.name, preset, format, threads)
    return {**common, **software, "keyint_min": gop, "crf": factor, "threads:v": threads}


def _software(name: str, preset: str, format: Format, threads: int) -> dict[str, object]:
    """What is told to an encoder on the CPU: word for word as in processing, so that the frames come out the same."""
    gop, draft = GOP_SECONDS * format.frames_per_second, format.quality is Quality.DRAFT
    match name:
        case "libx264":
            told = "stitchable=1:sync-lookahead=1"
            return {"preset": preset, "profile:v": "high", "sc_threshold": 0, "x264-params": told}
        case "libx265":
            groups = f"keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0"
            # No level allows for the small blocks that a side under 32 pixels needs when the other one is over 4200.
            more = "info=0:log-level=error:allow-non-conformance=1"
            return {"preset": preset, "x265-params": f"{groups}:{more}:pools={threads}:frame-threads=1"}
        case "libsvtav1":
            return {"preset": preset, "svtav1-params": f"keyint={gop}:scd=0:lp={threads}"}
        case _:
            speed = {"b:v": 0, "deadline": "realtime" if draft else "good", "cpu-used": preset, "row-mt": 1}
            return {**speed, "auto-alt-ref": int(not draft), "lag-in-frames": 0 if draft else 25}
