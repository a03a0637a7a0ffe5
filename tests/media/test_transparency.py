"""Transparent parts show what is behind them, and mirrored or rotated pictures are shown upright."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.media.encoding import Quality
from services.processing.render import Tool
from services.processing.spec import Canvas, Colour, Fit, Overlay, Point, Shot, Spec, Still
from services.validation.probe import TimeRange, probe
from tests import media
from tests.media.drawing import render_clips, still
from tests.media.zoo import Zoo, _jpeg_exif
from tests.sources import LIMITS

FILES = Path(__file__).with_name("files")
CANVAS = Canvas(160, 90, 25)

# EXIF orientations: rotation clockwise, mirrored before it, and the colours of the quarters as shown.
ORIENTATIONS = {
    1: (0, False, ("red", "lime", "blue", "white")),
    2: (0, True, ("lime", "red", "white", "blue")),
    3: (180, False, ("white", "blue", "lime", "red")),
    4: (180, True, ("blue", "white", "red", "lime")),
    5: (270, True, ("red", "blue", "lime", "white")),
    6: (90, False, ("blue", "red", "white", "lime")),
    7: (90, True, ("white", "lime", "blue", "red")),
    8: (270, False, ("lime", "white", "red", "blue")),
}


def quarters(pixels: media.Picture) -> tuple[str | None, ...]:
    found = (pixels[y, x] for y in (22, 67) for x in (40, 120))
    return tuple(next((name for name in media.COLOURS if media.is_near(each, name, 40)), None) for each in found)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("use", ["clip", "overlay"])
async def test_every_orientation_is_probed_and_shown(tool: Tool, tmp_path: Path, orientation: int, use: str) -> None:
    zoo = Zoo(tmp_path)
    image = tmp_path / "turned.jpg"
    _jpeg_exif(orientation)(zoo, image)
    rotation, mirrored, seen = ORIENTATIONS[orientation]
    facts = await probe(image, TimeRange(), LIMITS)
    assert (facts.rotation, facts.mirrored) == (rotation, mirrored)
    assert (facts.width, facts.height) == ((72, 128) if rotation % 180 else (128, 72))
    if use == "clip":
        spec = Spec((Shot(Still(0), Fit.STRETCH),), 3, CANVAS, Quality.NEAR_LOSSLESS)
        frame = list(media.pictures(await render_clips(tool, tmp_path / "work", [image], spec)))[1]
        assert quarters(frame) == seen
    else:
        over = Overlay(0, Point(0.5, 0.5), 0.3, 1.0, 0, 3)
        spec = Spec((Shot(Colour(0)),), 3, CANVAS, Quality.NEAR_LOSSLESS, overlays=(over,))
        frame = list(media.pictures(await render_clips(tool, tmp_path / "work", [image], spec)))[1]
        lit = np.argwhere(frame.max(axis=2) > 100)
        (top, left), (bottom, right) = lit.min(axis=0), lit.max(axis=0)
        assert (bottom - top > right - left) == bool(rotation % 180)
        corners = [frame[y, x] for y in (top + 4, bottom - 4) for x in (left + 4, right - 4)]
        assert all(media.is_near(pixel, colour, 60) for pixel, colour in zip(corners, seen, strict=True))


async def test_hidden_colours_of_a_palette_are_not_shown(tool: Tool, tmp_path: Path) -> None:
    image = FILES / "C21_pal_green.png"
    facts = await probe(image, TimeRange(), LIMITS)
    assert facts.source["has_alpha"]
    for use in ("clip", "overlay"):
        over = Overlay(0, Point(0.5, 0.5), 1.0, 1.0, 0, 3)
        shots, overlays = ((Shot(Still(0)),), ()) if use == "clip" else ((Shot(Colour(0)),), (over,))
        spec = Spec(shots, 3, CANVAS, Quality.NEAR_LOSSLESS, overlays=overlays)
        frame = list(media.pictures(await render_clips(tool, tmp_path / use, [image], spec)))[1].astype(int)
        green = (frame[..., 1] > 120) & (frame[..., 0] < 80) & (frame[..., 2] < 80)
        assert green.mean() < 0.02, use


@pytest.mark.parametrize("ending", ["bmp", "tiff", "psd"])
async def test_pictures_of_other_formats_are_accepted(tool: Tool, tmp_path: Path, ending: str) -> None:
    if ending == "psd":
        image = tmp_path / "image.psd"
        image.write_bytes(_psd())
    else:
        image = still(tmp_path / f"image.{ending}", media.CORNERS)
    facts = await probe(image, TimeRange(), LIMITS)
    assert facts.still and facts.source["format"] == f"{ending}_pipe"
    spec = Spec((Shot(Still(0), Fit.STRETCH),), 3, CANVAS, Quality.NEAR_LOSSLESS)
    frame = list(media.pictures(await render_clips(tool, tmp_path / "work", [image], spec)))[1]
    assert quarters(frame) == ("red", "lime", "blue", "white")


def _psd(width: int = 64, height: int = 36) -> bytes:
    """A Photoshop file with one flat picture of 8 bits, not compressed."""
    head = b"8BPS\0\1" + bytes(6) + (3).to_bytes(2, "big") + height.to_bytes(4, "big") + width.to_bytes(4, "big")
    rgb = np.zeros((3, height, width), np.uint8)
    top, left = slice(None, height // 2), slice(None, width // 2)
    bottom, right = slice(height // 2, None), slice(width // 2, None)
    rgb[0, top, left] = rgb[1, top, right] = rgb[2, bottom, left] = 255
    rgb[:, bottom, right] = 255
    return head + b"\0\x08\0\x03" + bytes(4) * 3 + b"\0\0" + rgb.tobytes()
