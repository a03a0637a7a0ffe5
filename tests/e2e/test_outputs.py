"""The outputs of a video: renditions, codecs, an animation, ranges of files, and a preview during the job."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest

from moneyprinter.client import Client
from tests import media
from tests.e2e.conftest import RunningPlatform
from tests.e2e.test_engine import SCRIPT, SMALL, content, upload, wait_for_video
from tests.mesh import ffmpeg_program


async def file(platform: RunningPlatform, video: dict[str, Any], name: str, folder: Path) -> Path:
    """Download a file of a finished video."""
    answer = await platform.http.get(f"/v1/videos/{video['job_id']}/files/{name}")
    assert answer.status_code == 200, answer.text
    [described] = [each for each in video["files"] if each["name"] == name]
    assert answer.headers["content-type"] == described["content_type"]
    assert len(answer.content) == described["size_bytes"]
    path = folder / name
    path.write_bytes(answer.content)
    return path


async def test_renditions_and_an_animation_come_with_the_video(
    platform: RunningPlatform, clip: Path, tmp_path: Path
) -> None:
    settings = {"width": 720, "height": 960, "quality": "draft", "renditions": ["480p", "1080p"], "gif": True}
    clips = [{"asset_id": await upload(platform, clip)}, {"colour": "#336699", "duration": 1.0}]
    request = {"title": "Sizes", "clips": clips, "audio": {"script": "Hi. It is one of three."}, "settings": settings}
    refused = await platform.http.post("/v1/videos", json=request)
    assert refused.status_code == 400 and "renditions" in refused.text, "1080p is not smaller"
    settings["renditions"] = ["480p"]
    video = await wait_for_video(platform, await platform.http.post("/v1/videos", json=request))
    assert {each["name"] for each in video["files"]} == {
        *("video.mp4", "video-480p.mp4", "poster.jpg", "thumbnails.jpg", "preview.gif"),
        *("captions.srt", "captions.vtt", "captions.ass"),
    }
    large = await file(platform, video, "video.mp4", tmp_path)
    small = await file(platform, video, "video-480p.mp4", tmp_path)
    one, two = media.probe(large), media.probe(small)
    assert ((one.width, one.height), (two.width, two.height)) == ((720, 960), (480, 640))
    assert one.times == two.times
    assert np.array_equal(media.samples(large)[0], media.samples(small)[0]), "with the same sound"
    for first, second in zip(list(media.pictures(large))[::40], list(media.pictures(small))[::40], strict=True):
        assert np.abs(first[40, 40].astype(int) - second[27, 27]).max() < 30, "and the same picture"
    assert media.loudness(small) == pytest.approx(video["loudness"], abs=0.3)
    assert video["true_peak"] <= -1
    animation = await file(platform, video, "preview.gif", tmp_path)
    assert len(list(media.pictures(animation))) > 20


@pytest.mark.parametrize(
    ("codec", "name", "picture", "sound"),
    [
        ("h265", "video.mp4", "hevc", "aac"),
        ("vp9", "video.webm", "vp9", "opus"),
        ("av1", "video.webm", "av1", "opus"),
    ],
)
async def test_a_video_has_the_requested_codec(
    platform: RunningPlatform, clip: Path, tmp_path: Path, codec: str, name: str, picture: str, sound: str
) -> None:
    clips = [{"asset_id": await upload(platform, clip)}]
    request = {"title": codec, "clips": clips, "audio": {"script": SCRIPT}, "settings": {**SMALL, "codec": codec}}
    video = await wait_for_video(platform, await platform.http.post("/v1/videos", json=request))
    assert video["segments"]["total"] > 1
    path = await file(platform, video, name, tmp_path)
    with av.open(str(path)) as container:
        found = {stream.type: stream.codec_context.codec.canonical_name for stream in container.streams}
        assert found == {"video": picture, "audio": sound}
        times = [float(frame.time) for frame in container.decode(video=0)]
    assert len(times) == round(video["duration"] * 30)
    assert max(abs(later - earlier - 1 / 30) for earlier, later in pairwise(times)) < 2e-3, "every frame, evenly"
    assert abs(media.loudness(path) - -14) < 1


async def test_a_requested_range_of_a_file_is_sent(platform: RunningPlatform, clip: Path, tmp_path: Path) -> None:
    request = {"title": "Parts", "clips": [{"asset_id": await upload(platform, clip)}], "settings": SMALL}
    video = await wait_for_video(
        platform, await platform.http.post("/v1/videos", json={**request, "audio": {"script": "Hi."}})
    )
    whole = await content(platform, video)
    for wanted, expected in {"bytes=100-199": whole[100:200], "bytes=-50": whole[-50:]}.items():
        answer = await platform.http.get(f"/v1{video['result_url']}", headers={"range": wanted})
        assert (answer.status_code, answer.content) == (206, expected)
        assert answer.headers["content-range"].endswith(f"/{len(whole)}")
    plain = await platform.http.get(f"/v1{video['result_url']}")
    assert (plain.status_code, plain.headers["accept-ranges"]) == (200, "bytes")


async def test_a_preview_plays_while_the_video_is_made(platform: RunningPlatform, clip: Path, tmp_path: Path) -> None:
    request = {
        "title": "Watched",
        "clips": [{"asset_id": await upload(platform, clip)}, {"colour": "#00ff00"}],
        "audio": {"script": SCRIPT, "background_music": "calm"},
        "settings": {**SMALL, "quality": "standard"},
    }
    created = await platform.http.post("/v1/videos", json=request)
    job_id = created.json()["job_id"]
    address = f"/v1/videos/{job_id}/preview.m3u8"
    early: list[tuple[int, str]] = []
    token = platform.http.headers["authorization"].removeprefix("Bearer ")
    async with asyncio.timeout(120), Client(platform.url.removeprefix("http://"), token=token) as client:
        async for update in client.watch(job_id):
            described = (await platform.http.get(f"/v1/videos/{job_id}")).json()["video"]
            if update.status.status == "processing" and described["preview_url"]:
                answer = await platform.http.get(address.replace("preview.m3u8", "preview/video.m3u8"))
                if answer.status_code == 200 and "#EXT-X-ENDLIST" not in answer.text:
                    early.append((update.segments.total, answer.text))
    assert early, "there was something to see before it was finished"
    total, first = early[0]
    assert 1 <= first.count("#EXTINF") <= total

    master = await platform.http.get(address)
    assert (master.status_code, master.headers["content-type"]) == (200, "application/vnd.apple.mpegurl")
    video = (await platform.http.get(f"/v1/videos/{job_id}")).json()["video"]
    assert video["preview_url"] == f"/videos/{job_id}/preview.m3u8"
    seen = tmp_path / "seen.mkv"
    # As a player does: follow the playlists, with the token that they need.
    bearer = f"authorization: {platform.http.headers['authorization']}\r\n"
    player = (ffmpeg_program(), "-v", "error", "-headers", bearer, "-i", f"{platform.url}{address}")
    process = await asyncio.create_subprocess_exec(
        *map(str, player), "-map", "0:v", "-map", "0:a", "-c", "copy", str(seen), stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    errors = await process.stderr.read()
    assert await process.wait() == 0 and errors == b"", errors
    finished = tmp_path / "video.mp4"
    finished.write_bytes(await content(platform, video))
    assert media.hashes(seen) == media.hashes(finished), "the same frames"
    one, two = media.samples(seen)[0], media.samples(finished)[0]
    assert len(one) == pytest.approx(len(two), abs=4096)
    assert media.probe(seen).seconds == pytest.approx(video["duration"], abs=0.15)

    async with httpx.AsyncClient(base_url=platform.url) as stranger:
        assert (await stranger.get(address)).status_code == 401
    for name in ("0.m4s", "video-init.mp4", "audio.m4s"):
        assert (await platform.http.get(f"/v1/videos/{job_id}/preview/{name}")).status_code == 200
    for name in ("999.m4s", "passwd", "00.m4s"):
        assert (await platform.http.get(f"/v1/videos/{job_id}/preview/{name}")).status_code == 404
