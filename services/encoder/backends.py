"""Backends: the encoders of ffmpeg, in software and in hardware, and its command line for each.

ffmpeg runs all of them, in a child process: of our tools only ffmpeg has VA-API, and processing encodes with it too, so
that a segment encoded here joins segments encoded there. It writes FLV (`services.media.flv`) to its standard output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from services.encoder.frames import Format
from services.media.encoding import BT709, GOP_SECONDS, SOFTWARE_ENCODERS, Codec, Quality, software_options
from services.media.ffmpeg import QUIET


@dataclass(frozen=True)
class Backend:
    """An encoder of ffmpeg."""

    name: str
    """Its name in ffmpeg."""
    codec: Codec
    hardware: bool
    """Whether it runs on a GPU or another video engine."""
    levels: tuple[tuple[str, int], ...] = field(default=(), repr=False)
    """Of hardware: preset and constant quality of each `Quality`, on scales of its own."""


# Hardware encoders, with preset and constant quality on scales of their own. The figures are what their users take for
# the same as those of software (`services.media.encoding.LEVELS`); no such hardware was at hand to measure.
# fmt: off
_HARDWARE = (
    #                                         draft              standard          high              near lossless
    Backend("h264_nvenc", Codec.H264, True, (("p1", 32),         ("p4", 27),       ("p6", 24),       ("p7", 16))),
    Backend("h264_qsv", Codec.H264, True,   (("veryfast", 28),   ("fast", 23),     ("slow", 20),     ("veryslow", 12))),
    Backend("h264_vaapi", Codec.H264, True, (("7", 28),          ("4", 23),        ("2", 20),        ("1", 12))),
    Backend("hevc_nvenc", Codec.H265, True, (("p1", 32),         ("p4", 28),       ("p6", 25),       ("p7", 17))),
    Backend("hevc_qsv", Codec.H265, True,   (("veryfast", 28),   ("fast", 24),     ("slow", 21),     ("veryslow", 13))),
    Backend("hevc_vaapi", Codec.H265, True, (("7", 28),          ("4", 24),        ("2", 21),        ("1", 13))),
    Backend("av1_nvenc", Codec.AV1, True,   (("p1", 38),         ("p4", 33),       ("p6", 29),       ("p7", 19))),
    Backend("av1_qsv", Codec.AV1, True,     (("veryfast", 30),   ("fast", 26),     ("slow", 22),     ("veryslow", 14))),
    Backend("av1_vaapi", Codec.AV1, True,   (("7", 130),         ("4", 110),       ("2", 90),        ("1", 50))),
)
# fmt: on

BACKENDS = tuple(
    backend
    for codec in Codec
    for backend in (
        *(backend for backend in _HARDWARE if backend.codec is codec),
        Backend(SOFTWARE_ENCODERS[codec], codec, hardware=False),
    )
)
"""All backends, of each codec the best first."""

# The codec whose software encoder has a name.
_SOFTWARE_CODECS = {name: codec for codec, name in SOFTWARE_ENCODERS.items()}


@dataclass(frozen=True)
class Machine:
    """What encodes may use of this machine."""

    ffmpeg: Path
    threads: int
    """The threads of one encode on the CPU."""
    render_node: Path
    """The device of VA-API."""
    memory_bytes: int
    """The address space of an encode on the CPU."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables for drivers."""


def ffmpeg_command(backend: Backend, format: Format, machine: Machine) -> Sequence[str | Path]:
    """Returns the command line of ffmpeg that encodes raw frames from its standard input to FLV on its output."""
    rate = format.frames_per_second
    options = codec_options(backend, format, machine.threads)
    coding = [text for name, value in options.items() for text in (f"-{name}", str(value))]
    device = ("-vaapi_device", machine.render_node) if backend.name.endswith("_vaapi") else ()
    size = f"{format.width}x{format.height}"
    return (
        *(machine.ffmpeg, *QUIET, *device),
        *("-f", "rawvideo", "-pixel_format", "yuv420p", "-video_size", size, "-framerate", str(rate), "-i", "pipe:0"),
        *("-vf", _video_filters(backend), "-c:v", backend.name, *coding, "-fps_mode", "passthrough"),
        # Each packet is written at once, without the metadata that the reader would skip.
        *("-f", "flv", "-flvflags", "no_metadata+no_sequence_end", "-flush_packets", "1", "pipe:1"),
    )


def _video_filters(backend: Backend) -> str:
    """The filters that declare the colours of the frames, and convert them to the input format of the backend."""
    declared = f"setsar=1,setparams={':'.join(f'{name}={value}' for name, value in BT709.items())}"
    match backend.name.rpartition("_")[2]:
        case "qsv":
            return f"{declared},format=nv12"
        case "vaapi":
            return f"{declared},format=nv12,hwupload"
        case _:
            return declared


def codec_options(backend: Backend, format: Format, threads: int) -> dict[str, object]:
    """Returns the options of ffmpeg for the codec of a backend, by their names without `-`."""
    if not backend.hardware:
        return software_options(_SOFTWARE_CODECS[backend.name], format.quality, format.frames_per_second, threads)
    preset, factor = backend.levels[list(Quality).index(format.quality)]
    gop = GOP_SECONDS * format.frames_per_second
    common: dict[str, object] = {"g": gop, "flags:v": "+cgop+bitexact"}
    match backend.name.rpartition("_")[2]:
        case "nvenc":
            # Without a target bit rate, the encoder keeps the quality constant.
            constant = {"tune": "hq", "rc": "vbr", "cq": factor, "b:v": 0}
            return {**common, "preset": preset, **constant, "forced-idr": 1, "no-scenecut": 1}
        case "qsv":
            return {**common, "preset": preset, "global_quality:v": factor, "forced_idr": 1}
        case _:  # VA-API.
            return {**common, "compression_level:v": preset, "rc_mode": "CQP", "global_quality:v": factor}
