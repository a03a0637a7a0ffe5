"""The REST interface of a whole platform: the specification's request, the responses and the video."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from google.protobuf import json_format

from moneyprinter.client import Client
from moneyprinter.video.v1 import video_service_pb2 as pb
from tests import media
from tests.e2e.conftest import RunningPlatform

FIXTURES = Path(__file__).parent.parent / "fixtures"
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")

SMALL: dict[str, Any] = {
    "title": "Four colours",
    "audio": {"script": "Red and green above. Blue and white below.", "voice": "en-US", "background_music": "calm"},
    "settings": {"resolution": "480p", "aspect_ratio": "16:9", "quality": "draft"},
}


def fixture(name: str) -> Any:
    return json.loads((FIXTURES / name).read_text())


def shape(value: Any) -> Any:
    """Return the keys of JSON in order, and the types of its values."""
    if isinstance(value, dict):
        return [(key, shape(item)) for key, item in value.items()]
    return "number" if isinstance(value, int | float) else type(value).__name__


async def wait_until_ended(platform: RunningPlatform, job_id: str) -> dict[str, Any]:
    """Watch a job over gRPC until it has ended. Returns its last status."""
    token = platform.http.headers["authorization"].removeprefix("Bearer ")
    async with asyncio.timeout(120), Client(platform.url.removeprefix("http://"), token=token) as client:
        async for update in client.watch(job_id):
            status = update.status
    fields: dict[str, Any] = json_format.MessageToDict(status, preserving_proto_field_name=True)
    return fields


async def test_the_specifications_request_gets_the_specifications_answers(platform: RunningPlatform) -> None:
    answer = await platform.http.post("/v1/videos", json=fixture("create_video_request.json"))
    assert answer.status_code == 202
    body = answer.json()
    assert shape(body) == shape(fixture("create_video_response.json"))
    assert body["status"] == "processing"
    assert TIMESTAMP.fullmatch(body["estimated_completion"])
    assert body["progress_url"] == f"/videos/{body['job_id']}/status"
    for base in ("/v1", "/api/v1"):
        status = await platform.http.get(f"{base}{body['progress_url']}")
        assert status.status_code == 200
        document = status.json()
        failure = document.pop("error", None)
        assert shape(document) == shape(fixture("video_status_response.json"))
        assert document["status"] == ("failed" if failure else "processing")
    # There is no such clip: the job fails with that reason.
    failed = await wait_until_ended(platform, body["job_id"])
    assert failed["status"] == "failed"
    assert failed["error"]["reason"] == "CLIP_UNREACHABLE"
    assert failed["stages"]["validation"] == "failed"


async def test_health_matches_the_specification(platform: RunningPlatform) -> None:
    async with httpx.AsyncClient(base_url=platform.url) as stranger:
        answer = await stranger.get("/health")
    assert answer.status_code == 200
    body = answer.json()
    assert shape(body) == shape(fixture("health_response.json"))
    assert body["status"] == "healthy"
    assert body["services"]["database"] == body["services"]["storage"] == "healthy"
    assert body["services"]["redis"] == "healthy"


async def test_a_video_is_made_from_an_upload_and_an_address(
    platform: RunningPlatform, clip: Path, tmp_path: Path
) -> None:
    upload = await platform.http.post("/v1/assets?filename=clip.mp4", content=clip.read_bytes())
    assert upload.status_code == 201
    assert upload.json()["sha256"] == hashlib.sha256(clip.read_bytes()).hexdigest()
    address = platform.site.file("/clip.mp4", clip.read_bytes())
    clips = [{"asset_id": upload.json()["asset_id"]}, {"url": address, "start_time": "00:00:01"}]
    created = await platform.http.post("/v1/videos", json={**SMALL, "clips": clips})
    assert created.status_code == 202, created.text
    job_id = created.json()["job_id"]
    status = await wait_until_ended(platform, job_id)
    assert (status["status"], status["progress"]) == ("completed", 100), status
    assert set(status["stages"].values()) == {"completed"}
    assert status["result_url"] == f"/videos/{job_id}/file"

    video = (await platform.http.get(f"/v1/videos/{job_id}")).json()["video"]
    answer = await platform.http.get(f"/v1{video['result_url']}")
    assert answer.headers["content-type"] == "video/mp4"
    assert int(answer.headers["content-length"]) == len(answer.content) == video["file_size"]
    assert answer.headers["x-content-sha256"] == hashlib.sha256(answer.content).hexdigest()
    file = tmp_path / "video.mp4"
    file.write_bytes(answer.content)
    _check_picture(file, video["duration"])
    assert media.loudness(file) == pytest.approx(-14.0, abs=1.0)

    captions = (await platform.http.get(f"/v1{video['captions_url']}")).text
    assert "Red and green above." in captions.replace("\n", " ")
    poster = await platform.http.get(f"/v1{video['poster_url']}")
    assert poster.headers["content-type"] == "image/jpeg"
    assert poster.content.startswith(b"\xff\xd8")


def _check_picture(file: Path, seconds: float) -> None:
    probed = media.probe(file)
    assert (probed.codec, probed.width, probed.height) == ("h264", 854, 480)
    assert probed.rate == 30
    assert probed.has_audio
    assert probed.seconds == pytest.approx(seconds, abs=0.1)
    steps = np.diff([float(time) for time in probed.times])
    assert np.allclose(steps, 1 / 30, atol=1e-3), "every frame once, in even steps"
    for picture in media.pictures(file):
        assert media.is_near(picture[20, 20], "red", 40)
        assert media.is_near(picture[20, -20], "lime", 40)
    # A caption lies where the colours below do not end: white letters over the blue.
    shown = [int((picture[330:470, 60:420].min(axis=2) > 200).sum()) for picture in media.pictures(file)]
    assert max(shown) > 200
    assert shown[-1] == 0, "no caption after the last word"


async def test_a_browser_watches_a_video_until_it_has_ended(platform: RunningPlatform, clip: Path) -> None:
    upload = await platform.http.post("/v1/assets?filename=clip.mp4", content=clip.read_bytes())
    clips = [{"asset_id": upload.json()["asset_id"]}]
    created = await platform.http.post("/v1/videos", json={**SMALL, "title": "Watched", "clips": clips})
    path = f"/v1/videos/{created.json()['job_id']}/watch"
    async with asyncio.timeout(120), platform.http.stream("GET", path) as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
        lines = [line async for line in answer.aiter_lines() if line]
    statuses = [json.loads(line.removeprefix("data: "))["status"] for line in lines]
    assert statuses[-1]["status"] == "completed", "the stream ends with the job"
    progress = [status["progress"] for status in statuses]
    assert progress == sorted(progress)
    assert len(set(progress)) > 2, "progress is reported during the job"
    missing = await platform.http.get("/v1/videos/vid_none/watch")
    assert (missing.status_code, missing.json()["details"][0]["reason"]) == (404, "VIDEO_NOT_FOUND")


async def test_a_reused_refresh_token_ends_its_session(platform: RunningPlatform) -> None:
    account = json.loads((platform.data / "first-account").read_text())
    async with httpx.AsyncClient(base_url=platform.url) as client:

        async def refresh(tokens: dict[str, Any]) -> httpx.Response:
            return await client.post("/v1/auth/refresh", json={"refresh_token": tokens["refresh_token"]})

        first = (await client.post("/v1/auth/sign-in", json=account)).json()
        again = await refresh(first)
        assert again.status_code == 200
        bearer = {"authorization": f"Bearer {again.json()['access_token']}"}
        assert (await client.get("/v1/videos", headers=bearer)).status_code == 200
        newest = await refresh(again.json())
        assert newest.status_code == 200
        assert (await refresh(first)).status_code == 401
        assert (await refresh(newest.json())).status_code == 401
        wrong = await client.post("/v1/auth/sign-in", json={**account, "password": "wrong"})
        assert wrong.status_code == 401


async def test_a_clip_that_is_not_a_video_fails_its_job_with_a_reason(platform: RunningPlatform, clip: Path) -> None:
    good = clip.read_bytes()
    for name, content in {"words": b"only words\n" * 40, "cut": good[: len(good) // 2]}.items():
        upload = await platform.http.post(f"/v1/assets?filename={name}.mp4", content=content)
        clips = [{"asset_id": upload.json()["asset_id"]}]
        created = await platform.http.post("/v1/videos", json={**SMALL, "clips": clips})
        failed = await wait_until_ended(platform, created.json()["job_id"])
        assert (failed["status"], failed["error"]["reason"]) == ("failed", "CLIP_NOT_PLAYABLE"), name
        assert failed["error"]["message"]
        refused = await platform.http.get(f"/v1/videos/{created.json()['job_id']}/file")
        assert refused.status_code == 400
    empty = await platform.http.post("/v1/assets?filename=empty.mp4", content=b"")
    assert (empty.status_code, empty.json()["details"][0]["reason"]) == (400, "ASSET_EMPTY")


async def test_a_trim_past_the_end_fails_its_job_with_a_reason(platform: RunningPlatform, clip: Path) -> None:
    upload = await platform.http.post("/v1/assets", content=clip.read_bytes())
    clips = [{"asset_id": upload.json()["asset_id"], "end_time": "00:01:00"}]
    created = await platform.http.post("/v1/videos", json={**SMALL, "clips": clips})
    failed = await wait_until_ended(platform, created.json()["job_id"])
    assert failed["error"]["reason"] == "CLIP_RANGE_INVALID"


async def test_finished_work_leaves_no_scratch_files(platform: RunningPlatform) -> None:
    left = [path.name for path in (platform.data / "scratch").rglob("*") if path.is_file()]
    assert all(re.fullmatch("[0-9a-f]{64}", name) for name in left), "there are only clips that may be shown again"


async def test_a_list_holds_the_made_videos(platform: RunningPlatform) -> None:
    created = await platform.http.post("/v1/videos", json={**SMALL, "clips": [{"colour": "#204060", "duration": 1}]})
    assert (await wait_until_ended(platform, created.json()["job_id"]))["status"] == "completed"
    listed = (await platform.http.get("/v1/videos", params={"page_size": 2})).json()
    assert 1 <= len(listed["videos"]) <= 2
    assert listed["videos"][0]["job_id"] == created.json()["job_id"]
    assert set(pb.Video.DESCRIPTOR.fields_by_name) >= set(listed["videos"][0])
