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
# gives what libx264 gives at the same quality: mean VMAF within 1.2 on clips of detail, of motion and of fine noise.
# The figures of hardware are what its users take for the same; none was at hand to measure.
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
    Backend("libx265", Codec.H265, False,   (("superfast", 25),  ("veryfast", 26), ("medium", 20),   ("medium", 10))),
    Backend("libvpx-vp9", Codec.VP9, False, (("realtime 8", 41), ("good 5", 44),   ("good 4", 32),   ("good 2", 8))),
    Backend("av1_nvenc", Codec.AV1, True,   (("p1", 38),         ("p4", 33),       ("p6", 29),       ("p7", 19))),
    Backend("av1_qsv", Codec.AV1, True,     (("veryfast", 30),   ("fast", 26),     ("slow", 22),     ("veryslow", 14))),
    Backend("av1_vaapi", Codec.AV1, True,   (("7", 130),         ("4", 110),       ("2", 90),        ("1", 50))),
    Backend("libsvtav1", Codec.AV1, False,  (("12", 38),         ("10", 40),       ("8", 32),        ("6", 8))),
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
    options = {
        **_told(backend, format, machine.threads),
        "g": GOP_SECONDS * rate,
        "flags:v": "+cgop+bitexact",
    }
    said = [text for name, value in options.items() for text in (f"-{name}", str(value))]
    device = ("-vaapi_device", machine.render_node) if backend.name.endswith("_vaapi") else ()
    size = f"{format.width}x{format.height}"
    return (
        *(machine.ffmpeg, "-hide_banner", "-nostdin", "-loglevel", "error", *device),
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


def _told(backend: Backend, format: Format, threads: int) -> dict[str, object]:
    """What sets a backend to a quality."""
    preset, factor = backend.levels[list(Quality).index(format.quality)]
    match backend.name.rpartition("_")[2]:
        case "nvenc":
            # Without a bit rate to aim at, it holds the quality.
            constant = {"tune": "hq", "rc": "vbr", "cq": factor, "b:v": 0}
            return {"preset": preset, **constant, "forced-idr": 1, "no-scenecut": 1}
        case "qsv":
            return {"preset": preset, "global_quality:v": factor, "forced_idr": 1}
        case "vaapi":
            return {"compression_level:v": preset, "rc_mode": "CQP", "global_quality:v": factor}
        case "libx264":
            # Word for word as in processing, so that the parameter sets are the same.
            x264 = {"profile:v": "high", "keyint_min": GOP_SECONDS * format.frames_per_second, "sc_threshold": 0}
            return {"preset": preset, "crf": factor, **x264, "x264-params": "stitchable=1", "threads:v": threads}
        case "libx265":
            x265 = f"log-level=error:info=0:scenecut=0:open-gop=0:pools={threads}"
            return {"preset": preset, "crf": factor, "x265-params": x265}
        case "libsvtav1":
            return {"preset": preset, "crf": factor, "svtav1-params": f"lp={threads}:scd=0"}
        case _:
            deadline, speed = preset.split()
            vp9 = {"deadline": deadline, "cpu-used": speed, "crf": factor, "b:v": 0}
            return {**vp9, "row-mt": 1, "tile-columns": 1, "threads:v": threads}
