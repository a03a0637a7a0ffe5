"""Poster and thumbnails: the best frame of a video, and ten evenly spread frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from moneyprinter.errors import FailedPrecondition
from services.rendering import finish, previews
from tests import media
from tests.media import Picture
from tests.media.parts import ENCODE, video_track


async def poster(folder: Path) -> Picture:
    """Returns the poster of the video track in the folder."""
    await previews.write_previews(folder)
    (taken,) = media.pictures(folder / finish.POSTER)
    return taken


async def test_the_poster_is_not_the_black_start_and_keeps_its_colours(tmp_path: Path) -> None:
    video_track(tmp_path, media.CORNERS + ",drawbox=t=fill:c=black:enable='lt(n,60)'", seconds=6)
    taken = await poster(tmp_path)
    assert (tmp_path / finish.POSTER).read_bytes().startswith(b"\xff\xd8\xff")
    assert taken.shape == (180, 320, 3)
    places = taken[[20, 20, 160, 160], [20, 300, 20, 300]]
    for colour, pixel in zip(("red", "lime", "blue", "white"), places, strict=True):
        assert media.is_near(pixel, colour, tolerance=12), (colour, pixel)


SCENE = "testsrc2=s={w}x{h}:r={rate}"


@pytest.mark.parametrize(
    "spoilt",
    [
        "drawbox=t=fill:c=black",
        "drawbox=t=fill:c=white",
        "drawbox=t=fill:c=0x8090a0",
        "gblur=sigma=12",
        "eq=contrast=0.25:brightness=-0.35:saturation=0.3",
    ],
    ids=["black", "white", "blank", "blurred", "dim"],
)
async def test_the_poster_is_the_only_unspoilt_frame(tmp_path: Path, spoilt: str) -> None:
    # Unspoilt for a second from 3.2 s on, between key frames.
    good = "between(n,96,126)"
    video_track(tmp_path, f"{SCENE},{spoilt}:enable='not({good})'", seconds=6)
    taken = await poster(tmp_path)
    frames = [frame.astype(int) for frame in media.pictures(tmp_path / finish.VIDEO_TRACK)]
    best = min(range(180), key=lambda number: float(np.abs(frames[number] - taken).mean()))
    assert 96 <= best <= 126


async def test_the_poster_is_not_from_the_middle_of_a_crossfade(tmp_path: Path) -> None:
    # Two stills, with a crossfade from 0.8 to 5.6 s.
    chain = (
        "mandelbrot=s={w}x{h}:r={rate}:start_scale=2,trim=end_frame=1,loop=-1:1,format=yuv420p[a];"
        f"{media.CORNERS},format=yuv420p[b];"
        "[a][b]blend=all_expr='A*(1-clip((T-0.8)/4.8,0,1))+B*clip((T-0.8)/4.8,0,1)',trim=duration=6"
    )
    video_track(tmp_path, chain, seconds=6)
    taken = await poster(tmp_path)
    frames = list(media.pictures(tmp_path / finish.VIDEO_TRACK))
    assert min(float(np.abs(frames[end].astype(int) - taken).mean()) for end in (0, -1)) < 4


async def test_the_thumbnails_are_ten_and_evenly_spread(tmp_path: Path) -> None:
    media.numbered(tmp_path / "picture.mp4", seconds=2, size=(64, 36), encode=ENCODE).rename(
        tmp_path / finish.VIDEO_TRACK
    )
    await previews.write_previews(tmp_path)
    (strip,) = media.pictures(tmp_path / finish.THUMBNAILS)
    assert strip.shape == (160, 10 * 284, 3)
    greys = [float(strip[40:120, 284 * n + 80 : 284 * n + 200].mean()) for n in range(10)]
    # Frame number N shows the luma 20 + 3 N, which as RGB is 1.164 times what it is above 16.
    shown = [(16 + grey * 219 / 255 - 20) / 3 for grey in greys]
    for number, frame in enumerate(shown):
        assert frame == pytest.approx((number + 0.5) * 6, abs=2.6)


async def test_a_video_of_one_frame_has_a_poster_and_thumbnails(tmp_path: Path) -> None:
    video_track(tmp_path, seconds=1 / 30)
    taken = await poster(tmp_path)
    assert taken.shape == (180, 320, 3)
    (strip,) = media.pictures(tmp_path / finish.THUMBNAILS)
    assert strip.shape == (160, 10 * 284, 3)


async def test_a_file_that_is_no_video_is_reported(tmp_path: Path) -> None:
    (tmp_path / finish.VIDEO_TRACK).write_bytes(b"#EXTM3U\nhttp://127.0.0.1/x.mp4\n" * 100)
    with pytest.raises(FailedPrecondition, match="cannot be finished") as failure:
        await previews.write_previews(tmp_path)
    assert failure.value.reason == "RENDER_FAILED"
    assert str(tmp_path) not in failure.value.message
