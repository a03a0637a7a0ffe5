"""Tiny and extreme sources fill the canvas with every fit, as clips, stills and overlays."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.media.encoding import Quality
from services.processing.render import Tool
from services.processing.spec import Canvas, Clip, Colour, Fit, Motion, Overlay, Point, Shot, Spec, Still
from services.validation.probe import TimeRange, probe
from tests import media
from tests.media.drawing import render_clips, still
from tests.sources import LIMITS

SIZES = [(1, 1), (2, 2), (3, 900), (8000, 2), (1, 600), (900, 1)]
CANVASES = [Canvas(90, 160, 25), Canvas(16, 16, 25)]


def is_red_in_its_middle(pixels: media.Picture) -> bool:
    """Whether some pixels in the middle are red; the source may be two pixels wide."""
    y, x = pixels.shape[0] // 2, pixels.shape[1] // 2
    around = pixels[y - 2 : y + 2, x - 2 : x + 2].astype(int)
    return bool((around[..., 0] - around[..., 1] > 60).any())


@pytest.mark.parametrize("size", SIZES)
async def test_a_picture_of_any_size_fills_the_canvas(tool: Tool, tmp_path: Path, size: tuple[int, int]) -> None:
    image = still(tmp_path / "image.jpg", "color=red:s={w}x{h}", size=size)
    facts = await probe(image, TimeRange(), LIMITS)
    assert (facts.width, facts.height, facts.still) == (*size, True)
    for number, canvas in enumerate(CANVASES):
        for fit in Fit:
            motion = Motion.ZOOM_IN if number % 2 else None
            spec = Spec((Shot(Still(0, motion, 3), fit),), 3, canvas, Quality.NEAR_LOSSLESS)
            made = await render_clips(tool, tmp_path / f"{number}-{fit.name}", [image], spec)
            frames = list(media.pictures(made))
            assert len(frames) == 3
            assert is_red_in_its_middle(frames[1]), (canvas, fit)


@pytest.mark.parametrize("size", [(2, 2), (4, 900), (2000, 2)])
async def test_a_clip_of_any_size_fills_the_canvas(tool: Tool, tmp_path: Path, size: tuple[int, int]) -> None:
    clip = media.clip(tmp_path / "clip.mp4", "color=red:s={w}x{h}:r={rate}", size=size, rate="25", seconds=0.4)
    for number, canvas in enumerate(CANVASES):
        for fit in Fit:
            spec = Spec((Shot(Clip(0), fit),), 5, canvas, Quality.NEAR_LOSSLESS)
            made = await render_clips(tool, tmp_path / f"{number}-{fit.name}", [clip], spec)
            assert media.probe(made).frames == 5


@pytest.mark.parametrize("size", SIZES)
async def test_an_overlay_may_have_any_size(tool: Tool, tmp_path: Path, size: tuple[int, int]) -> None:
    image = still(tmp_path / "image.png", "color=red:s={w}x{h}", size=size)
    over = Overlay(0, Point(0.5, 0.5), 0.5, 1.0, 0, 3)
    for number, canvas in enumerate(CANVASES):
        spec = Spec((Shot(Colour(0)),), 3, canvas, Quality.NEAR_LOSSLESS, overlays=(over,))
        frames = list(media.pictures(await render_clips(tool, tmp_path / f"{number}", [image], spec)))
        assert len(frames) == 3
        assert is_red_in_its_middle(frames[1]), canvas
