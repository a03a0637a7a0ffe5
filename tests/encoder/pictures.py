"""Pictures: a moving test picture as raw frames, and how near another one is to it."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import av
import av.container
import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]


def moving(count: int, width: int, height: int) -> list[Frame]:
    """Frames of a gradient on which a bright square moves: planar YUV 4:2:0, one row of bytes each."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    frames = []
    for number in range(count):
        luma = ((x * 200 // width + y * 40 // height + number) % 220 + 16).astype(np.uint8)
        left = number * 3 % (width - 40)
        luma[20:60, left : left + 40] = 235
        blue = np.full((height // 2, width // 2), 64 + number % 128, np.uint8)
        red = np.tile(np.linspace(64, 192, width // 2).astype(np.uint8), (height // 2, 1))
        frames.append(np.concatenate([luma.ravel(), blue.ravel(), red.ravel()]))
    return frames


def chunks(frames: list[Frame], size_bytes: int) -> Iterator[bytes]:
    """The bytes of frames in chunks of any size."""
    data = b"".join(frame.tobytes() for frame in frames)
    for start in range(0, len(data), size_bytes):
        yield data[start : start + size_bytes]


def decoded(stream: bytes) -> list[Frame]:
    """The frames of an H.264 elementary stream."""
    with av.open(BytesIO(stream), "r", format="h264") as container:
        return [_bytes(frame) for frame in container.decode(video=0)]


def _bytes(frame: av.VideoFrame) -> Frame:
    return np.asarray(frame.to_ndarray(format="yuv420p"), np.uint8).ravel()


def psnr(one: Frame, other: Frame) -> float:
    """The peak signal-to-noise ratio in dB."""
    error = float(np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2))
    return 99.0 if error == 0 else 10 * float(np.log10(255**2 / error))
