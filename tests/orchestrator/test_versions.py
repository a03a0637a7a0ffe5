"""Videos in several languages: what is refused, what is created together, and what their jobs share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from moneyprinter import errors
from moneyprinter.video.v1 import video_service_pb2 as pb
from services.orchestrator.config import Config
from services.orchestrator.jobs.journal import StepLog
from services.orchestrator.jobs.model import Job
from services.orchestrator.jobs.options import LanguageVersion
from services.orchestrator.jobs.scenes import Cut, Scene, WrittenScript
from services.orchestrator.postgres.store import PostgresStore
from services.orchestrator.workers.messages import from_spoken, to_spoken
from tests.databases import Databases, open_pool
from tests.mesh import Mesh
from tests.orchestrator.samples import BACKGROUND, REQUEST, job
from tests.orchestrator.test_servicer import GOOD, Videos

LEASE = timedelta(seconds=10)
GIVEN = [{"language": "ja", "title": "海", "scripts": ["海は青い。"]}]
REQUESTED: dict[str, Any] = {**GOOD, "audio": {"script": "Das Meer ist blau."}, "languages": ["de", "ja"]}


@pytest.fixture
async def videos(postgres: Databases, nats_url: str, mesh: Mesh) -> AsyncIterator[Videos]:
    database = await postgres.fresh("orchestrator")
    await mesh.start("orchestrator", Config(database=database, nats=nats_url, jobs_at_once=0, quota_jobs=5))
    yield Videos(mesh, database)


async def list_videos(videos: Videos, **fields: Any) -> list[pb.Video]:
    answer = await videos.stub.ListVideos(pb.ListVideosRequest(**fields), metadata=videos.mesh.bearer())
    return list(answer.videos)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"languages": ["de", "de"]}, "languages"),
        ({"languages": ["german"]}, "languages[0]"),
        ({"audio": {"voice": "none"}, "settings": {"duration": 5}}, "languages"),
        ({"writing": {"language": "en"}}, "writing.language"),
        ({"translations": [{"language": "fr", "title": "Mer"}]}, "translations[0].language"),
        ({"translations": [{"language": "de", "title": "Meer"}]}, "translations[0].language"),
        ({"translations": [*GIVEN, *GIVEN]}, "translations[1].language"),
        ({"translations": [{"language": "ja", "scripts": ["一。", "二。"]}]}, "translations[0].scripts"),
        ({"audio": {}, "translations": GIVEN}, "translations[0].scripts"),
        ({"translations": [{"language": "ja", "voice": "none"}]}, "translations[0].voice"),
    ],
)
async def test_contradictions_are_refused_with_their_field(videos: Videos, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        await videos.create(**{**REQUESTED, **fields})
    assert refused.value.violations[0].field == field
    assert not await list_videos(videos)


async def test_all_languages_are_created_together_and_once(videos: Videos) -> None:
    request = {**REQUESTED, "translations": GIVEN, "request_id": "once"}
    created = await videos.create(**request)
    assert created == await videos.create(**request), "the same key gets the same answer"
    assert [each.language for each in created.group.videos] == ["de", "ja"]
    assert created.job_id == created.group.videos[0].job_id
    listed = await list_videos(videos, group_id=created.group.group_id)
    assert {(each.job_id, each.language, each.title) for each in listed} == {
        (created.group.videos[0].job_id, "de", "A walk"),
        (created.group.videos[1].job_id, "ja", "海"),
    }
    with pytest.raises(errors.Conflict):
        await videos.create(**{**request, "languages": ["de"], "translations": []})

    # Two of five jobs are left: none of three languages is created.
    await videos.create(**GOOD)
    french = {"language": "fr", "title": "La mer", "scripts": ["La mer est bleue."]}
    with pytest.raises(errors.ResourceExhausted):
        await videos.create(**{**REQUESTED, "languages": ["de", "ja", "fr"], "translations": [*GIVEN, french]})
    assert len(await list_videos(videos)) == 3


async def test_a_revision_keeps_its_language_and_takes_no_other(videos: Videos) -> None:
    created = await videos.create(**{**REQUESTED, "translations": GIVEN})
    japanese = created.group.videos[1].job_id
    bearer = videos.mesh.bearer()

    async def revise(job_id: str, **changes: Any) -> str:
        request = pb.ReviseVideoRequest(job_id=job_id)
        request.changes.update(changes)
        return str((await videos.stub.ReviseVideo(request, metadata=bearer)).job_id)

    with pytest.raises(errors.InvalidArgument, match="languages"):
        await revise(japanese, languages=["fr"])
    revised = await revise(japanese, priority="high")
    async with open_pool("orchestrator", videos.database) as pool:
        found = await PostgresStore(pool, lambda: None).find(revised, "user_1")
    assert found is not None
    assert (found.request.script, found.request.voice, found.title) == ("海は青い。", "ja", "海")
    assert len(await list_videos(videos, group_id=created.group.group_id)) == 2, "the others stay as they are"

    translated = {"language": "ja", "title": "海"}
    with pytest.raises(errors.Unavailable):
        await videos.create(**{**REQUESTED, "translations": [translated]})


def version(made: Job, language: str) -> Job:
    return replace(made, request=replace(REQUEST, version=LanguageVersion("grp_1", language, "de")))


async def test_one_job_of_a_group_makes_what_all_share(postgres: Databases) -> None:
    async with open_pool("orchestrator", await postgres.fresh("orchestrator")) as pool:
        store = PostgresStore(pool, lambda: None)
        for language in ("de", "ja"):
            await store.create(version(job(), language))
        first, second = await store.claim(LEASE), await store.claim(LEASE)
        assert first is not None and second is not None
        script = WrittenScript((Scene(("Das Meer ist blau.",)),))
        began, may_end = asyncio.Event(), asyncio.Event()
        runs = []

        async def write() -> WrittenScript:
            runs.append(1)
            began.set()
            await may_end.wait()
            return script

        async def fail() -> WrittenScript:
            raise errors.Internal("no", reason="INTERNAL")

        with pytest.raises(errors.Internal):
            await StepLog(store, first, ()).share("script", WrittenScript, fail)
        writing = asyncio.create_task(StepLog(store, first, ()).share("script", WrittenScript, write))
        await began.wait()
        assert await store.claim_shared(second, "script", WrittenScript, LEASE) is False
        waiting = asyncio.create_task(StepLog(store, second, ()).share("script", WrittenScript, write))
        may_end.set()
        assert (await writing, await waiting, runs) == (script, script, [1])


async def test_a_job_takes_over_from_one_that_stopped(postgres: Databases) -> None:
    async with open_pool("orchestrator", await postgres.fresh("orchestrator")) as pool:
        store = PostgresStore(pool, lambda: None)
        for language in ("de", "ja"):
            await store.create(version(job(), language))
        first, second = await store.claim(LEASE), await store.claim(LEASE)
        assert first is not None and second is not None
        assert await store.claim_shared(first, "script", WrittenScript, LEASE) is True
        assert await store.claim_shared(second, "script", WrittenScript, LEASE) is False
        await store.cancel(first.id, first.user_id)
        assert await store.claim_shared(second, "script", WrittenScript, LEASE) is True
        late, script = WrittenScript((Scene(("Late.",)),)), WrittenScript((Scene(("Right.",)),))
        await store.record_shared(first, "script", WrittenScript, late)
        await store.record_shared(second, "script", WrittenScript, script)
        assert await store.claim_shared(second, "script", WrittenScript, LEASE) == script


def test_a_scene_of_many_sentences_is_translated_in_parts() -> None:
    cut = Cut("background:1", background=BACKGROUND)
    long = Scene(tuple(f"{number}." for number in range(600)), "One", tuple("abcdefg"), "en", (cut,))
    scenes = (long, Scene(("Two.",)))
    sent = from_spoken(scenes)
    assert [len(part.sentences) for part in sent] == [250, 250, 100, 1]
    assert [part.title for part in sent] == ["One", "", "", ""]
    assert to_spoken(scenes, sent) == scenes
