"""Shots: fit, focus, speed and motion of clips, stills and colours."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from moneyprinter.errors import FailedPrecondition
from services.media.encoding import Quality
from services.processing.render import Tool
from services.processing.spec import MIDDLE, Canvas, Clip, Colour, Fit, Motion, Point, Shot, Spec, Still
from tests import media
from tests.media.drawing import render_clips, still

CANVAS = Canvas(320, 180, 30)
BEST = Quality.NEAR_LOSSLESS


async def render_frames(
    tool: Tool, file: Path, shot: Shot, frames: int = 2, canvas: Canvas = CANVAS
) -> list[media.Picture]:
    """Render a shot of a file. Returns its frames."""
    made = await render_clips(tool, file.parent / f"work{frames}", [file], Spec((shot,), frames, canvas, BEST))
    video = media.probe(made)
    assert (video.width, video.height, video.pixels) == (canvas.width, canvas.height, "yuv420p")
    assert (video.colours, video.square, video.frames) == ((1, 1, 1, 1), True, frames)
    return list(media.pictures(made))


def columns_of(pixels: media.Picture, colour: str) -> NDArray[np.int_]:
    """Returns the columns whose middle has a colour."""
    row = pixels[pixels.shape[0] // 2]
    return np.array([place for place, pixel in enumerate(row) if media.is_near(pixel, colour)])


@pytest.mark.parametrize("name", ["picture.png", "picture.jpg", "picture.webp"])
@pytest.mark.parametrize("frames", [1, 40])
async def test_a_still_is_shown_for_the_requested_frames(tool: Tool, tmp_path: Path, name: str, frames: int) -> None:
    picture = still(tmp_path / name, media.CORNERS)
    pictures = await render_frames(tool, picture, Shot(Still(0)), frames)
    for pixels in (pictures[0], pictures[-1]):
        assert media.is_near(pixels[20, 20], "red") and media.is_near(pixels[160, 300], "white")


@pytest.mark.parametrize("rate", [1, 30, 120])
async def test_a_still_is_shown_at_any_frame_rate(tool: Tool, tmp_path: Path, rate: int) -> None:
    picture = still(tmp_path / "picture.png", media.CORNERS)
    assert len(await render_frames(tool, picture, Shot(Still(0)), 7, Canvas(64, 36, rate))) == 7


@pytest.mark.parametrize("rgb", [0xFF0000, 0x336699, 0x000000, 0xFFFFFF])
async def test_a_colour_is_shown_unchanged(tool: Tool, tmp_path: Path, rgb: int) -> None:
    wanted = (rgb >> 16, rgb >> 8 & 255, rgb & 255)
    made = await render_clips(tool, tmp_path / "work", (), Spec((Shot(Colour(rgb)),), 5, CANVAS, BEST))
    pictures = list(media.pictures(made))
    assert len(pictures) == 5
    for pixels in pictures:
        assert np.abs(pixels.astype(int) - wanted).max() <= 5, pixels[90, 160]


# A picture of three columns, red, green and blue, three times as wide as the canvas is for its height.
COLUMNS = (
    "color=red:s={w}x{h}:r={rate},drawbox=x=iw/3:w=iw/3:h=ih:c=lime:t=fill,drawbox=x=2*iw/3:w=iw/3:h=ih:c=blue:t=fill"
)


@pytest.mark.parametrize(("x", "colour"), [(0.0, "red"), (0.16, "red"), (0.5, "lime"), (0.83, "blue"), (1.0, "blue")])
@pytest.mark.parametrize("kind", ["clip", "still"])
async def test_the_focus_stays_visible_when_the_frame_is_cropped(
    tool: Tool, tmp_path: Path, kind: str, x: float, colour: str
) -> None:
    size = (960, 180)
    if kind == "clip":
        file = media.clip(tmp_path / "file.mp4", COLUMNS, size=size, seconds=0.2)
        shot = Shot(Clip(0), Fit.COVER, Point(x, 0.5))
    else:
        file, shot = still(tmp_path / "file.png", COLUMNS, size=size), Shot(Still(0), Fit.COVER, Point(x, 0.5))
    pixels = (await render_frames(tool, file, shot))[1]
    for place in (4, 160, 315):
        assert media.is_near(pixels[90, place], colour, tolerance=60), pixels[90, place]


async def test_stretching_shows_the_whole_source_in_the_whole_canvas(tool: Tool, tmp_path: Path) -> None:
    file = media.corners(tmp_path / "clip.mp4", size=(100, 200), seconds=0.2)
    pixels = (await render_frames(tool, file, Shot(Clip(0), Fit.STRETCH)))[1]
    corners = {"red": (8, 8), "lime": (8, 311), "blue": (171, 8), "white": (171, 311)}
    for colour, (row, column) in corners.items():
        assert media.is_near(pixels[row, column], colour), colour
    assert media.is_near(pixels[80, 150], "red") and media.is_near(pixels[100, 170], "white")


@pytest.mark.parametrize("kind", ["clip", "still"])
async def test_a_blurred_darker_copy_fills_the_rest(tool: Tool, tmp_path: Path, kind: str) -> None:
    # Stripes of two pixels, red above and green below: blurred, the stripes are gone.
    stripes = (
        "color=black:s={w}x{h}:r={rate},format=gbrp,"
        "geq=r='if(lt(Y,H/2),mod(floor(X/2),2)*255,0)':g='if(lt(Y,H/2),0,mod(floor(X/2),2)*255)':b=0"
    )
    size = (180, 180)
    encode = ("-c:v", "ffv1", "-pix_fmt", "gbrp")
    if kind == "clip":
        file, shot = media.clip(tmp_path / "a.mkv", stripes, size=size, seconds=0.2, encode=encode), Shot(Clip(0))
    else:
        file, shot = still(tmp_path / "a.png", stripes, size=size), Shot(Still(0))
    pixels = (await render_frames(tool, file, Shot(shot.shows, Fit.BLUR)))[1].astype(int)
    front, left, right = pixels[:, 72:248], pixels[:, :66], pixels[:, 254:]
    assert front[20, :, 0].std() > 50, "the picture itself is sharp"
    for side in (left, right):
        assert side[20, :, 0].std() < 6, "what is behind is not"
        assert side[20, :, 0].mean() > 30 and side[160, :, 1].mean() > 30, "and has its colours"
        assert side[20, :, 0].mean() < 0.85 * front[20, :, 0].mean(), "but is darker"
        assert side[20, :, 2].max() < 40 and side[20, :, 0].mean() > side[20, :, 1].mean() + 20


async def test_a_source_of_the_canvas_shape_hides_the_background(tool: Tool, tmp_path: Path) -> None:
    file = media.corners(tmp_path / "clip.mp4", seconds=0.2)
    pixels = (await render_frames(tool, file, Shot(Clip(0), Fit.BLUR)))[1]
    for colour, (row, column) in {"red": (2, 2), "lime": (2, 317), "blue": (177, 2), "white": (177, 317)}.items():
        assert media.is_near(pixels[row, column], colour), colour


@pytest.mark.parametrize(
    ("speed", "start", "expected"),
    [
        (Fraction(2), 0.0, [0, 2, 4, 6, 8, 10, 12, 14]),
        (Fraction(2), 1 / 3, [10, 12, 14, 16, 18, 20, 22, 24]),
        (Fraction(4), 0.0, [1, 5, 9, 13, 17, 21, 25, 29]),
        (Fraction(1, 2), 0.0, [0, 0, 1, 1, 2, 2, 3, 3]),
        (Fraction(1, 4), 0.5, [15, 15, 15, 15, 16, 16, 16, 16]),
        (Fraction(3, 2), 0.0, [0, 2, 3, 5, 6, 8, 9, 11]),
    ],
)
async def test_a_clip_runs_at_the_requested_speed(
    tool: Tool, tmp_path: Path, speed: Fraction, start: float, expected: list[int]
) -> None:
    clip = media.numbered(tmp_path / "clip.mp4", seconds=2)
    shot = Shot(Clip(0, timedelta(seconds=start), speed))
    made = await render_clips(tool, tmp_path / "work", [clip], Spec((shot,), 8, Canvas(64, 36, 30), BEST))
    found = media.numbers(made)
    assert found == expected
    assert media.probe(made).times == tuple(Fraction(number, 30) for number in range(8))


async def test_a_fast_clip_ends_sooner(tool: Tool, tmp_path: Path) -> None:
    clip = media.numbered(tmp_path / "clip.mp4", seconds=2)
    spec = Spec((Shot(Clip(0, timedelta(0), Fraction(2))),), 90, Canvas(64, 36, 30), BEST)
    with pytest.raises(FailedPrecondition, match=r"the clip ends at 4\.00 s, 60 frames into the 90"):
        await render_clips(tool, tmp_path / "work", [clip], spec)


def bright(pixels: media.Picture) -> tuple[float, float, float]:
    """Returns the centre and the width of the bright part, in pixels from the top left, with subpixel accuracy."""
    light = np.clip(pixels[..., 1].astype(float) - 40, 0, None)
    rows, columns = np.indices(light.shape)
    total = light.sum()
    x, y = float((light * (columns + 0.5)).sum() / total), float((light * (rows + 0.5)).sum() / total)
    width = float(np.sqrt((light * (columns + 0.5 - x) ** 2).sum() / total * 12))
    return x, y, width


async def render_motion(
    tool: Tool, tmp_path: Path, motion: Motion, *, focus: Point = MIDDLE, at: Point
) -> NDArray[np.float64]:
    """Returns the position and width of a square, a tenth as wide as the picture, in 31 frames of a motion."""
    x, y = at.x * 640 - 32, at.y * 360 - 32
    square = f"color=0x202020:s={{w}}x{{h}},format=gbrp,drawbox=x={x}:y={y}:w=64:h=64:c=white:t=fill"
    file = still(tmp_path / "picture.png", square, size=(640, 360))
    pictures = await render_frames(tool, file, Shot(Still(0, motion, 31), Fit.COVER, focus), 31)
    return np.array([bright(pixels) for pixels in pictures])


@pytest.mark.parametrize("focus", [Point(0.5, 0.5), Point(0.25, 0.75)])
@pytest.mark.parametrize("motion", [Motion.ZOOM_IN, Motion.ZOOM_OUT])
async def test_a_zoom_magnifies_by_a_fifth_and_keeps_its_focus(
    tool: Tool, tmp_path: Path, motion: Motion, focus: Point
) -> None:
    found = await render_motion(tool, tmp_path, motion, focus=focus, at=focus)
    if motion is Motion.ZOOM_OUT:
        found = found[::-1]
    x, y, width = found.T
    assert np.abs(x - focus.x * 320).max() < 0.3 and np.abs(y - focus.y * 180).max() < 0.3
    assert abs(width[0] - 32) < 0.4 and abs(width[-1] - 38.4) < 0.4
    assert np.abs(width - np.linspace(width[0], width[-1], 31)).max() < 0.3, "it grows as much each frame"


@pytest.mark.parametrize(("motion", "begin", "end"), [(Motion.PAN_RIGHT, 192, 128), (Motion.PAN_LEFT, 128, 192)])
async def test_a_pan_moves_from_side_to_side_without_jitter(
    tool: Tool, tmp_path: Path, motion: Motion, begin: float, end: float
) -> None:
    x, y, width = (await render_motion(tool, tmp_path, motion, at=Point(0.5, 0.5))).T
    assert abs(x[0] - begin) < 0.3 and abs(x[-1] - end) < 0.3
    assert np.abs(x - np.linspace(x[0], x[-1], 31)).max() < 0.1, "no step is longer than another one"
    assert np.abs(y - 90).max() < 0.2 and np.abs(width - 38.4).max() < 0.3


@pytest.mark.parametrize("motion", list(Motion))
async def test_a_moving_still_fills_the_canvas(tool: Tool, tmp_path: Path, motion: Motion) -> None:
    file = still(tmp_path / "picture.png", "color=white:s={w}x{h}", size=(641, 359))
    for pixels in await render_frames(tool, file, Shot(Still(0, motion, 9)), 9):
        assert pixels.min() > 245


@pytest.mark.parametrize("motion", list(Motion))
async def test_a_motion_stays_at_its_end(tool: Tool, tmp_path: Path, motion: Motion) -> None:
    file = still(tmp_path / "picture.png", "testsrc=s={w}x{h}")
    pictures = await render_frames(tool, file, Shot(Still(0, motion, 5)), 8)
    assert np.abs(pictures[4].astype(int) - pictures[7]).mean() < 2
    assert np.abs(pictures[0].astype(int) - pictures[4]).mean() > 5


async def test_a_moving_still_keeps_the_detail_of_its_source(tool: Tool, tmp_path: Path) -> None:
    # Stripes as fine as the canvas can show at the largest zoom; scaled to the canvas first, they would be grey.
    stripes = "color=black:s={w}x{h},format=gray,geq=lum='mod(floor(X/1.2),2)*255'"
    file = still(tmp_path / "picture.png", stripes, size=(384, 216))
    last = (await render_frames(tool, file, Shot(Still(0, Motion.PAN_RIGHT, 2)), 2))[0]
    assert last[90, 20:300, 1].astype(float).std() > 60
