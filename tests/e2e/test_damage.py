"""Damaged objects: the platform replaces those that it can make again, and reports damaged originals clearly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import media
from tests.e2e.conftest import RunningPlatform
from tests.e2e.test_engine import upload, wait_for_video
from tests.e2e.test_rest import wait_until_ended
from tests.storage.damage import DAMAGE

KINDS = {
    "speech": "cache/audio/*.wav!",
    "words": "cache/audio/*.json!",
    "segments": "cache/processing/*!",
    "joined videos": "cache/concatenation/*!",
    "fetched clips": "cache/validation/*!",
}


@pytest.fixture
def request_fields(platform: RunningPlatform, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A request that makes an object of every kind. Its clip is fetched."""
    clip = media.clip(tmp_path / "clip.mp4", seconds=2.0, sound=True)
    address = platform.site.file("/damaged.mp4", clip.read_bytes())
    yield {
        "title": "Damage",
        "clips": [{"url": address, "sound_volume": 0.5}],
        "audio": {"script": "One. Two.", "background_music": "calm"},
        "settings": {"width": 320, "height": 180, "quality": "draft"},
    }


def files(platform: RunningPlatform, pattern: str) -> list[Path]:
    return [path for path in (platform.data / "objects").glob(pattern) if path.is_file()]


async def create(platform: RunningPlatform, request: dict[str, Any]) -> dict[str, Any]:
    return await wait_for_video(platform, await platform.http.post("/v1/videos", json=request))


async def test_a_video_is_made_after_damage_to_the_whole_cache(
    platform: RunningPlatform, request_fields: dict[str, Any]
) -> None:
    await create(platform, request_fields)
    # The others are read alike, and a job each takes time.
    for damage in ("middle", "footer", "cut", "deleted"):
        for kind, pattern in KINDS.items():
            found = files(platform, pattern)
            assert found, f"there are no {kind}"
            for path in found:
                DAMAGE[damage](path)
        await create(platform, request_fields)


async def test_a_video_is_made_after_damage_to_any_kind_of_cached_object(
    platform: RunningPlatform, request_fields: dict[str, Any]
) -> None:
    await create(platform, request_fields)
    for kind, pattern in KINDS.items():
        found = files(platform, pattern)
        assert found, f"there are no {kind}"
        for path in found:
            DAMAGE["middle"](path)
        # Another script needs the clip, and nothing else of what was made.
        await create(platform, {**request_fields, "title": f"Other {kind}"})
        await create(platform, {**request_fields, "audio": {"script": f"Three. {kind}."}})


async def test_a_damaged_preview_of_a_finished_video_is_removed(
    platform: RunningPlatform, request_fields: dict[str, Any]
) -> None:
    video = await create(platform, request_fields)
    preview = f"/v1/videos/{video['job_id']}/preview"
    assert (await platform.http.get(f"{preview}/audio.m4s")).status_code == 200
    for path in files(platform, "cache/audio/preview-*!"):
        DAMAGE["footer"](path)
    assert (await platform.http.get(f"{preview}/audio.m4s")).status_code == 200, "it is coded again"
    for path in files(platform, "cache/processing/*!"):
        DAMAGE["first byte"](path)
    gone = await platform.http.get(f"{preview}/video-init.mp4")
    assert (gone.status_code, gone.json()["details"][0]["reason"]) == (404, "FILE_NOT_FOUND")


@pytest.mark.parametrize("damage", ["first byte", "footer", "cut", "deleted"])
async def test_a_damaged_upload_is_reported_with_a_remedy(platform: RunningPlatform, clip: Path, damage: str) -> None:
    asset = await upload(platform, clip)
    DAMAGE[damage](platform.data / "objects" / "assets" / f"{asset}!")
    request = {"title": "Lost", "clips": [{"asset_id": asset}], "audio": {"script": "Hi."}}
    created = await platform.http.post("/v1/videos", json=request)
    status = await wait_until_ended(platform, created.json()["job_id"])
    assert status["status"] == "failed"
    assert status["error"]["reason"] == "DATA_CORRUPT"
    assert f"clips[0]: the stored file of the asset {asset} is damaged or missing" in status["error"]["message"]
    probed = await platform.http.post("/v1/clips/probe", json={"asset_id": asset})
    assert probed.json()["details"][0]["reason"] == "DATA_CORRUPT"


async def test_a_damaged_finished_file_is_an_error_and_not_a_cut_download(
    platform: RunningPlatform, request_fields: dict[str, Any]
) -> None:
    video = await create(platform, request_fields)
    [path] = files(platform, f"jobs/{video['job_id']}/*/video.mp4!")
    good = path.read_bytes()
    for damage in DAMAGE.values():
        path.write_bytes(good)
        assert (await platform.http.get(f"/v1/videos/{video['job_id']}/file")).status_code == 200
        damage(path)
        answer = await platform.http.get(f"/v1/videos/{video['job_id']}/file")
        assert answer.status_code == 500
        assert answer.json()["details"][0]["reason"] == "DATA_CORRUPT"
        assert "the stored file video.mp4 of this video is damaged or missing" in answer.json()["message"]
    revised = await wait_for_video(platform, await platform.http.post(f"/v1/videos/{video['job_id']}/revise", json={}))
    assert (await platform.http.get(f"/v1{revised['result_url']}")).status_code == 200
