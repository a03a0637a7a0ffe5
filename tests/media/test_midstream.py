"""Changes in mid-stream (size, shape, format, colours, orientation) neither end a clip nor distort it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from services.media.encoding import Quality
from services.processing.render import Tool
from services.processing.spec import Canvas, Clip, Colour, Fit, Overlay, Point, Shot, Spec, Still
from services.validation.probe import TimeRange, probe
from tests import media
from tests.media.drawing import render_clips
from tests.sources import LIMITS, probe_source

CANVAS = Canvas(160, 90, 25)
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", "8", "-pix_fmt", "yuv420p")
X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:crf=8")
VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "2M")
VP8 = ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "2M")
MJPEG = ("-c:v", "mjpeg", "-q:v", "2")
MPEG2 = ("-c:v", "mpeg2video", "-q:v", "2")
WIDE, SMALL, LARGE, TALL = (320, 180), (160, 90), (640, 360), (90, 160)
FULL = ("-vf", "scale=out_range=pc:out_color_matrix=bt709,format=yuv420p", "-color_range", "pc", "-colorspace", "bt709")
LIMITED = ("-vf", "scale=out_color_matrix=bt601,format=yuv420p", "-color_range", "tv", "-colorspace", "smpte170m")
TURNED = ("-bsf:v", "h264_metadata=display_orientation=insert:rotate=90")

Half = tuple[tuple[str, ...], tuple[int, int]]


def join_clips(path: Path, one: Half, other: Half) -> Path:
    """Make a clip of one second in each of two formats, in one track; both show four coloured quarters."""
    raw = ".webm" if one[0][1].startswith("libvpx") else ".avi" if one[0][1] == "mjpeg" else ".ts"
    parts = []
    for place, (encode, size) in enumerate((one, other)):
        part = path.with_name(f"{path.name}-{place}{raw}")
        parts.append(media.corners(part, size=size, rate="25", seconds=1.0, encode=encode))
    listed = path.with_name(f"{path.name}.ffconcat")
    listed.write_text("ffconcat version 1.0\n" + "".join(f"file {part.name}\nduration 1.0\n" for part in parts))
    media.ffmpeg("-f", "concat", "-i", listed, "-c", "copy", path)
    return path


CHANGES: dict[str, tuple[Half, Half]] = {
    "smaller.ts": ((H264, WIDE), (H264, SMALL)),
    "larger.ts": ((H264, WIDE), (H264, LARGE)),
    "larger.mkv": ((H264, SMALL), (H264, LARGE)),
    "larger.mp4": ((H264, SMALL), (H264, LARGE)),
    "smaller.mov": ((H264, LARGE), (H264, SMALL)),
    "smaller.flv": ((H264, WIDE), (H264, SMALL)),
    "larger.webm": ((VP9, SMALL), (VP9, LARGE)),
    "smaller8.webm": ((VP8, WIDE), (VP8, SMALL)),
    "larger.avi": ((MJPEG, SMALL), (MJPEG, WIDE)),
    "mpeg2.ts": ((MPEG2, WIDE), (MPEG2, SMALL)),
    "format.ts": ((H264, WIDE), ((*H264[:-1], "yuv444p"), WIDE)),
    "format.mkv": (((*H264[:-1], "yuv444p"), WIDE), (H264, WIDE)),
    "depth.ts": (((*X265, "-pix_fmt", "yuv420p"), WIDE), ((*X265, "-pix_fmt", "yuv420p10le"), WIDE)),
    "range.ts": ((H264, WIDE), ((*H264, *FULL), WIDE)),
    "range.mkv": (((*H264, *FULL), WIDE), ((*H264, *LIMITED), WIDE)),
    "format.avi": (((*MJPEG, "-pix_fmt", "yuvj420p"), WIDE), ((*MJPEG, "-pix_fmt", "yuvj444p"), WIDE)),
}


async def render_frames(tool: Tool, clip: Path, fit: Fit = Fit.STRETCH, frames: int = 50) -> list[media.Picture]:
    """Render a segment of a clip. Returns its frames."""
    spec = Spec((Shot(Clip(0), fit),), frames, CANVAS, Quality.NEAR_LOSSLESS)
    return list(media.pictures(await render_clips(tool, clip.parent / "work", [clip], spec)))


def quarters(pixels: media.Picture) -> tuple[str | None, ...]:
    """Returns the colours at the centres of the quarters."""
    found = (pixels[y, x] for y in (22, 67) for x in (40, 120))
    return tuple(
        next((name for name in media.COLOURS if media.is_near(pixel, name, tolerance=40)), None) for pixel in found
    )


@pytest.mark.parametrize("name", CHANGES)
async def test_a_clip_continues_after_a_change_of_format(tool: Tool, tmp_path: Path, name: str) -> None:
    clip = join_clips(tmp_path / name, *CHANGES[name])
    facts = await probe(clip, TimeRange(), LIMITS)
    assert facts.duration_seconds == pytest.approx(2.0, abs=0.1)
    frames = await render_frames(tool, clip)
    assert len(frames) == 50
    for number in (0, 20, 30, 49):
        assert quarters(frames[number]) == ("red", "lime", "blue", "white"), number


async def test_a_clip_continues_after_a_change_of_rotation(tool: Tool, tmp_path: Path) -> None:
    clip = join_clips(tmp_path / "turned.ts", (H264, WIDE), ((*H264, *TURNED), WIDE))
    frames = await render_frames(tool, clip)
    assert len(frames) == 50
    assert quarters(frames[0]) == quarters(frames[49]) == ("red", "lime", "blue", "white")


async def test_a_frame_of_another_shape_is_shown_whole(tool: Tool, tmp_path: Path) -> None:
    clip = join_clips(tmp_path / "shape.ts", (H264, WIDE), (H264, TALL))
    frames = await render_frames(tool, clip)
    assert quarters(frames[20]) == ("red", "lime", "blue", "white")
    last = frames[49]
    assert media.is_near(last[45, 20], "black") and media.is_near(last[45, 140], "black")
    # Its own shape is 50 pixels wide on a canvas 90 pixels high.
    assert media.is_near(last[20, 66], "red", 40) and media.is_near(last[70, 94], "white", 40)


async def test_a_turned_clip_that_becomes_smaller_stays_upright(tool: Tool, tmp_path: Path) -> None:
    clip = join_clips(tmp_path / "lying.mp4", (H264, WIDE), (H264, SMALL))
    turned = tmp_path / "turned.mp4"
    media.ffmpeg("-display_rotation:v:0", "90", "-i", clip, "-c", "copy", turned)
    frames = await render_frames(tool, turned)
    assert quarters(frames[0]) == quarters(frames[49]) == ("lime", "white", "red", "blue")


def _behind(first: Path, second: Path, path: Path) -> Path:
    path.write_bytes(first.read_bytes() + second.read_bytes())
    return path


@pytest.mark.parametrize("use", ["clip", "overlay"])
async def test_a_second_picture_in_a_file_is_not_shown(tool: Tool, tmp_path: Path, use: str) -> None:
    """An Ultra HDR JPEG has a gain map after its picture, smaller and grey."""
    media.ffmpeg("-f", "lavfi", "-i", media.CORNERS.format(w=320, h=180, rate=25), "-frames:v", "1", tmp_path / "a.jpg")
    map_ = "gradients=s=80x44,format=gray"
    media.ffmpeg("-f", "lavfi", "-i", map_, "-frames:v", "1", "-pix_fmt", "gray", tmp_path / "b.jpg")
    image = _behind(tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "ultra.jpg")
    if use == "clip":
        spec = Spec((Shot(Still(0), Fit.STRETCH),), 5, CANVAS, Quality.NEAR_LOSSLESS)
    else:
        over = Overlay(0, Point(0.5, 0.5), 1.0, 1.0, 0, 5)
        spec = Spec((Shot(Colour(0)),), 5, CANVAS, Quality.NEAR_LOSSLESS, overlays=(over,))
    frames = list(media.pictures(await render_clips(tool, tmp_path / "work", [image], spec)))
    assert len(frames) == 5
    for frame in frames:
        assert quarters(frame) == ("red", "lime", "blue", "white")


async def test_seeking_past_a_change_shows_the_right_frame(tool: Tool, tmp_path: Path) -> None:
    clip = join_clips(tmp_path / "larger.mp4", (H264, SMALL), (H264, LARGE))
    spec = Spec((Shot(Clip(0, timedelta(seconds=1.2)), Fit.STRETCH),), 20, CANVAS, Quality.NEAR_LOSSLESS)
    frames = list(media.pictures(await render_clips(tool, tmp_path / "work", [clip], spec)))
    assert len(frames) == 20 and quarters(frames[0]) == ("red", "lime", "blue", "white")
    assert np.abs(frames[0].astype(int) - frames[19]).mean() < 3
    assert (await probe_source(clip)).width == 160
