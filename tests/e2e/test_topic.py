"""A topic alone makes a video, without a connection to anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import media
from tests.e2e.conftest import RunningPlatform
from tests.e2e.test_engine import upload, wait_for_video
from tests.e2e.test_outputs import file

SMALL = {"resolution": "480p", "quality": "draft", "frame_rate": 24}


async def test_a_topic_makes_a_video_and_a_changed_scene_leaves_the_others(
    platform: RunningPlatform, clip: Path, tmp_path: Path
) -> None:
    sea = tmp_path / "salty-sea.mp4"
    sea.write_bytes(clip.read_bytes())
    asset = await upload(platform, sea)
    request: dict[str, Any] = {
        "title": "Why the sea is salty",
        "writing": {"language": "en", "seconds": 12, "scene_count": 2},
        "settings": SMALL,
    }
    several = {"title": request["title"], "languages": ["en", "de"]}
    refused = await platform.http.post("/v1/videos", json=several)
    assert (refused.status_code, "WRITER_MISSING" in refused.text) == (400, True), "nothing can be translated offline"
    video = await wait_for_video(platform, await platform.http.post("/v1/videos", json=request))
    assert (video["group_id"], video["language"]) == ("", "")
    scenes = video["scenes"]
    assert len(scenes) == 2
    assert scenes[0]["title"] == request["title"]
    assert all(scene["script"] and scene["search_terms"] and scene["cuts"] for scene in scenes)
    cuts = [cut for scene in scenes for cut in scene["cuts"]]
    assert [cut["asset_id"] for cut in cuts if cut.get("asset_id")] == [asset], "the upload is shown once"
    assert any(cut.get("background") for cut in cuts)
    assert (video["credits"], video["script_writer"]) == ([], "plain-template")
    assert sum(cut["duration"] for cut in cuts) == pytest.approx(video["duration"], abs=0.2)

    made = await file(platform, video, "video.mp4", tmp_path)
    pictures = list(media.pictures(made))
    shown = pictures[int(0.9 * len(pictures)) :]
    assert shown[0].mean() > 12, "a background is not black"
    assert np.abs(shown[0].astype(int) - shown[-1].astype(int)).mean() > 0.5, "it moves"
    captions = (await file(platform, video, "captions.srt", tmp_path)).read_text()
    assert scenes[0]["script"].split()[0] in captions

    changed = [scenes[0], {"script": "Rivers carry salt.", "title": "Salt", "search_terms": ["rivers"]}]
    revise = await platform.http.post(f"/v1/videos/{video['job_id']}/revise", json={"scenes": changed})
    revised = await wait_for_video(platform, revise)
    first, second = revised["scenes"]
    assert [(cut["id"], cut["start"]) for cut in first["cuts"]] == [
        (cut["id"], cut["start"]) for cut in scenes[0]["cuts"]
    ]
    assert (second["script"], second["title"], second["search_terms"]) == ("Rivers carry salt.", "Salt", ["rivers"])
    segments = revised["segments"]
    assert segments["reused"] >= len(first["cuts"]), segments
    assert segments["total"] - segments["reused"] <= len(second["cuts"]) + 1, segments
    captions = (await file(platform, revised, "captions.srt", tmp_path)).read_text()
    assert "Rivers carry salt." in captions


@pytest.mark.parametrize(
    ("title", "reason"),
    [("x" * 10_000, "REQUEST_INVALID"), ("", "REQUEST_INVALID"), ("?", "SCRIPT_EMPTY"), ("\u200b", "SCRIPT_EMPTY")],
)
async def test_a_topic_that_cannot_be_spoken_is_refused(platform: RunningPlatform, title: str, reason: str) -> None:
    refused = await platform.http.post("/v1/videos", json={"title": title, "settings": SMALL})
    assert refused.status_code == 400
    assert reason in refused.text
    assert "title" in refused.text


async def test_a_topic_of_one_character_is_accepted(platform: RunningPlatform) -> None:
    accepted = await platform.http.post("/v1/videos", json={"title": "海", "settings": SMALL, "review": "script"})
    assert accepted.status_code == 202
    await platform.http.delete(f"/v1/videos/{accepted.json()['job_id']}")
