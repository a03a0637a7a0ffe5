"""The process that writes the poster and the thumbnails of a video, and prints one line of JSON.

Run by path with `python -I` in the folder of the files; imports nothing of the platform. Arguments: the video, the
poster and the thumbnails, then the luma below which a pixel is black. Only some frames are decoded: it seeks to key
frames. It prints which part of each examined frame is black, and the time of the poster's frame.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

# A copy of `services.media.formats`: this process imports nothing of the platform.
OPTIONS = {"format_whitelist": "mov", "protocol_whitelist": "file"}
THUMBNAILS = 10
# A thumbnail fits into this box; ten of the widest still fit into a JPEG, which ends at 65500 pixels.
THUMBNAIL_WIDTH, THUMBNAIL_HEIGHT = 640, 160
JPEG_QUALITY = 3  # of ffmpeg's scale, on which 1 is best

# Frames are measured at about this many pixels a side: finer detail is noise.
_MEASURED_SIDE = 480

Array = NDArray[Any]


@dataclass(frozen=True)
class Candidate:
    """A frame of the video, and its score as a poster."""

    frame: av.VideoFrame
    score: float
    black: float


def main(video: str, poster: str, thumbnails: str, black_luma: str) -> None:
    """Write the poster and the thumbnails of a video."""
    best: Candidate | None = None
    strip, black = [], []
    try:
        with av.open(video, options=OPTIONS) as container:
            for frame, after in _sample_frames(container):
                candidate = Candidate(frame, *_rate(frame, after, int(black_luma)))
                strip.append(_rgb(frame, *thumbnail_size(frame.width, frame.height)))
                black.append(round(candidate.black, 4))
                if best is None or candidate.score > best.score:
                    best = candidate
        if best is None:
            sys.exit("it has no picture")
        _write_jpeg(poster, best.frame, Colorspace.ITU709, ColorRange.MPEG)
        side_by_side = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.hstack(strip)), format="rgb24")
        _write_jpeg(thumbnails, side_by_side, Colorspace.ITU601, ColorRange.JPEG)
    except av.error.FFmpegError as failure:
        sys.exit(failure.strerror)
    print(json.dumps({"black": black, "poster_seconds": best.frame.time or 0.0}))


def _sample_frames(container: av.container.InputContainer) -> Iterator[tuple[av.VideoFrame, av.VideoFrame]]:
    """Yields ten frames, evenly spread, each with a frame that follows shortly after."""
    if not container.streams.video:
        return
    stream = container.streams.video[0]
    assert stream.time_base is not None
    stream.thread_type = "NONE"
    # Skips frames that no other frame refers to: most of those between key frames.
    stream.codec_context.skip_frame = "NONREF"
    step = float((stream.duration or 0) * stream.time_base) / THUMBNAILS
    for number in range(THUMBNAILS):
        # A key frame near the even position will do, and needs no decoding of other frames.
        position, tolerance = (number + 0.5) * step, step / 3
        container.seek(int((position + tolerance) / stream.time_base), stream=stream)
        found: av.VideoFrame | None = None
        last: av.VideoFrame | None = None
        for frame in container.decode(stream):
            last = frame
            if found is not None:
                break
            if frame.time is not None and frame.time >= position - tolerance:
                found = frame
        if last is not None:
            yield found or last, last


def _rate(frame: av.VideoFrame, after: av.VideoFrame, black_luma: int) -> tuple[float, float]:
    """The score of a frame as a poster, and the part of it that is black.

    A good poster has contrast, edges and colours, and little motion. A blank frame has none of these, and a blurred one
    no edges. In the middle of a crossfade two frames weaken each other, and everything changes.
    """
    size = measured_size(frame.width, frame.height)
    luma = _luma(frame, *size)
    contrast = min(1.0, float(luma.std()) / 64)
    edges = (float(np.abs(np.diff(luma, axis=0)).mean()) + float(np.abs(np.diff(luma, axis=1)).mean())) / 24
    change = float(np.abs(luma - _luma(after, *size)).mean())
    clipped = float(np.mean((luma <= black_luma) | (luma >= 230)))
    score = (0.1 + contrast) * (0.1 + min(1.0, edges)) * (0.3 + _colourfulness(_rgb(frame, *size)))
    return score * (1 - 0.7 * clipped) / (1 + change / 8), float(np.mean(luma < black_luma))


def _colourfulness(rgb: Array) -> float:
    """The colourfulness of a frame, 0 to 1, by Hasler and Suesstrunk (2003)."""
    red, green, blue = (rgb[..., channel].astype(np.float32) for channel in range(3))
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    spread = np.hypot(red_green.std(), yellow_blue.std()) + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean())
    return min(1.0, float(spread) / 80)


def thumbnail_size(width: int, height: int) -> tuple[int, int]:
    """Returns the size of a thumbnail: the largest with even sides that fits into the box."""
    return _scale_even(width, height, min(THUMBNAIL_WIDTH / width, THUMBNAIL_HEIGHT / height))


def measured_size(width: int, height: int) -> tuple[int, int]:
    """Returns the size at which a frame is measured: even sides, as 4:2:0 needs, and never enlarged."""
    return _scale_even(width, height, min(1.0, _MEASURED_SIDE / max(width, height)))


def _scale_even(width: int, height: int, scale: float) -> tuple[int, int]:
    return 2 * max(1, round(width * scale / 2)), 2 * max(1, round(height * scale / 2))


def _luma(frame: av.VideoFrame, width: int, height: int) -> Array:
    """The luma of every pixel, 16 to 235."""
    return np.asarray(frame.reformat(width, height, format="yuv420p").to_ndarray()[:height, :width], np.int16)


def _rgb(frame: av.VideoFrame, width: int, height: int) -> Array:
    converted = frame.reformat(
        width, height, "rgb24", Colorspace.ITU709, Colorspace.ITU709, None, ColorRange.MPEG, ColorRange.JPEG
    )
    return np.asarray(converted.to_ndarray())


def _write_jpeg(path: str, frame: av.VideoFrame, colours: Colorspace, colour_range: ColorRange) -> None:
    """Write a frame as a JPEG, in the colours of the JFIF standard."""
    converted = frame.reformat(
        format="yuvj420p",
        src_colorspace=colours,
        dst_colorspace=Colorspace.ITU601,
        src_color_range=colour_range,
        dst_color_range=ColorRange.JPEG,
    )
    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = converted.width, converted.height, "yuvj420p"
    encoder.framerate = 1  # type: ignore[assignment]
    encoder.qmin = encoder.qmax = JPEG_QUALITY
    converted.pts = 0
    Path(path).write_bytes(b"".join(bytes(packet) for packet in (*encoder.encode(converted), *encoder.encode(None))))


if __name__ == "__main__":
    main(*sys.argv[1:])
