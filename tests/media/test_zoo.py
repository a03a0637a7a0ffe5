"""Every kind of source is accepted and rendered: upright, complete, in its colours, without combing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from services.media.encoding import Quality
from services.processing import command, graph
from services.processing.render import render
from services.processing.spec import Canvas, Clip, Fit, Shot, Spec, Still
from services.validation.probe import TimeRange, probe
from tests import media
from tests.media.drawing import make_tool
from tests.media.zoo import MEMBERS, SECONDS, Zoo
from tests.sources import LIMITS, probe_source

# Closer than what other tests allow.
CLOSE = replace(LIMITS, max_duration_seconds=60.0, memory_bytes=512 << 20, seconds=10)
TOOL = make_tool()
WIDTH, HEIGHT, FRAMES = 160, 90, 8
COLOURS = {**media.COLOURS, "grey": (128, 128, 128)}


async def render_frames(zoo: Zoo, name: str, folder: Path, start: float = 0.0) -> list[media.Picture]:
    """The pictures of a segment that shows a member, stretched to the canvas."""
    source = folder / graph.source_name(0)
    source.symlink_to(zoo[name])
    shows = Still(0) if MEMBERS[name].still else Clip(0, timedelta(seconds=start))
    spec = Spec((Shot(shows, Fit.STRETCH),), FRAMES, Canvas(WIDTH, HEIGHT, 30), Quality.NEAR_LOSSLESS)
    await render(spec, [await probe_source(source)], folder, TOOL)
    video = media.probe(folder / command.SEGMENT)
    assert (video.width, video.height, video.frames) == (WIDTH, HEIGHT, FRAMES)
    assert (video.pixels, video.colours, video.square) == ("yuv420p", (1, 1, 1, 1), True)
    return list(media.pictures(folder / command.SEGMENT))


def quarters(pixels: media.Picture) -> list[NDArray[np.float64]]:
    """The mean colours of the four quarters, as far as they are away from their edges."""
    rows = (slice(4, HEIGHT // 4), slice(-HEIGHT // 4, -4))
    columns = (slice(4, WIDTH // 4), slice(-WIDTH // 4, -4))
    return [pixels[row, column].mean(axis=(0, 1)) for row in rows for column in columns]


@pytest.mark.parametrize("name", MEMBERS)
async def test_validation_accepts_the_source(zoo: Zoo, name: str) -> None:
    member = MEMBERS[name]
    facts = await probe(zoo[name], TimeRange(), CLOSE)
    assert (facts.video_codec, facts.width, facts.height) == (member.codec, *member.size)
    assert (facts.has_audio, facts.still) == (member.has_audio, member.still)
    if not member.still:
        assert facts.duration_seconds == pytest.approx(SECONDS, abs=0.09)
        assert float(facts.rate or 0) == pytest.approx(member.rate, rel=0.05)


@pytest.mark.parametrize("name", [name for name, member in MEMBERS.items() if member.quarters])
async def test_processing_shows_the_source(zoo: Zoo, name: str, tmp_path: Path) -> None:
    member = MEMBERS[name]
    assert member.quarters
    pixels = await render_frames(zoo, name, tmp_path)
    for number in (0, FRAMES - 1):
        for found, colour in zip(quarters(pixels[number]), member.quarters, strict=True):
            assert np.abs(found - COLOURS[colour]).max() <= member.tolerance, (number, colour, found)


@pytest.mark.parametrize("name", ["pq.mp4", "hlg.mov", "pq_odd.mkv"])
async def test_hdr_is_tone_mapped_to_sdr(zoo: Zoo, name: str, tmp_path: Path) -> None:
    grey, white, red, green = quarters((await render_frames(zoo, name, tmp_path))[3])
    # A grey card is 118 in sRGB. Taken for BT.709, PQ would show it at 96 and white at 147.
    assert np.abs(grey - 112).max() <= 10
    assert white.min() >= 205 and white.max() <= 235
    assert red[0] > 195 and red[1:].max() < 40, "not washed out"
    assert green[1] > 195 and green[[0, 2]].max() < 40, "not washed out"


@pytest.mark.parametrize("name", ["interlaced.ts", "interlaced.mp4"])
@pytest.mark.parametrize("start", [0.0, 0.28])
async def test_interlaced_sources_show_no_combing(zoo: Zoo, name: str, start: float, tmp_path: Path) -> None:
    for pixels in await render_frames(zoo, name, tmp_path, start):
        light = pixels[..., 1].astype(float)
        assert light.max() - light.min() > 150, "the bars are there"
        across = np.abs(light[1:-1] * 2 - light[:-2] - light[2:])
        assert across.mean() < 12, "neighbouring rows are alike"


@pytest.mark.parametrize("name", ["moving.gif", "moving.webp"])
async def test_an_animation_moves_and_starts_at_any_time(zoo: Zoo, name: str, tmp_path: Path) -> None:
    # A black block of 8x8 wanders by 8 pixels each of its frames, 25 a second, from the left edge.
    for start in (0.0, 0.2):
        folder = tmp_path / f"{start}"
        folder.mkdir()
        for number, pixels in enumerate(await render_frames(zoo, name, folder, start)):
            row = pixels[HEIGHT * 28 // 72, :].astype(int).max(axis=1)
            begins = int(np.argmax(row < 60)) / WIDTH * 128 / 8
            assert begins == pytest.approx((start + number / 30) * 25, abs=1.1), (start, number)


async def test_a_part_of_an_interlaced_source_equals_the_whole_there(zoo: Zoo, tmp_path: Path) -> None:
    early, late = tmp_path / "early", tmp_path / "late"
    early.mkdir()
    late.mkdir()
    whole = await render_frames(zoo, "interlaced.mp4", early)
    part = await render_frames(zoo, "interlaced.mp4", late, start=4 / 30)
    for number in range(4):
        assert np.abs(part[number].astype(int) - whole[number + 4]).mean() < 3, number
