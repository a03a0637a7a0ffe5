"""Overlays: their position, their opacity, and the frames that show them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.media.encoding import Quality
from services.processing.render import Tool
from services.processing.spec import Canvas, Colour, Overlay, Point, Shot, Spec
from tests import media
from tests.media.drawing import captions, render_clips, still

CANVAS = Canvas(320, 180, 30)
BLUE = Shot(Colour(0x0000FF))


async def render_frames(
    tool: Tool, image: Path, *overlays: Overlay, frames: int = 2, captions_ass: str = ""
) -> list[media.Picture]:
    """The frames of a blue video with overlays."""
    spec = Spec((BLUE,), frames, CANVAS, Quality.NEAR_LOSSLESS, None, overlays, captions_ass)
    return list(media.pictures(await render_clips(tool, image.parent / "work", [image], spec)))


def red(path: Path, size: tuple[int, int] = (64, 32)) -> Path:
    """A red picture."""
    return still(path, "color=red:s={w}x{h}", size=size)


def overlay(x: float = 0.5, y: float = 0.5, **options: float) -> Overlay:
    """A fifth of the canvas wide, on all frames."""
    given = {"width": 0.2, "opacity": 1.0, "first_frame": 0, "frame_count": 1000, **options}
    return Overlay(
        0, Point(x, y), given["width"], given["opacity"], int(given["first_frame"]), int(given["frame_count"])
    )


def box(pixels: media.Picture) -> tuple[int, int, int, int]:
    """Left, top, width and height of what is red."""
    rows, columns = np.nonzero(pixels[..., 0].astype(int) > pixels[..., 2].astype(int))
    left, top = int(columns.min()), int(rows.min())
    return left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1


@pytest.mark.parametrize(
    ("x", "y", "left", "top"),
    [(0.5, 0.5, 128, 74), (0.25, 0.75, 48, 119), (0.0, 0.0, 0, 0), (1.0, 1.0, 256, 148), (0.95, 0.5, 256, 74)],
)
@pytest.mark.parametrize("name", ["logo.png", "logo.webp", "logo.jpg"])
async def test_an_overlay_is_centred_at_its_point_and_kept_inside(
    tool: Tool, tmp_path: Path, name: str, x: float, y: float, left: int, top: int
) -> None:
    found = box((await render_frames(tool, red(tmp_path / name), overlay(x, y)))[1])
    assert np.abs(np.array(found) - (left, top, 64, 32)).max() <= 1, found


@pytest.mark.parametrize(("width", "expected"), [(0.1, (32, 16)), (0.5, (160, 80)), (1.0, (320, 160))])
async def test_the_width_is_a_fraction_of_the_canvas(
    tool: Tool, tmp_path: Path, width: float, expected: tuple[int, int]
) -> None:
    found = box((await render_frames(tool, red(tmp_path / "logo.png"), overlay(width=width)))[1])
    assert np.abs(np.array(found[2:]) - expected).max() <= 1, found


async def test_an_overlay_is_at_most_as_high_as_the_canvas(tool: Tool, tmp_path: Path) -> None:
    found = box((await render_frames(tool, red(tmp_path / "logo.png", (40, 80)), overlay(width=1.0)))[1])
    assert np.abs(np.array(found) - (115, 0, 90, 180)).max() <= 1, found


@pytest.mark.parametrize(("opacity", "colour"), [(1.0, (255, 0, 0)), (0.5, (127, 0, 127)), (0.1, (25, 0, 230))])
async def test_opacity_blends_the_overlay_with_the_video(
    tool: Tool, tmp_path: Path, opacity: float, colour: tuple[int, int, int]
) -> None:
    pixels = (await render_frames(tool, red(tmp_path / "logo.png"), overlay(opacity=opacity)))[1]
    assert np.abs(pixels[90, 160].astype(int) - colour).max() <= 10, pixels[90, 160]
    assert np.abs(pixels[20, 20].astype(int) - (0, 0, 255)).max() <= 10


async def test_transparent_parts_stay_transparent_without_colour_fringes(tool: Tool, tmp_path: Path) -> None:
    # A red disc; what is transparent around it is white, and must leave no white ring when it is made smaller.
    disc = (
        "color=white:s={w}x{h},format=gbrap,"
        "geq=r=255:g='if(lt(hypot(X-W/2,Y-H/2),W/3),0,255)':b='if(lt(hypot(X-W/2,Y-H/2),W/3),0,255)'"
        ":a='if(lt(hypot(X-W/2,Y-H/2),W/3),255,0)'"
    )
    pixels = (await render_frames(tool, still(tmp_path / "logo.png", disc, size=(300, 300)), overlay(width=0.25)))[1]
    assert media.is_near(pixels[90, 160], "red")
    assert media.is_near(pixels[54, 124], "blue"), "its corner is transparent"
    assert pixels[50:130, 120:200, 1].max() < 60, "there is no white"


async def test_half_transparent_parts_are_blended_by_half(tool: Tool, tmp_path: Path) -> None:
    half = "color=red:s={w}x{h},format=gbrap,geq=r=255:g=0:b=0:a=128"
    image = still(tmp_path / "logo.png", half, size=(64, 32))
    pixels = (await render_frames(tool, image, overlay(opacity=0.5)))[1]
    assert np.abs(pixels[90, 160].astype(int) - (64, 0, 191)).max() <= 10, pixels[90, 160]


async def test_an_overlay_shows_in_its_frames_only(tool: Tool, tmp_path: Path) -> None:
    pictures = await render_frames(tool, red(tmp_path / "logo.png"), overlay(first_frame=4, frame_count=5), frames=12)
    assert [bool(media.is_near(pixels[90, 160], "red")) for pixels in pictures] == [4 <= n < 9 for n in range(12)]


async def test_overlays_are_stacked_in_their_order(tool: Tool, tmp_path: Path) -> None:
    image = still(tmp_path / "logo.png", media.CORNERS, size=(64, 36))
    one, two = overlay(0.5, 0.5), overlay(0.6, 0.5)
    pixels = (await render_frames(tool, image, one, two, one, overlay(0.1, 0.1)))[1]
    assert media.is_near(pixels[80, 140], "red") and media.is_near(pixels[80, 176], "lime")
    assert media.is_near(pixels[80, 215], "lime"), "the second one, where the third is not over it"
    assert media.is_near(pixels[5, 10], "red")


async def test_captions_are_drawn_over_overlays(tool: Tool, tmp_path: Path) -> None:
    image = red(tmp_path / "logo.png")
    script = captions(start="0:00:00.00")
    pixels = (await render_frames(tool, image, overlay(0.5, 0.85, width=0.8), captions_ass=script))[1]
    letters = (pixels[..., 0] > 180) & (pixels[..., 1] > 180) & (pixels[..., 2] < 100)
    assert letters.sum() > 400


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
async def test_an_overlay_keeps_its_margin_to_the_edges(tool: Tool, tmp_path: Path, x: float, y: float) -> None:
    image = red(tmp_path / "logo.png")
    asked = replace(overlay(x, y), margin=0.05)
    left, top, width, height = box((await render_frames(tool, image, asked))[1])
    margin = round(0.05 * min(CANVAS.width, CANVAS.height) / 2) * 2
    right, bottom = CANVAS.width - left - width, CANVAS.height - top - height
    assert abs((right if x else left) - margin) <= 2, "from the side"
    assert abs((bottom if y else top) - margin) <= 2, "from above or below"


async def test_an_overlay_that_leaves_no_margin_is_centred(tool: Tool, tmp_path: Path) -> None:
    image = red(tmp_path / "logo.png", size=(320, 20))
    asked = replace(overlay(1.0, 0.0, width=1.0), margin=0.05)
    left, _, width, _ = box((await render_frames(tool, image, asked))[1])
    assert (left, width) == (0, CANVAS.width)
