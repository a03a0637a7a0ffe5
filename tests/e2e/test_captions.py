"""Captions of a finished video: in the requested style, visible only while their words are spoken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pysubs2
import pytest

from tests import media
from tests.e2e.conftest import RunningPlatform
from tests.e2e.test_engine import wait_for_video
from tests.e2e.test_outputs import file

NOBODY_HAS = "\ue123"
BLACK = {"colour": "#000000", "duration": 1.5}
SETTINGS = {"width": 320, "height": 180, "quality": "draft", "frame_rate": 50}


def has_text(video: Path) -> list[bool]:
    """Report, for each frame of a black video, whether it has anything bright."""
    return [bool((picture > 150).any()) for picture in media.pictures(video)]


@pytest.mark.parametrize("style", [{}, {"highlight": "word", "pop": True, "font": "Manrope Bold", "margin": 0.2}])
async def test_captions_are_visible_only_while_their_words_are_spoken(
    platform: RunningPlatform, tmp_path: Path, style: dict[str, object]
) -> None:
    request = {
        "title": "Captions",
        "clips": [BLACK, {**BLACK, "transition": "fade_black"}],
        "audio": {"script": "One, two, three. And now it is quiet for a moment. This is the end."},
        "settings": SETTINGS,
        "captions": style,
    }
    video = await wait_for_video(platform, await platform.http.post("/v1/videos", json=request))
    shown = has_text(await file(platform, video, "video.mp4", tmp_path))
    cues = pysubs2.load(str(await file(platform, video, "captions.srt", tmp_path)))
    assert len(cues) == 3 and video["segments"]["total"] > 2 and not video["missing_glyphs"]
    for number, seen in enumerate(shown):
        time = number * 1000 / 50
        if all(abs(time - edge) > 40 for cue in cues for edge in (cue.start, cue.end)):
            assert seen == any(cue.start <= time < cue.end for cue in cues), f"at {time} ms"


async def test_titles_are_shown_with_their_clip_and_missing_glyphs_are_reported(
    platform: RunningPlatform, tmp_path: Path
) -> None:
    request = {
        "title": "Titles",
        "clips": [
            {"colour": "#000000", "script": "One, two, three."},
            {"colour": "#000000", "script": "And now it is over.", "title": f"Part two{NOBODY_HAS}"},
        ],
        "settings": SETTINGS,
        "captions": {"position": "none"},
    }
    video = await wait_for_video(platform, await platform.http.post("/v1/videos", json=request))
    assert video["missing_glyphs"] == NOBODY_HAS
    shown = np.flatnonzero(has_text(await file(platform, video, "video.mp4", tmp_path)))
    [_, second] = pysubs2.load(str(await file(platform, video, "captions.srt", tmp_path)))
    # It fades in for a quarter of a second.
    assert 0 <= shown[0] / 50 - second.start / 1000 < 0.25
    assert len(shown) == shown[-1] - shown[0] + 1
    assert "Part two" in (await file(platform, video, "captions.ass", tmp_path)).read_text()


@pytest.mark.parametrize(
    ("captions", "messages"),
    [
        ({"font": "Nobody Sans"}, ("FONT_UNKNOWN", "Manrope Bold")),
        ({"font": "Manrope,20\n"}, ("REQUEST_INVALID", "captions.font")),
        ({"margin": 0.9}, ("REQUEST_INVALID", "captions.margin")),
    ],
)
async def test_a_missing_font_is_refused_at_once(
    platform: RunningPlatform, captions: dict[str, object], messages: tuple[str, ...]
) -> None:
    answer = await platform.http.post("/v1/videos", json={"title": "No", "clips": [BLACK], "captions": captions})
    assert answer.status_code == 400
    assert all(text in answer.text for text in messages), answer.text
