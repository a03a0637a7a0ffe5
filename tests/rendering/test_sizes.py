"""Videos of every even size get a poster, thumbnails and an animation."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.rendering import finish, previews
from services.rendering.previews_child import (
    THUMBNAIL_HEIGHT,
    THUMBNAIL_WIDTH,
    THUMBNAILS,
    measured_size,
    thumbnail_size,
)
from tests import media
from tests.media.parts import video_track
from tests.mesh import ffmpeg_program

SMALLEST, LARGEST, MAX_PIXELS = 16, 8192, 14_745_600
JPEG_SIDE = 65_500

SAMPLE = [
    *((1200, 628), (820, 312), (312, 820), (960, 402), (728, 90), (1920, 804), (1920, 32), (16, 16)),
    *((18, 16), (8192, 16), (16, 8192), (8192, 1800), (1800, 8192), (482, 480), (2000, 18)),
]


def grid() -> list[tuple[int, int]]:
    """Returns even widths with heights of all magnitudes, and the reverse."""
    found = [
        (width, height)
        for width in range(SMALLEST, LARGEST + 1, 2)
        for height in {*range(SMALLEST, LARGEST + 1, 94), 18, 20, width, LARGEST}
        if width * height <= MAX_PIXELS
    ]
    return found + [(height, width) for width, height in found]


def test_thumbnails_and_measured_frames_have_even_sides_within_bounds() -> None:
    for width, height in grid():
        across, down = thumbnail_size(width, height)
        assert across % 2 == down % 2 == 0, (width, height)
        assert 2 <= across <= THUMBNAIL_WIDTH and 2 <= down <= THUMBNAIL_HEIGHT, (width, height)
        assert across * THUMBNAILS <= JPEG_SIDE
        assert across >= THUMBNAIL_WIDTH - 2 or down >= THUMBNAIL_HEIGHT - 2, "as large as it can be"
        across, down = measured_size(width, height)
        assert across % 2 == down % 2 == 0, (width, height)
        assert 2 <= across <= 480 and 2 <= down <= 480, (width, height)


@pytest.mark.parametrize("size", SAMPLE)
async def test_pictures_of_any_size_are_taken(tmp_path: Path, size: tuple[int, int]) -> None:
    shown = media.clip(
        tmp_path / "picture.mp4", size=size, rate="10", seconds=0.3, encode=("-c:v", "libx264", "-preset", "ultrafast")
    )
    shown.rename(tmp_path / finish.VIDEO_TRACK)
    await previews.write_previews(tmp_path)
    (poster,) = media.pictures(tmp_path / finish.POSTER)
    assert (poster.shape[1], poster.shape[0]) == size
    (strip,) = media.pictures(tmp_path / finish.THUMBNAILS)
    across, down = thumbnail_size(*size)
    assert (strip.shape[1], strip.shape[0]) == (THUMBNAILS * across, down)
    await finish.make_animation(tmp_path, ffmpeg_program(), 0.3)
    animation = next(iter(media.pictures(tmp_path / finish.ANIMATION)))
    assert max(animation.shape[:2]) == finish.ANIMATION_SIDE
    assert min(animation.shape[:2]) >= 2 and not any(side % 2 for side in animation.shape[:2])


async def test_an_odd_side_after_scaling_is_rounded(tmp_path: Path) -> None:
    # 628 becomes 251.2 where 1200 becomes 480, the side at which frames are measured.
    video_track(tmp_path, "testsrc2=s=1200x628:r={rate}", seconds=0.5)
    seen = await previews.write_previews(tmp_path)
    assert not seen.black
