"""Videos and animations as overlays: they move, loop, continue across segments, and stay transparent."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from services.media.encoding import Quality
from services.processing.render import Tool
from services.processing.spec import Canvas, Colour, Overlay, Point, Shot, Spec
from tests import media
from tests.media.drawing import render_clips
from tests.media.zoo import Zoo

CANVAS = Canvas(160, 90, 25)
BLUE = Shot(Colour(0x0000FF))


async def render_frames(tool: Tool, folder: Path, source: Path, overlay: Overlay, frames: int) -> list[media.Picture]:
    spec = Spec((BLUE,), frames, CANVAS, Quality.NEAR_LOSSLESS, overlays=(overlay,))
    return list(media.pictures(await render_clips(tool, folder, [source], spec)))


@pytest.mark.parametrize("name", ["glass.webm", "glass.mov", "glass_rle.mov"])
async def test_transparent_parts_of_a_video_show_the_frame_below(
    tool: Tool, zoo: Zoo, tmp_path: Path, name: str
) -> None:
    frames = await render_frames(tool, tmp_path / "work", zoo[name], Overlay(0, Point(0.5, 0.5), 1.0, 1.0, 0, 40), 40)
    assert len(frames) == 40
    for frame in (frames[2], frames[38]):
        assert media.is_near(frame[22, 40], "white") and media.is_near(frame[67, 120], "blue")
        assert 90 < frame[22, 120, 0] < 165, "half of it shines through"


async def test_a_moving_overlay_loops_and_continues_in_the_next_segment(tool: Tool, tmp_path: Path) -> None:
    source = media.numbered(tmp_path / "numbers.mp4", rate="25", seconds=0.8, size=(160, 90))
    whole = Overlay(0, Point(0.5, 0.5), 1.0, 1.0, 5, 30)
    frames = await render_frames(tool, tmp_path / "one", source, whole, 40)
    numbers = [round((16 + float(frame[45, 80].mean()) * 219 / 255 - 20) / 3) for frame in frames[5:35]]
    assert numbers == [n % 20 for n in range(30)]
    assert media.is_near(frames[4][45, 80], "blue") and media.is_near(frames[35][45, 80], "blue")
    later = Overlay(0, Point(0.5, 0.5), 1.0, 1.0, 0, 10, start=timedelta(seconds=12 / 25))
    frames = await render_frames(tool, tmp_path / "other", source, later, 10)
    numbers = [round((16 + float(frame[45, 80].mean()) * 219 / 255 - 20) / 3) for frame in frames]
    assert numbers == [n % 20 for n in range(12, 22)]


async def test_an_animation_can_be_an_overlay(tool: Tool, zoo: Zoo, tmp_path: Path) -> None:
    frames = await render_frames(
        tool, tmp_path / "work", zoo["moving.gif"], Overlay(0, Point(0.5, 0.5), 1.0, 1.0, 0, 30), 30
    )
    assert np.abs(frames[2].astype(int) - frames[10]).mean() > 0.5
    assert np.abs(frames[2].astype(int) - frames[17]).mean() < 1.5, "0.6 s later it is the same again"
