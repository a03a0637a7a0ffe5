"""The rendering engine through the whole platform: stills, transitions, logos, scenes, and the reuse of work."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests import media
from tests.e2e.conftest import RunningPlatform
from tests.e2e.test_rest import wait_until_ended

SMALL = {"resolution": "480p", "aspect_ratio": "16:9", "quality": "draft"}
SCRIPT = "Red and green above. Blue and white below. That is all there is to see."


async def upload(platform: RunningPlatform, path: Path) -> str:
    answer = await platform.http.post(f"/v1/assets?filename={path.name}", content=path.read_bytes())
    assert answer.status_code == 201, answer.text
    return str(answer.json()["asset_id"])


async def wait_for_video(platform: RunningPlatform, created: httpx.Response) -> dict[str, Any]:
    """Wait until the video of an accepted request is finished, and return it."""
    assert created.status_code == 202, created.text
    status = await wait_until_ended(platform, created.json()["job_id"])
    assert status["status"] == "completed", status["error"]
    video: dict[str, Any] = (await platform.http.get(f"/v1/videos/{created.json()['job_id']}")).json()["video"]
    return video


async def content(platform: RunningPlatform, video: dict[str, Any]) -> bytes:
    return (await platform.http.get(f"/v1{video['result_url']}")).content


@pytest.fixture
def still(tmp_path: Path) -> Path:
    """A magenta still image."""
    path = tmp_path / "still.png"
    media.ffmpeg("-f", "lavfi", "-i", "color=magenta:s=320x180", "-frames:v", "1", path)
    return path


@pytest.fixture
def logo(tmp_path: Path) -> Path:
    """A small black square."""
    path = tmp_path / "logo.png"
    media.ffmpeg("-f", "lavfi", "-i", "color=black:s=64x64", "-frames:v", "1", path)
    return path


async def test_clips_stills_transitions_and_a_logo_make_one_video(
    platform: RunningPlatform, clip: Path, still: Path, logo: Path, tmp_path: Path
) -> None:
    request = {
        "title": "All of it",
        "clips": [
            {"asset_id": await upload(platform, clip), "fit": "blur", "speed": 1.5},
            {"asset_id": await upload(platform, still), "motion": "none"},
        ],
        "audio": {"script": SCRIPT},
        "settings": {**SMALL, "frame_rate": 25, "transition": "crossfade", "transition_duration": 0.4},
        "captions": {"position": "top", "box_colour": "#202020", "highlight": "word"},
        "overlays": [{"asset_id": await upload(platform, logo), "position": "bottom_right", "width": 0.1}],
    }
    video = await wait_for_video(platform, await platform.http.post("/v1/videos", json=request))
    file = tmp_path / "video.mp4"
    file.write_bytes(await content(platform, video))
    probed = media.probe(file)
    assert (probed.width, probed.height) == (854, 480)
    assert probed.rate == 25
    steps = np.diff([float(time) for time in probed.times])
    assert np.allclose(steps, 1 / 25, atol=1e-3)
    pictures = list(media.pictures(file))
    assert media.is_near(pictures[5][240, 100], "red", 60) or media.is_near(pictures[5][240, 100], "blue", 60)
    magenta = np.abs(pictures[-5][400, 100].astype(int) - (255, 0, 255)).max()
    assert magenta <= 40, "the still is shown last"
    between = [picture[300, 100].astype(int) for picture in pictures]
    assert any(60 < pixel[0] < 200 or 60 < pixel[2] < 200 for pixel in between), "they fade into each other"
    for picture in pictures:
        assert picture[440, 800].max() < 40, "the logo is on every frame"


async def test_scenes_keep_their_words_and_their_clips_together(
    platform: RunningPlatform, clip: Path, still: Path, tmp_path: Path
) -> None:
    scenes = [
        {"asset_id": await upload(platform, still), "script": "First a picture.", "motion": "none"},
        {"asset_id": await upload(platform, clip), "script": "Then a clip with four colours."},
    ]
    request = {"title": "Scenes", "clips": scenes, "settings": SMALL, "captions": {"position": "none"}}
    video = await wait_for_video(platform, await platform.http.post("/v1/videos", json=request))
    file = tmp_path / "video.mp4"
    file.write_bytes(await content(platform, video))
    captions = (await platform.http.get(f"/v1/videos/{video['job_id']}/files/captions.vtt")).text
    assert captions.startswith("WEBVTT")
    begins = captions.split("Then")[0].strip().splitlines()[-1].split(" --> ")[0].split(":")
    second = float(begins[-1]) + 60 * float(begins[-2])
    colours = [picture[240, 427] for picture in media.pictures(file)]
    magenta = [bool(np.abs(colour.astype(int) - (255, 0, 255)).max() < 40) for colour in colours]
    cut = magenta.index(False)
    assert not any(magenta[cut:])
    assert cut / 30 == pytest.approx(second, abs=0.05)


async def test_a_repeated_request_gives_the_same_file_and_a_change_renders_only_its_part(
    platform: RunningPlatform, clip: Path, still: Path
) -> None:
    first_clip, second_clip = await upload(platform, clip), await upload(platform, still)
    request = {
        "title": "Twice",
        "clips": [{"asset_id": first_clip}, {"asset_id": second_clip}],
        "audio": {"script": SCRIPT, "background_music": "calm"},
        "settings": SMALL,
    }
    first = await wait_for_video(platform, await platform.http.post("/v1/videos", json=request))
    again = await wait_for_video(platform, await platform.http.post("/v1/videos", json=request))
    assert again["segments"]["reused"] == again["segments"]["total"] == first["segments"]["total"]
    digests = {hashlib.sha256(await content(platform, video)).hexdigest() for video in (first, again)}
    assert len(digests) == 1, "byte for byte"
    changes = {"clips": [{"asset_id": first_clip}, {"asset_id": second_clip, "motion": "zoom_out"}]}
    changed = await platform.http.post(f"/v1/videos/{first['job_id']}/revise", json=changes)
    revised = await wait_for_video(platform, changed)
    assert 0 < revised["segments"]["reused"] < revised["segments"]["total"] == revised["segments"]["done"]


async def test_thumbnails_come_with_a_video(platform: RunningPlatform, clip: Path, tmp_path: Path) -> None:
    request = {"title": "Small", "clips": [{"asset_id": await upload(platform, clip)}], "settings": SMALL}
    video = await wait_for_video(
        platform, await platform.http.post("/v1/videos", json={**request, "audio": {"script": "Hi."}})
    )
    answer = await platform.http.get(f"/v1/videos/{video['job_id']}/files/thumbnails.jpg")
    assert answer.headers["content-type"] == "image/jpeg"
    file = tmp_path / "thumbnails.jpg"
    file.write_bytes(answer.content)
    [strip] = media.pictures(file)
    assert strip.shape[0] == 160
    assert strip.shape[1] > 10 * 160


async def test_clip_sound_is_mixed_under_the_voice(platform: RunningPlatform, tmp_path: Path) -> None:
    noisy = media.clip(tmp_path / "noisy.mp4", seconds=3.0, sound=True)
    asset = await upload(platform, noisy)
    found = []
    for volume in (0, 1):
        clips = [{"asset_id": asset, "sound_volume": volume}]
        request = {"title": "Loud", "clips": clips, "settings": SMALL, "audio": {"script": "Hi."}}
        video = await wait_for_video(platform, await platform.http.post("/v1/videos", json=request))
        file = tmp_path / f"video-{volume}.mp4"
        file.write_bytes(await content(platform, video))
        sound, rate = media.samples(file)
        spectrum = np.abs(np.fft.rfft(sound[:, 0]))
        tone = round(440 * len(sound) / rate)
        found.append(spectrum[tone - 2 : tone + 3].max() / np.sqrt((spectrum**2).mean()))
    assert found[1] > 5 * found[0], "the tone of the clip is heard"
