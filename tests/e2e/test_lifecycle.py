"""The life cycle of a job in a whole platform: cancelled, retried, repeated, deleted, failed."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from moneyprinter.client import Client
from tests.e2e.conftest import RunningPlatform
from tests.e2e.test_command import LONG_SCRIPT, moneyprinter
from tests.e2e.test_engine import upload
from tests.e2e.test_rest import wait_until_ended

DRAFT = {"resolution": "480p", "quality": "draft"}
# Each tool would run for longer, and the job for several times as long.
STOPPED_WITHIN_SECONDS = 3.0


def tools(data: Path) -> list[psutil.Process]:
    """Return the running media tools in a platform's scratch folders."""
    return [
        process
        for process in psutil.process_iter(["name", "cwd"])
        if str(process.info["name"]).startswith("ffmpeg") and str(process.info["cwd"]).startswith(str(data))
    ]


def files_of(data: Path, job_id: str) -> list[Path]:
    """Return the stored objects of a job, without the fences against late writers."""
    with suppress(FileNotFoundError):
        found = [path for path in data.rglob("*") if job_id in str(path) and path.is_file()]
        return [path for path in found if "fences!" not in path.parts]
    return [data]


async def wait_for_render_tools(platform: RunningPlatform, job_id: str) -> list[psutil.Process]:
    """Wait until tools render a job, and return them."""
    token = platform.http.headers["authorization"].removeprefix("Bearer ")
    async with asyncio.timeout(60), Client(platform.url.removeprefix("http://"), token=token) as client:
        async for update in client.watch(job_id):
            assert update.status.status == "processing", update
            if update.status.stages.video_processing == "in_progress" and (found := tools(platform.data)):
                return found
    raise AssertionError("it never rendered")


async def test_a_cancelled_job_stops_its_tools_at_once_and_continues_when_retried(
    platform: RunningPlatform, clip: Path
) -> None:
    asset = await upload(platform, clip)
    wanted: dict[str, Any] = {
        "title": "Stopped",
        "clips": [{"asset_id": asset}],
        "audio": {"script": LONG_SCRIPT},
        "settings": {"resolution": "480p", "quality": "high"},
    }
    job_id = (await platform.http.post("/v1/videos", json=wanted)).json()["job_id"]
    working = await wait_for_render_tools(platform, job_id)
    answer = await platform.http.post(f"/v1/videos/{job_id}/cancel")
    assert (answer.status_code, answer.json()["status"]["status"]) == (200, "cancelled"), answer.text
    # A tool that was just about to start may be seen once more.
    async with asyncio.timeout(STOPPED_WITHIN_SECONDS):
        while working:
            await asyncio.to_thread(psutil.wait_procs, working, timeout=STOPPED_WITHIN_SECONDS)
            working = tools(platform.data)
    file = await platform.http.get(f"/v1/videos/{job_id}/file")
    assert (file.status_code, file.json()["details"][0]["reason"]) == (400, "VIDEO_CANCELLED")
    assert files_of(platform.data, job_id) == []

    answer = await platform.http.post(f"/v1/videos/{job_id}/retry")
    assert (answer.status_code, answer.json()["job_id"]) == (202, job_id)
    assert (await wait_until_ended(platform, job_id))["status"] == "completed"
    assert (await platform.http.get(f"/v1/videos/{job_id}/file")).status_code == 200


async def test_a_repeated_request_makes_one_video_and_a_deleted_one_is_gone(
    platform: RunningPlatform, clip: Path
) -> None:
    asset = await upload(platform, clip)
    wanted = {"title": "Once", "clips": [{"asset_id": asset}], "audio": {"script": "Once."}, "settings": DRAFT}
    key = {"idempotency-key": "4f1d2c9a"}
    first = await platform.http.post("/v1/videos", json=wanted, headers=key)
    again = await platform.http.post("/v1/videos", json=wanted, headers=key)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    other = await platform.http.post("/v1/videos", json={**wanted, "title": "Twice"}, headers=key)
    assert (other.status_code, other.json()["details"][0]["reason"]) == (409, "IDEMPOTENCY_KEY_REUSED")

    job_id = first.json()["job_id"]
    assert (await wait_until_ended(platform, job_id))["status"] == "completed"
    listed = await platform.http.get("/v1/videos", params={"status": "completed", "page_size": 1})
    assert [video["job_id"] for video in listed.json()["videos"]] == [job_id]
    named = {path.name.rstrip("!") for path in files_of(platform.data, job_id)}
    assert {"video.mp4", "poster.jpg", "captions.srt"} <= named
    answer = await platform.http.delete(f"/v1/videos/{job_id}")
    assert (answer.status_code, answer.json()) == (200, {})
    assert (await platform.http.get(f"/v1/videos/{job_id}")).status_code == 404
    assert (await platform.http.delete(f"/v1/videos/{job_id}")).status_code == 404
    async with asyncio.timeout(20):
        # Nothing notifies when the files are gone, so poll.
        while await asyncio.to_thread(files_of, platform.data, job_id):
            await platform.http.get(f"/v1/videos/{job_id}")


async def test_failed_jobs_are_listed_shown_and_retried_by_commands(platform: RunningPlatform, tmp_path: Path) -> None:
    words = tmp_path / "words.mp4"
    words.write_bytes(b"only words\n" * 40)
    wanted = {"title": "Words", "clips": [{"asset_id": await upload(platform, words)}], "settings": DRAFT}
    job_id = (await platform.http.post("/v1/videos", json=wanted)).json()["job_id"]
    assert (await wait_until_ended(platform, job_id))["status"] == "failed"
    at = ("--data", platform.data)
    code, output = await moneyprinter("deadletter", "list", *at)
    assert (code, job_id in output, "CLIP_NOT_PLAYABLE" in output) == (0, True, True), output
    code, output = await moneyprinter("deadletter", "show", job_id, *at)
    assert (code, "attempt 1" in output, "failed: " in output) == (0, True, True), output
    code, output = await moneyprinter("deadletter", "retry", job_id, *at)
    assert (code, "continues" in output) == (0, True), output
    # It is what it was: the job fails once more.
    assert (await wait_until_ended(platform, job_id))["status"] == "failed"
    code, output = await moneyprinter("deadletter", "show", job_id, *at)
    assert (code, "attempt 3" in output) == (0, True), output
    code, output = await moneyprinter("cancel", job_id, *at)
    assert (code, "failed already" in output) == (1, True), output
    code, output = await moneyprinter("delete", job_id, *at)
    assert (code, "is deleted" in output) == (0, True), output
    assert (await platform.http.get(f"/v1/dead-letters/{job_id}")).status_code == 404


async def test_uploads_and_their_retention_are_managed_by_commands(platform: RunningPlatform, clip: Path) -> None:
    asset = await upload(platform, clip)
    at = ("--data", platform.data)
    code, output = await moneyprinter("uploads", "list", *at)
    assert (code, asset in output, clip.name in output) == (0, True, True), output
    [stored] = files_of(platform.data, asset)
    code, output = await moneyprinter("uploads", "delete", asset, *at)
    assert (code, "is deleted" in output) == (0, True), output
    assert not stored.exists()
    code, output = await moneyprinter("uploads", "delete", asset, *at)
    assert (code, "there is no asset" in output) == (1, True), output
    for arguments, kept in ((("30",), "30 days"), ((), "30 days"), (("0",), "until they are deleted")):
        code, output = await moneyprinter("retention", *arguments, *at)
        assert (code, kept in output) == (0, True), output
