"""Frames: raw frames of a moving test image, and their distance to decoded frames."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import av
import numpy as np
from numpy.typing import NDArray

from services.media.encoding import Codec

Frame = NDArray[np.uint8]


def moving_frames(count: int, width: int, height: int) -> list[Frame]:
    """Returns frames of a gradient with a bright square that moves: planar YUV 4:2:0, one row of bytes each."""
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


def noise_frames(count: int, size_bytes: int) -> list[bytes]:
    """Returns frames that no codec can compress."""
    return [hashlib.shake_256(number.to_bytes(2, "big")).digest(size_bytes) for number in range(count)]


def split_frames(frames: list[Frame], size_bytes: int) -> Iterator[bytes]:
    """Yields the bytes of frames in chunks of `size_bytes`."""
    data = b"".join(frame.tobytes() for frame in frames)
    for start in range(0, len(data), size_bytes):
        yield data[start : start + size_bytes]


DECODERS = {Codec.H264: "h264", Codec.H265: "hevc", Codec.VP9: "vp9", Codec.AV1: "libdav1d"}


def decode_packets(codec: Codec, extradata: bytes, packets: Iterable[bytes]) -> list[Frame]:
    """Returns the frames of a stream."""
    decoder = av.CodecContext.create(DECODERS[codec], "r")
    assert isinstance(decoder, av.VideoCodecContext)
    if codec is not Codec.VP9:  # Its `vpcC` box is for players, not for decoders.
        decoder.extradata = extradata
    return [_bytes(frame) for packet in [*map(av.Packet, packets), None] for frame in decoder.decode(packet)]


def _bytes(frame: av.VideoFrame) -> Frame:
    return np.asarray(frame.to_ndarray(format="yuv420p"), np.uint8).ravel()


def psnr(one: Frame, other: Frame) -> float:
    """Returns the peak signal-to-noise ratio in dB."""
    error = float(np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2))
    return 99.0 if error == 0 else 10 * float(np.log10(255**2 / error))
