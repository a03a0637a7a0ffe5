"""Videos without narration or clips, and videos that are black or silent on request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moneyprinter.client import Client
from moneyprinter.video.v1 import video_service_pb2 as pb
from tests import media
from tests.e2e.conftest import RunningPlatform
from tests.e2e.test_engine import content, upload, wait_for_video

TINY: dict[str, Any] = {"width": 160, "height": 90, "quality": "draft"}


async def make_video(platform: RunningPlatform, folder: Path, **request: Any) -> Path:
    """Make a video and return its file."""
    answer = await platform.http.post("/v1/videos", json={"title": "Without", "settings": TINY, **request})
    path = folder / "video.mp4"
    path.write_bytes(await content(platform, await wait_for_video(platform, answer)))
    return path


@pytest.mark.parametrize("audio", [{"voice": "none"}, {"script": ""}])
async def test_clips_and_music_make_a_video_as_long_as_the_clips(
    platform: RunningPlatform, clip: Path, tmp_path: Path, audio: dict[str, str]
) -> None:
    clips = [{"asset_id": await upload(platform, clip)}, {"colour": "#336699", "duration": 1.5}]
    path = await make_video(platform, tmp_path, clips=clips, audio={**audio, "background_music": "calm"})
    assert media.probe(path).seconds == pytest.approx(4.5, abs=0.05)
    assert media.loudness(path) == pytest.approx(-14, abs=1.0)


async def test_a_duration_is_filled(platform: RunningPlatform, clip: Path, tmp_path: Path) -> None:
    clips = [{"asset_id": await upload(platform, clip)}]
    settings = {**TINY, "duration": 4}
    path = await make_video(platform, tmp_path, clips=clips, audio={"voice": "none"}, settings=settings)
    assert media.probe(path).seconds == pytest.approx(4.0, abs=0.05)
    assert np.abs(media.samples(path)[0]).max() < 0.001, "nothing was asked to be heard"


async def test_a_script_without_clips_is_shown_over_colours_that_move(
    platform: RunningPlatform, tmp_path: Path
) -> None:
    path = await make_video(
        platform, tmp_path, audio={"script": "There is nothing to see."}, captions={"position": "none"}
    )
    frames = [frame.astype(int) for frame in media.pictures(path)]
    assert np.abs(frames[0] - frames[-1]).mean() > 1, "it moves"
    assert frames[0].std() > 5, "it has more than one colour"


async def test_a_video_without_clips_and_narration_is_made_over_grpc(platform: RunningPlatform, tmp_path: Path) -> None:
    request = pb.CreateVideoRequest(
        title="Nothing",
        audio=pb.Audio(voice="none", background_music="happy"),
        settings=pb.Settings(width=160, height=90, quality="draft", duration=2),
    )
    token = platform.http.headers["authorization"].removeprefix("Bearer ")
    async with Client(platform.url.removeprefix("http://"), token=token) as client:
        job = await client.videos.CreateVideo(request)
        async for update in client.watch(job.job_id):
            last = update.status
        assert last.status == "completed", last
        await client.download(job.job_id, tmp_path / "video.mp4")
    assert media.probe(tmp_path / "video.mp4").seconds == pytest.approx(2.0, abs=0.05)


async def test_a_requested_black_video_is_made(platform: RunningPlatform, tmp_path: Path) -> None:
    clips = [{"colour": "#000000"}]
    audio = {"script": "It is dark in here."}
    path = await make_video(platform, tmp_path, clips=clips, audio=audio, captions={"position": "none"})
    assert max(int(frame.max()) for frame in media.pictures(path)) < 10


async def test_dark_footage_is_made(platform: RunningPlatform, tmp_path: Path) -> None:
    night = media.clip(tmp_path / "night.mp4", "color=black:s={w}x{h}:r={rate}", seconds=2.0)
    clips = [{"asset_id": await upload(platform, night)}]
    path = await make_video(platform, tmp_path, clips=clips, audio={"voice": "none"})
    assert media.probe(path).seconds == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"audio": {"voice": "none", "script": "Hello there."}}, "audio.voice"),
        ({"audio": {"voice": "none"}}, "settings.duration"),
        ({"audio": {"script": "Hello there."}, "settings": {**TINY, "duration": 5}}, "settings.duration"),
    ],
)
async def test_an_impossible_request_is_refused_with_its_field(
    platform: RunningPlatform, request_: dict[str, Any], field: str
) -> None:
    answer = await platform.http.post("/v1/videos", json={"title": "Without", "settings": TINY, **request_})
    assert answer.status_code == 400 and field in answer.text
