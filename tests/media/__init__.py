"""Media: make small clips and sounds with ffmpeg, open what the services made, and measure it.

A numbered clip (`numbered`) shows its frame number as a grey level, so that `numbers` can say which
frame of the source every frame of a result shows. `CORNERS` is a picture whose corners differ.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from tests.mesh import ffmpeg_program

Picture = NDArray[np.uint8]

LOSSLESS = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", "0", "-pix_fmt", "yuv420p")

# One quarter each: red, green / blue, white; `{w}` and `{h}` are the size.
CORNERS = (
    "color=red:s={w}x{h}:r={rate},"
    "drawbox=x=iw/2:y=0:w=iw:h=ih/2:c=lime:t=fill,"
    "drawbox=x=0:y=ih/2:w=iw/2:h=ih:c=blue:t=fill,"
    "drawbox=x=iw/2:y=ih/2:w=iw:h=ih:c=white:t=fill"
)
COLOURS = {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255), "black": (0, 0, 0)}

_GREY, _STEP = 20, 3


def ffmpeg(*arguments: str | Path) -> None:
    """Run ffmpeg to its end."""
    command = (ffmpeg_program(), "-hide_banner", "-nostdin", "-y", "-loglevel", "error", *arguments)
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def clip(
    path: Path,
    picture: str = "testsrc2=s={w}x{h}:r={rate}",
    *,
    size: tuple[int, int] = (320, 180),
    rate: str = "30",
    seconds: float = 1.0,
    sound: bool = False,
    encode: Sequence[str] = (),
    container: Sequence[str] = (),
) -> Path:
    """Make a clip: `picture` is a filter chain of ffmpeg, `encode` replaces the lossless H.264."""
    source = picture.format(w=size[0], h=size[1], rate=rate)
    tone = ("-f", "lavfi", "-i", f"sine=440:r=48000:d={seconds}") if sound else ()
    ffmpeg("-f", "lavfi", "-i", source, *tone, "-t", str(seconds), *(encode or LOSSLESS), *container, path)
    return path


def corners(path: Path, **options: Any) -> Path:
    """Make a clip whose quarters are red, green, blue and white."""
    return clip(path, CORNERS, **options)


def numbered(path: Path, **options: Any) -> Path:
    """Make a clip of at most 70 frames, each of which shows its number (see `numbers`)."""
    picture = f"color=black:s={{w}}x{{h}}:r={{rate}},geq=lum='{_GREY}+N*{_STEP}':cb=128:cr=128"
    return clip(path, picture, **{"size": (64, 36), **options})


def sound(path: Path, expression: str = "sine=440", *, seconds: float = 1.0, volume_db: float = 0.0) -> Path:
    """Make a stereo sound at 48 kHz: `expression` is an audio source of ffmpeg."""
    chain = f"aformat=sample_rates=48000:channel_layouts=stereo,volume={volume_db}dB"
    ffmpeg("-f", "lavfi", "-i", expression, "-af", chain, "-t", str(seconds), path)
    return path


@dataclass(frozen=True)
class Video:
    """The properties of a video track, declared and counted."""

    codec: str
    profile: str
    width: int
    height: int
    pixels: str
    frames: int
    rate: Fraction
    start: Fraction
    """When the first frame is shown, in seconds, as ffmpeg reads it: it moves a fragment by its frames' delay."""
    times: tuple[Fraction, ...]
    """When each frame is shown after the first one, in order, in seconds."""
    key_frames: tuple[int, ...]
    """The places of the key frames."""
    colours: tuple[int, int, int, int]
    """Primaries, transfer, matrix and range, as ffmpeg numbers them; BT.709 limited is (1, 1, 1, 1)."""
    square: bool
    """Whether its pixels are square."""
    has_audio: bool
    seconds: float
    """The length of the file."""


def probe(path: Path) -> Video:
    """Open a file and decode all of its picture."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        context = stream.codec_context
        assert container.duration is not None and stream.average_rate is not None
        return Video(
            codec=context.name,
            profile=context.profile or "",
            width=context.width,
            height=context.height,
            pixels=str(context.pix_fmt),
            frames=len(frames),
            rate=stream.average_rate,
            start=_time(frames[0]),
            times=tuple(_time(frame) - _time(frames[0]) for frame in frames),
            key_frames=tuple(place for place, frame in enumerate(frames) if frame.key_frame),
            colours=(context.color_primaries, context.color_trc, context.colorspace, context.color_range),
            square=(stream.sample_aspect_ratio or 1) == 1,
            has_audio=bool(container.streams.audio),
            seconds=container.duration / av.time_base,
        )


def _time(frame: av.VideoFrame) -> Fraction:
    assert frame.pts is not None and frame.time_base is not None
    return frame.pts * frame.time_base


def pictures(path: Path) -> Iterator[Picture]:
    """The frames of a video or image, each as RGB rows of pixels."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)


def hashes(path: Path) -> list[str]:
    """One hash for each frame as it is decoded."""
    with av.open(str(path)) as container:
        return [hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest() for frame in container.decode(video=0)]


def numbers(path: Path) -> list[int]:
    """Which frame of a numbered clip each frame shows, read in its middle."""
    found = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            luma = frame.to_ndarray(format="yuv420p")
            height, width = frame.height, frame.width
            middle = luma[height * 3 // 8 : height * 5 // 8, width * 3 // 8 : width * 5 // 8]
            found.append(round((float(middle.mean()) - _GREY) / _STEP))
    return found


def is_near(pixel: NDArray[np.uint8], colour: str, tolerance: int = 24) -> bool:
    """Whether a pixel has one of `COLOURS`, as nearly as a lossy encoder keeps it."""
    return bool(np.abs(pixel.astype(int) - COLOURS[colour]).max() <= tolerance)


def samples(path: Path) -> tuple[NDArray[np.float32], int]:
    """The sound of a file as (samples x channels), and its sample rate."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="flt", layout=stream.layout, rate=stream.rate)
        parts = [
            part.to_ndarray().reshape(-1, stream.channels)
            for frame in (*container.decode(stream), None)
            for part in resampler.resample(frame)
        ]
        return np.concatenate(parts).astype(np.float32), stream.rate


def loudness(path: Path) -> float:
    """The integrated loudness of a file in LUFS, measured by pyloudnorm."""
    import pyloudnorm

    sound, rate = samples(path)
    return float(pyloudnorm.Meter(rate).integrated_loudness(sound))
