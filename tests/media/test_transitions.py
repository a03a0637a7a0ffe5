"""Transitions: which shot shows where, at a quarter, half and three quarters of the way, and at both ends."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from moneyprinter.errors import FailedPrecondition
from services.media.encoding import Quality
from services.processing.render import Tool
from services.processing.spec import Canvas, Clip, Colour, Shot, Spec, Transition
from tests import media
from tests.media.drawing import render_clips

RED, BLUE = Shot(Colour(0xFF0000)), Shot(Colour(0x0000FF))
CANVAS = Canvas(160, 90, 25)

# Of 7 frames, 1, 3 and 5 are at a quarter, half and three quarters of the way.
QUARTERS = (1, 3, 5)
# Where they are looked at: left, right, top, bottom, in the middle of a quarter of the picture.
PLACES = {"left": (45, 10), "right": (45, 149), "top": (6, 80), "bottom": (83, 80)}


async def render_frames(
    tool: Tool, folder: Path, kind: Transition, shots: tuple[Shot, Shot] = (RED, BLUE)
) -> list[np.ndarray]:
    """The seven frames of a transition."""
    spec = Spec(shots, 7, CANVAS, Quality.NEAR_LOSSLESS, kind)
    return list(media.pictures(await render_clips(tool, folder / "work", (), spec)))


@pytest.mark.parametrize(
    ("kind", "halves"),
    [
        (Transition.CROSSFADE, ((191, 0, 64), (127, 0, 127), (64, 0, 191))),
        (Transition.FADE_BLACK, ((127, 0, 0), (0, 0, 0), (0, 0, 127))),
        (Transition.FADE_WHITE, ((255, 127, 127), (255, 255, 255), (127, 127, 255))),
    ],
)
async def test_fades_mix_the_whole_picture(
    tool: Tool, tmp_path: Path, kind: Transition, halves: tuple[tuple[int, int, int], ...]
) -> None:
    frames = await render_frames(tool, tmp_path, kind)
    assert len(frames) == 7
    for frame, colour in zip(QUARTERS, halves, strict=True):
        assert np.abs(frames[frame].astype(int) - colour).max() <= 8, (frame, frames[frame][45, 80])


@pytest.mark.parametrize(
    ("kind", "first", "last"),
    [
        (Transition.SLIDE_LEFT, "right", "left"),
        (Transition.SLIDE_RIGHT, "left", "right"),
        (Transition.SLIDE_UP, "bottom", "top"),
        (Transition.SLIDE_DOWN, "top", "bottom"),
        (Transition.WIPE_LEFT, "right", "left"),
        (Transition.WIPE_RIGHT, "left", "right"),
        (Transition.WIPE_UP, "bottom", "top"),
        (Transition.WIPE_DOWN, "top", "bottom"),
    ],
)
async def test_slides_and_wipes_go_from_one_side_to_the_other(
    tool: Tool, tmp_path: Path, kind: Transition, first: str, last: str
) -> None:
    frames = await render_frames(tool, tmp_path, kind)
    for frame, share in zip(QUARTERS, (0.25, 0.5, 0.75), strict=True):
        blue = frames[frame][..., 2] > frames[frame][..., 0]
        assert blue[PLACES[first]] and not blue[PLACES[last]], frame
        assert abs(blue.mean() - share) < 0.03, frame


async def test_a_slide_moves_both_shots_and_a_wipe_neither(tool: Tool, tmp_path: Path) -> None:
    from_left = "color=black:s={w}x{h}:r={rate},geq=lum='20+X':cb=128:cr=128"
    clip = media.clip(tmp_path / "clip.mp4", from_left, size=(160, 90), rate="25")
    shots = (Shot(Clip(0)), Shot(Clip(0, timedelta(seconds=0.4))))
    middle = {}
    for kind in (Transition.SLIDE_LEFT, Transition.WIPE_LEFT):
        spec = Spec(shots, 7, CANVAS, Quality.NEAR_LOSSLESS, kind)
        made = await render_clips(tool, tmp_path / kind.name, [clip], spec)
        middle[kind] = list(media.pictures(made))[3][45, :, 1].astype(int)
    pure = middle[Transition.WIPE_LEFT]
    assert np.all(np.diff(pure[4:-4]) >= -2), "a wipe of a picture to itself is that picture"
    moved = middle[Transition.SLIDE_LEFT]
    assert np.abs(moved[8:72] - pure[88:152]).max() <= 4 and np.abs(moved[88:152] - pure[8:72]).max() <= 4


async def test_a_zoom_magnifies_the_first_shot_until_the_second_appears(tool: Tool, tmp_path: Path) -> None:
    # A white square in the middle of a red picture.
    picture = "color=red:s={w}x{h}:r={rate},drawbox=x=60:y=25:w=40:h=40:c=white:t=fill"
    clip = media.clip(tmp_path / "clip.mp4", picture, size=(160, 90), rate="25")
    spec = Spec((Shot(Clip(0)), BLUE), 7, CANVAS, Quality.NEAR_LOSSLESS, Transition.ZOOM)
    frames = list(media.pictures(await render_clips(tool, tmp_path / "work", [clip], spec)))
    white = [int((frame.min(axis=2) > 200).sum()) for frame in frames]
    assert 1600 < white[0] < white[1] < white[2], white
    blue = [float((frame[..., 2] > frame[..., 1] + 9.0).mean()) for frame in frames]
    assert blue[0] < 0.001 and blue[-1] == 1


@pytest.mark.parametrize("kind", list(Transition))
async def test_neither_end_repeats_a_neighbour(tool: Tool, tmp_path: Path, kind: Transition) -> None:
    frames = await render_frames(tool, tmp_path, kind)
    assert len(frames) == 7
    pure_red, pure_blue = np.array((251, 0, 0)), np.array((0, 0, 252))
    if kind is not Transition.ZOOM:  # The nearer a plain colour comes, the same it is.
        assert np.abs(frames[0].astype(int) - pure_red).max() > 20
    assert np.abs(frames[0].astype(int) - pure_red).mean() < 45, "the first frame is nearly the first shot's"
    assert np.abs(frames[-1].astype(int) - pure_blue).mean() < 45, "the last one is nearly the second's"


@pytest.mark.parametrize("kind", [Transition.CROSSFADE, Transition.FADE_WHITE])
@pytest.mark.parametrize("frames", [1, 2, 5])
async def test_a_transition_may_be_short(tool: Tool, tmp_path: Path, kind: Transition, frames: int) -> None:
    spec = Spec((RED, BLUE), frames, CANVAS, Quality.NEAR_LOSSLESS, kind)
    assert media.probe(await render_clips(tool, tmp_path / "work", (), spec)).frames == frames


async def test_both_shots_of_a_transition_may_be_the_same(tool: Tool, tmp_path: Path) -> None:
    frames = await render_frames(tool, tmp_path, Transition.CROSSFADE, (RED, RED))
    assert np.abs(np.array(frames).astype(int) - (251, 0, 0)).max() <= 4


@pytest.mark.parametrize("kind", [Transition.CROSSFADE, Transition.FADE_BLACK])
@pytest.mark.parametrize("which", [0, 1])
async def test_a_clip_that_ends_before_the_transition_is_reported(
    tool: Tool, tmp_path: Path, kind: Transition, which: int
) -> None:
    clip = media.clip(tmp_path / "clip.mp4", size=(160, 90), rate="25", seconds=0.4)
    short = Shot(Clip(0))
    shots = (short, BLUE) if which == 0 else (RED, short)
    spec = Spec(shots, 150, CANVAS, Quality.DRAFT, kind)
    with pytest.raises(FailedPrecondition, match="a clip ends") as refused:
        await render_clips(tool, tmp_path / "work", [clip], spec)
    assert refused.value.reason == "RENDER_FAILED"


async def test_a_zoom_keeps_its_content(tool: Tool, tmp_path: Path) -> None:
    """It used to come so near that a single blurred colour was left of it."""
    first = media.clip(tmp_path / "clip.mp4", "testsrc2=s={w}x{h}:r={rate}", size=(160, 90), rate="25")
    spec = Spec((Shot(Clip(0)), Shot(Clip(0))), 15, CANVAS, Quality.NEAR_LOSSLESS, Transition.ZOOM)
    for number, frame in enumerate(media.pictures(await render_clips(tool, tmp_path / "work", [first], spec))):
        assert frame.std() > 40, number
