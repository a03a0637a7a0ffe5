"""Animated backgrounds: every design moves smoothly, in every shape, and continues from segment to segment."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from services.media.encoding import Quality
from services.processing.render import Tool
from services.processing.spec import Background, Canvas, Shot, Spec, Transition
from tests import media
from tests.media.drawing import render_clips

COLOURS = (0x061A24, 0x0F4C5C, 0x1B9AAA, 0x7AE7C7)


async def draw(
    tool: Tool, folder: Path, seed: int, size: tuple[int, int], frames: int, first_frame: int = 0
) -> list[media.Picture]:
    shot = Shot(Background(seed, COLOURS, first_frame))
    spec = Spec((shot,), frames, Canvas(*size, 30), Quality.NEAR_LOSSLESS)
    return list(media.pictures(await render_clips(tool, folder, [], spec)))


def difference(one: media.Picture, other: media.Picture) -> float:
    return float(np.abs(one.astype(int) - other).mean())


@pytest.mark.parametrize(("seed", "size"), [(4, (90, 160)), (5, (90, 160)), (6, (160, 90)), (7, (120, 120))], ids=str)
async def test_each_design_moves_smoothly(tool: Tool, tmp_path: Path, seed: int, size: tuple[int, int]) -> None:
    frames = await draw(tool, tmp_path / "work", seed, size, 40)
    assert len(frames) == 40
    assert difference(frames[0], frames[39]) > 1.5
    assert max(difference(*pair) for pair in pairwise(frames)) < 2.5
    # Bright enough to look at, and dark enough for white captions.
    assert 15 < frames[30].mean() < 170
    assert frames[30].std() > 8


@pytest.mark.parametrize("seed", [5, 6, 7])
async def test_a_background_continues_in_the_next_segment(tool: Tool, tmp_path: Path, seed: int) -> None:
    whole = await draw(tool, tmp_path / "whole", seed, (90, 160), 30)
    later = await draw(tool, tmp_path / "later", seed, (90, 160), 10, first_frame=20)
    assert max(difference(*pair) for pair in zip(whole[20:], later, strict=True)) < 1.5, "but for the encoder's errors"
    assert difference(whole[29], later[9]) < difference(whole[20], later[9]) / 2


async def test_the_seed_decides_the_picture(tool: Tool, tmp_path: Path) -> None:
    first, same, other = [
        (await draw(tool, tmp_path / name, seed, (90, 160), 1))[0]
        for name, seed in (("first", 9), ("same", 9), ("other", 13))
    ]
    assert np.array_equal(first, same)
    assert difference(first, other) > 3


async def test_a_transition_leads_from_one_background_to_another(tool: Tool, tmp_path: Path) -> None:
    shots = Shot(Background(4, COLOURS)), Shot(Background(4, (0, 0xFFFFFF)))
    spec = Spec(shots, 10, Canvas(90, 160, 30), Quality.NEAR_LOSSLESS, transition=Transition.CROSSFADE)
    frames = list(media.pictures(await render_clips(tool, tmp_path / "work", [], spec)))
    assert len(frames) == 10
    assert difference(frames[0], frames[9]) > 5
