"""The pronunciations of an account: they are kept, merged with those of a request, and recorded with each job."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from moneyprinter import errors
from moneyprinter.video.v1 import library_service_pb2 as library_pb
from moneyprinter.video.v1 import library_service_pb2_grpc as library_grpc
from moneyprinter.video.v1 import video_service_pb2 as pb
from moneyprinter.video.v1 import video_service_pb2_grpc as pb_grpc
from services.orchestrator.config import Config
from services.orchestrator.jobs.options import Pronunciation, SpeechOptions
from services.orchestrator.postgres.store import PostgresStore
from tests.databases import Databases, open_pool
from tests.mesh import Mesh
from tests.orchestrator.memory import MemoryStore
from tests.orchestrator.samples import StraightWorkers, job
from tests.orchestrator.test_reviews import driver, report_alive

LEXICON = (
    Pronunciation("nginx", "engine x"),
    Pronunciation("GIF", "jif", "en"),
    Pronunciation("GIF", "giff", "en-GB"),
    Pronunciation("Wien", "Vienna", "en"),
)


@pytest.mark.parametrize(
    ("language", "spoken"),
    [
        ("en-US", {"nginx": "engine ex", "GIF": "jif", "Wien": "Vienna"}),
        ("en-GB", {"nginx": "engine ex", "GIF": "giff", "Wien": "Vienna"}),
        ("de-DE", {"nginx": "engine ex"}),
        ("eng", {"nginx": "engine ex"}),
    ],
)
def test_a_request_comes_before_the_account(language: str, spoken: dict[str, str]) -> None:
    options = SpeechOptions(1.2, pronunciations={"nginx": "engine ex"}, lexicon=LEXICON).for_language(language)
    assert options == SpeechOptions(1.2, pronunciations=spoken)
    other_case = SpeechOptions(pronunciations={"NGINX": "n g"}, lexicon=LEXICON[:1])
    assert other_case.for_language(language).pronunciations == {"NGINX": "n g"}


async def test_a_job_speaks_the_pronunciations_of_its_voice() -> None:
    given: list[SpeechOptions] = []

    class Recorder(StraightWorkers):
        """Records how the narration is spoken."""

        async def speak(self, *arguments: Any) -> Any:
            given.append(arguments[2])
            return await super().speak(*arguments)

    made = job()
    store = MemoryStore()
    await store.create(replace(made, request=replace(made.request, speech_options=SpeechOptions(lexicon=LEXICON))))
    await driver(store, Recorder()).drive(report_alive)
    assert [options.pronunciations for options in given] == [{"nginx": "engine x", "GIF": "jif", "Wien": "Vienna"}]


async def test_a_job_keeps_the_pronunciations_of_its_creation(postgres: Databases, nats_url: str, mesh: Mesh) -> None:
    database = await postgres.fresh("orchestrator")
    await mesh.start("orchestrator", Config(database=database, nats=nats_url, jobs_at_once=0))
    settings = mesh.stub(library_grpc.LibraryServiceStub, caller="gateway")
    videos = mesh.stub(pb_grpc.VideoServiceStub, caller="gateway")

    async def update(*entries: tuple[str, str, str], **others: Any) -> library_pb.LibrarySettings:
        lexicon = library_pb.Lexicon(
            entries=[library_pb.Pronunciation(term=t, pronunciation=p, language=tag) for t, p, tag in entries]
        )
        request = library_pb.UpdateSettingsRequest(settings=library_pb.LibrarySettings(lexicon=lexicon, **others))
        return (await settings.UpdateSettings(request, metadata=mesh.bearer("user_1"))).settings

    async def create(user: str) -> str:
        request = pb.CreateVideoRequest(title="A walk", clips=[pb.Clip(url="https://example.com/a.mp4")])
        return (await videos.CreateVideo(request, metadata=mesh.bearer(user))).job_id

    saved = await update(("nginx", "engine x", ""), ("GIF", "jif", "en"))
    assert saved.retention_days == 0
    assert [entry.term for entry in saved.lexicon.entries] == ["nginx", "GIF"]
    first, foreign = await create("user_1"), await create("user_2")
    days = library_pb.UpdateSettingsRequest(settings=library_pb.LibrarySettings(retention_days=9))
    kept = (await settings.UpdateSettings(days, metadata=mesh.bearer("user_1"))).settings
    assert (kept.retention_days, len(kept.lexicon.entries)) == (9, 2), "what is absent stays"
    emptied = await update()
    assert (emptied.retention_days, len(emptied.lexicon.entries)) == (9, 0)
    second = await create("user_1")
    async with open_pool("orchestrator", database) as pool:
        store = PostgresStore(pool, lambda: None)
        found = {
            job_id: made.request.speech_options.lexicon
            for job_id, user in ((first, "user_1"), (foreign, "user_2"), (second, "user_1"))
            if (made := await store.find(job_id, user))
        }
    assert found == {
        first: (Pronunciation("nginx", "engine x"), Pronunciation("GIF", "jif", "en")),
        foreign: (),
        second: (),
    }
    for wrong in (("two words", "x", ""), ("x", "", ""), ("x", "y", "en US")):
        with pytest.raises(errors.InvalidArgument):
            await update(wrong)
    with pytest.raises(errors.InvalidArgument):
        await update(*[(f"word{number}", "x", "") for number in range(101)])
