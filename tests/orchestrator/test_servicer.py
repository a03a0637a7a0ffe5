"""VideoService over real mTLS, PostgreSQL and NATS: what is accepted, what is refused, and whose it is."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.api import httpbody_pb2
from google.protobuf import struct_pb2

from moneyprinter import errors
from moneyprinter.orchestrator.v1 import orchestrator_service_pb2 as inner
from moneyprinter.orchestrator.v1 import orchestrator_service_pb2_grpc as inner_grpc
from moneyprinter.video.v1 import video_service_pb2 as pb
from moneyprinter.video.v1 import video_service_pb2_grpc as pb_grpc
from services.embedded import nats, ports
from services.orchestrator.config import Config
from services.orchestrator.jobs.model import Failure
from services.orchestrator.postgres.store import PostgresStore
from tests.databases import Databases, open_pool
from tests.mesh import Mesh, mesh_config
from tests.orchestrator.samples import job

CLIP = {"url": "https://example.com/a.mp4"}
BACKWARDS = {"start_time": "00:00:30", "end_time": "00:00:10"}
GOOD: dict[str, Any] = {"title": "A walk", "clips": [CLIP]}


class Videos:
    """The service, called by users."""

    def __init__(self, mesh: Mesh, database: str) -> None:
        self.mesh = mesh
        self.database = database
        self.stub = mesh.stub(pb_grpc.VideoServiceStub, caller="gateway")

    async def create(self, user: str = "user_1", **request: Any) -> pb.CreateVideoResponse:
        return await self.stub.CreateVideo(pb.CreateVideoRequest(**request), metadata=self.mesh.bearer(user))


@pytest.fixture
async def videos(postgres: Databases, nats_url: str, mesh: Mesh) -> AsyncIterator[Videos]:
    database = await postgres.fresh("orchestrator")
    # It takes no job up: what is there stays as a test left it.
    await mesh.start("orchestrator", Config(database=database, nats=nats_url, jobs_at_once=0))
    yield Videos(mesh, database)


@pytest.fixture(scope="module")
async def refusing(
    postgres: Databases, certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Videos]:
    """The service for tests whose requests are all refused."""
    folder = tmp_path_factory.mktemp("refusing")
    config = mesh_config(certificates, folder)
    [port] = ports.pick_ports()
    async with (
        nats.run_server(config, folder / "nats", log_file=folder / "nats.log", port=port) as url,
        Mesh(config) as mesh,
    ):
        database = await postgres.fresh("orchestrator")
        await mesh.start("orchestrator", Config(database=database, nats=url, jobs_at_once=0))
        yield Videos(mesh, database)


async def test_an_accepted_request_can_be_read(videos: Videos) -> None:
    made = await videos.create(**GOOD)
    assert made.job_id.startswith("vid_")
    assert (made.status, made.progress_url) == ("processing", f"/videos/{made.job_id}/status")
    bearer = videos.mesh.bearer()
    status = await videos.stub.GetVideoStatus(pb.GetVideoStatusRequest(job_id=made.job_id), metadata=bearer)
    assert (status.job_id, status.status) == (made.job_id, "processing")
    assert status.result_url.WhichOneof("kind") == "null_value"
    video = (await videos.stub.GetVideo(pb.GetVideoRequest(job_id=made.job_id), metadata=bearer)).video
    assert (video.title, video.file_size) == ("A walk", 0)
    load = await videos.mesh.stub(inner_grpc.OrchestratorServiceStub, caller="monitoring").GetLoad(
        inner.GetLoadRequest()
    )
    assert load.active_jobs == 1


@pytest.mark.parametrize(
    ("request_fields", "field", "reason"),
    [
        ({**GOOD, "clips": [], "audio": {"voice": "none"}}, "settings.duration", "REQUEST_INVALID"),
        ({**GOOD, "audio": {"voice": "none", "script": "Hi."}}, "audio.voice", "REQUEST_INVALID"),
        ({**GOOD, "settings": {"duration": 5}}, "settings.duration", "REQUEST_INVALID"),
        ({**GOOD, "settings": {"max_shot_seconds": 1}}, "settings.max_shot_seconds", "REQUEST_INVALID"),
        ({**GOOD, "settings": {"poster_time": "soon"}}, "settings.poster_time", "REQUEST_INVALID"),
        ({**GOOD, "clips": [CLIP] * 500}, "clips", "REQUEST_INVALID"),
        ({**GOOD, "clips": [{}]}, "clips[0]", "REQUEST_INVALID"),
        ({**GOOD, "clips": [{**CLIP, "asset_id": "ast_1"}]}, "clips[0]", "REQUEST_INVALID"),
        ({**GOOD, "clips": [{**CLIP, "start_time": "10"}]}, "clips[0].start_time", "REQUEST_INVALID"),
        ({**GOOD, "clips": [{**CLIP, **BACKWARDS}]}, "clips[0].end_time", "CLIP_RANGE_INVALID"),
        ({**GOOD, "clips": [{**CLIP, "end_time": "00:00:00"}]}, "clips[0].end_time", "CLIP_RANGE_INVALID"),
        ({**GOOD, "clips": [{"url": "http://example.com/a.mp4"}]}, "clips[0].url", "CLIP_ADDRESS_REFUSED"),
        ({**GOOD, "clips": [{"url": "file:///etc/passwd"}]}, "clips[0].url", "CLIP_ADDRESS_REFUSED"),
        ({**GOOD, "title": ""}, "title", "REQUEST_INVALID"),
        ({**GOOD, "audio": {"script": " \n ... "}}, "audio.script", "SCRIPT_EMPTY"),
        ({**GOOD, "audio": {"script": "word " * 20_000}}, "audio.script", "REQUEST_INVALID"),
        ({**GOOD, "audio": {"background_music": "polka"}}, "audio.background_music", "REQUEST_INVALID"),
        ({**GOOD, "settings": {"resolution": "9p"}}, "settings.resolution", "REQUEST_INVALID"),
        ({**GOOD, "settings": {"aspect_ratio": "3:1"}}, "settings.aspect_ratio", "REQUEST_INVALID"),
        ({**GOOD, "settings": {"quality": "best"}}, "settings.quality", "REQUEST_INVALID"),
        ({**GOOD, "settings": {"frame_rate": 31}}, "settings.frame_rate", "REQUEST_INVALID"),
        ({**GOOD, "settings": {"transition": "explode"}}, "settings.transition", "REQUEST_INVALID"),
        ({**GOOD, "clips": [{**CLIP, "fit": "squeeze"}]}, "clips[0].fit", "REQUEST_INVALID"),
        ({**GOOD, "clips": [{**CLIP, "speed": 0.1}]}, "clips[0].speed", "REQUEST_INVALID"),
        ({**GOOD, "clips": [{**CLIP, "focus": {"x": 2}}]}, "clips[0].focus.x", "REQUEST_INVALID"),
        ({**GOOD, "clips": [{**CLIP, "script": "Here."}, CLIP]}, "clips[1].script", "REQUEST_INVALID"),
        ({**GOOD, "clips": [{**CLIP, "script": "..."}]}, "clips[0].script", "SCRIPT_EMPTY"),
        ({**GOOD, "clips": [{**CLIP, "script": "Hi."}], "audio": {"script": "Ho."}}, "audio.script", "REQUEST_INVALID"),
        ({**GOOD, "captions": {"colour": "red"}}, "captions.colour", "REQUEST_INVALID"),
        ({**GOOD, "priority": "urgent"}, "priority", "REQUEST_INVALID"),
        ({**GOOD, "overlays": [{}]}, "overlays[0].asset_id", "REQUEST_INVALID"),
    ],
)  # fmt: skip
async def test_an_invalid_request_is_refused_with_its_field(
    refusing: Videos, request_fields: dict[str, Any], field: str, reason: str
) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        await refusing.create(**request_fields)
    assert refused.value.reason == reason
    assert [violation.field for violation in refused.value.violations] == [field]
    listed = await refusing.stub.ListVideos(pb.ListVideosRequest(), metadata=refusing.mesh.bearer())
    assert not listed.videos


async def test_a_request_that_is_sent_twice_makes_one_video(videos: Videos) -> None:
    made = await videos.create(**GOOD, request_id="k1")
    assert await videos.create(**GOOD, request_id="k1") == made
    header = (*videos.mesh.bearer(), ("idempotency-key", "k1"))
    assert await videos.stub.CreateVideo(pb.CreateVideoRequest(**GOOD), metadata=header) == made
    with pytest.raises(errors.Conflict) as refused:
        await videos.create(**{**GOOD, "title": "A run"}, request_id="k1")
    assert refused.value.reason == "IDEMPOTENCY_KEY_REUSED"
    assert (await videos.create("user_2", **GOOD, request_id="k1")).job_id != made.job_id
    with pytest.raises(errors.InvalidArgument):
        longest = (*videos.mesh.bearer(), ("idempotency-key", "k" * 256))
        await videos.stub.CreateVideo(pb.CreateVideoRequest(**GOOD), metadata=longest)
    changes = struct_pb2.Struct()
    changes.update({"title": "A run"})
    revision = pb.ReviseVideoRequest(job_id=made.job_id, changes=changes)
    header = (*videos.mesh.bearer(), ("idempotency-key", "k2"))
    first = await videos.stub.ReviseVideo(revision, metadata=header)
    assert await videos.stub.ReviseVideo(revision, metadata=header) == first
    listed = await videos.stub.ListVideos(pb.ListVideosRequest(), metadata=videos.mesh.bearer())
    assert [video.job_id for video in listed.videos] == [first.job_id, made.job_id]


async def test_a_missing_asset_is_not_found(videos: Videos) -> None:
    with pytest.raises(errors.NotFound, match="ast_none") as refused:
        await videos.create(title="A walk", clips=[{"asset_id": "ast_none"}])
    assert refused.value.reason == "ASSET_NOT_FOUND"


async def test_another_users_job_is_not_found(videos: Videos) -> None:
    made = await videos.create("user_1", **GOOD)
    other = videos.mesh.bearer("user_2")
    job_id = made.job_id
    with pytest.raises(errors.NotFound):
        await videos.stub.GetVideoStatus(pb.GetVideoStatusRequest(job_id=job_id), metadata=other)
    with pytest.raises(errors.NotFound):
        await videos.stub.GetVideo(pb.GetVideoRequest(job_id=job_id), metadata=other)
    with pytest.raises(errors.NotFound):
        async for _ in videos.stub.WatchVideo(pb.WatchVideoRequest(job_id=job_id), metadata=other):
            pass
    with pytest.raises(errors.NotFound):
        async for _ in videos.stub.DownloadVideo(pb.DownloadVideoRequest(job_id=job_id), metadata=other):
            pass
    assert not (await videos.stub.ListVideos(pb.ListVideosRequest(), metadata=other)).videos


async def test_the_owner_cancels_a_job(videos: Videos) -> None:
    made = await videos.create(**GOOD)
    request = pb.CancelVideoRequest(job_id=made.job_id)
    with pytest.raises(errors.NotFound):
        await videos.stub.CancelVideo(request, metadata=videos.mesh.bearer("user_2"))
    for _ in range(2):
        cancelled = await videos.stub.CancelVideo(request, metadata=videos.mesh.bearer())
        assert (cancelled.status.job_id, cancelled.status.status) == (made.job_id, "cancelled")
    watched = videos.stub.WatchVideo(pb.WatchVideoRequest(job_id=made.job_id), metadata=videos.mesh.bearer())
    assert [update.status.status async for update in watched] == ["cancelled"]
    with pytest.raises(errors.FailedPrecondition) as refused:
        download = pb.DownloadVideoRequest(job_id=made.job_id)
        async for _ in videos.stub.DownloadVideo(download, metadata=videos.mesh.bearer()):
            pass
    assert refused.value.reason == "VIDEO_CANCELLED"


async def test_a_cancelled_job_is_retried_and_a_running_one_is_not(videos: Videos) -> None:
    made = await videos.create(**GOOD)
    bearer = videos.mesh.bearer()
    retry = pb.RetryVideoRequest(job_id=made.job_id)
    with pytest.raises(errors.FailedPrecondition) as refused:
        await videos.stub.RetryVideo(retry, metadata=bearer)
    assert refused.value.reason == "VIDEO_NOT_FAILED"
    await videos.stub.CancelVideo(pb.CancelVideoRequest(job_id=made.job_id), metadata=bearer)
    with pytest.raises(errors.NotFound):
        await videos.stub.RetryVideo(retry, metadata=videos.mesh.bearer("user_2"))
    again = await videos.stub.RetryVideo(retry, metadata=bearer)
    assert (again.job_id, again.status, again.progress_url) == (made.job_id, "processing", made.progress_url)


async def test_a_deleted_video_is_not_found(videos: Videos) -> None:
    made = await videos.create(**GOOD)
    bearer = videos.mesh.bearer()
    delete = pb.DeleteVideoRequest(job_id=made.job_id)
    with pytest.raises(errors.NotFound):
        await videos.stub.DeleteVideo(delete, metadata=videos.mesh.bearer("user_2"))
    await videos.stub.DeleteVideo(delete, metadata=bearer)
    for call in (
        videos.stub.DeleteVideo(delete, metadata=bearer),
        videos.stub.GetVideo(pb.GetVideoRequest(job_id=made.job_id), metadata=bearer),
        videos.stub.CancelVideo(pb.CancelVideoRequest(job_id=made.job_id), metadata=bearer),
    ):
        with pytest.raises(errors.NotFound):
            await call
    assert not (await videos.stub.ListVideos(pb.ListVideosRequest(), metadata=bearer)).videos


async def test_a_list_is_paged_newest_first(videos: Videos) -> None:
    made = [(await videos.create(**GOOD)).job_id for _ in range(5)]
    seen: list[str] = []
    token = ""
    while True:
        request = pb.ListVideosRequest(page_size=2, page_token=token)
        page = await videos.stub.ListVideos(request, metadata=videos.mesh.bearer())
        seen += [video.job_id for video in page.videos]
        token = page.next_page_token
        if not token:
            break
    assert seen == made[::-1]


async def test_a_list_is_filtered(videos: Videos) -> None:
    kept, cancelled = await videos.create(**GOOD, priority="high"), await videos.create(**GOOD)
    bearer = videos.mesh.bearer()
    await videos.stub.CancelVideo(pb.CancelVideoRequest(job_id=cancelled.job_id), metadata=bearer)
    for status, found in (("cancelled", [cancelled.job_id]), ("processing", [kept.job_id]), ("completed", [])):
        page = await videos.stub.ListVideos(pb.ListVideosRequest(status=status), metadata=bearer)
        assert [video.job_id for video in page.videos] == found
    assert (
        await videos.stub.GetVideo(pb.GetVideoRequest(job_id=kept.job_id), metadata=bearer)
    ).video.priority == "high"
    with pytest.raises(errors.InvalidArgument):
        await videos.stub.ListVideos(pb.ListVideosRequest(status="lost"), metadata=bearer)


async def test_an_invalid_page_token_is_refused(videos: Videos) -> None:
    # The last one would be a moment, and an id that PostgreSQL cannot hold.
    crafted = base64.urlsafe_b64encode(b"2026-01-01T00:00:00+00:00 vid_\0").decode()
    for token in ("x", "////", "MjAyNg==", crafted):
        with pytest.raises(errors.InvalidArgument):
            await videos.stub.ListVideos(pb.ListVideosRequest(page_token=token), metadata=videos.mesh.bearer())


async def test_an_unfinished_video_has_no_file(videos: Videos) -> None:
    made = await videos.create(**GOOD)
    with pytest.raises(errors.FailedPrecondition) as refused:
        request = pb.DownloadVideoRequest(job_id=made.job_id)
        async for _ in videos.stub.DownloadVideo(request, metadata=videos.mesh.bearer()):
            pass
    assert refused.value.reason == "VIDEO_NOT_READY"


async def test_an_empty_upload_is_refused(videos: Videos) -> None:
    async def nothing() -> AsyncIterator[pb.UploadAssetRequest]:
        yield pb.UploadAssetRequest(filename="a.mp4", data=httpbody_pb2.HttpBody())

    with pytest.raises((errors.InvalidArgument, errors.Unavailable)):
        await videos.stub.UploadAsset(nothing(), metadata=videos.mesh.bearer())


async def test_a_revision_is_another_job_with_the_changes(videos: Videos) -> None:
    made = await videos.create(**GOOD, audio={"script": "One.", "voice": "en-GB"})
    bearer = videos.mesh.bearer()
    changes = struct_pb2.Struct()
    changes.update({"title": "A run", "audio": {"script": "Two."}})
    revised = await videos.stub.ReviseVideo(pb.ReviseVideoRequest(job_id=made.job_id, changes=changes), metadata=bearer)
    assert revised.job_id != made.job_id
    video = (await videos.stub.GetVideo(pb.GetVideoRequest(job_id=revised.job_id), metadata=bearer)).video
    assert video.title == "A run"
    again = struct_pb2.Struct()
    again.update({"clips": [{}]})
    with pytest.raises(errors.InvalidArgument) as refused:
        await videos.stub.ReviseVideo(pb.ReviseVideoRequest(job_id=revised.job_id, changes=again), metadata=bearer)
    assert [violation.field for violation in refused.value.violations] == ["clips[0]"]
    with pytest.raises(errors.NotFound):
        other = videos.mesh.bearer("user_2")
        await videos.stub.ReviseVideo(pb.ReviseVideoRequest(job_id=made.job_id), metadata=other)


async def test_a_failed_job_is_a_dead_letter_until_it_is_retried(videos: Videos) -> None:
    made = [job() for _ in range(3)]
    async with open_pool("orchestrator", videos.database) as pool:
        store = PostgresStore(pool, lambda: None)
        for each in made:
            await store.create(replace(each, priority="high"))
            first = await store.claim(timedelta(seconds=10))
            assert first is not None
            await store.release(first)
            assert await store.claim(timedelta(seconds=10)) is not None
            second = await store.claim(timedelta(seconds=-1))
            assert second is not None
            await store.fail(second, Failure("rendering", "RENDER_FAILED", "the tool died"), second.stages)
    bearer = videos.mesh.bearer()
    seen: list[str] = []
    request = pb.ListDeadLettersRequest(page_size=2)
    while True:
        page = await videos.stub.ListDeadLetters(request, metadata=bearer)
        seen += [letter.job_id for letter in page.dead_letters]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert seen == [each.id for each in made[::-1]]
    wanted = pb.GetDeadLetterRequest(job_id=made[0].id)
    letter = (await videos.stub.GetDeadLetter(wanted, metadata=bearer)).dead_letter
    assert (letter.title, letter.stage, letter.error.reason) == ("A walk", "rendering", "RENDER_FAILED")
    tried = [(attempt.number, attempt.outcome, attempt.error.message) for attempt in letter.attempts]
    assert tried == [(1, "released", ""), (2, "interrupted", ""), (3, "failed", "the tool died")]
    with pytest.raises(errors.NotFound) as refused:
        await videos.stub.GetDeadLetter(wanted, metadata=videos.mesh.bearer("user_2"))
    assert refused.value.reason == "DEAD_LETTER_NOT_FOUND"
    await videos.stub.RetryVideo(pb.RetryVideoRequest(job_id=made[0].id), metadata=bearer)
    await videos.stub.DeleteVideo(pb.DeleteVideoRequest(job_id=made[1].id), metadata=bearer)
    left = await videos.stub.ListDeadLetters(pb.ListDeadLettersRequest(), metadata=bearer)
    assert [each.job_id for each in left.dead_letters] == [made[2].id]
