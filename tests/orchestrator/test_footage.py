"""A video without clips shows footage that is chosen for each scene; a clip that cannot be used is replaced."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from moneyprinter.content.v1 import footage_service_pb2 as footage_pb
from moneyprinter.errors import InvalidArgument
from services.orchestrator.jobs import timeline, workflow
from services.orchestrator.jobs.driver import Driver
from services.orchestrator.jobs.footage import FootageChoice
from services.orchestrator.jobs.model import (
    Asset,
    ClipRequest,
    Job,
    Result,
    SourceClip,
    StoredObject,
    VideoRequest,
)
from services.orchestrator.jobs.scenes import (
    Approval,
    Background,
    Credit,
    Cut,
    Scene,
    SceneRequest,
    Script,
    WritingOptions,
)
from services.orchestrator.postgres.footage import PostgresFootageRecords
from services.orchestrator.postgres.store import PostgresStore
from services.orchestrator.videos.revisions import merge_changes
from services.orchestrator.workers.footage import GrpcFootage
from services.runtime.progress import OnProgress
from tests.databases import Databases, open_pool
from tests.orchestrator.memory import MemoryStore
from tests.orchestrator.samples import REQUEST, RESULT, StraightWorkers, job, source

CREDIT = Credit("pexels", "Ada", "https://example.com/ada", "Pexels License", "https://example.com/l", "")
TOPIC = (
    Scene(("One.", "Two."), "The sea", ("sea waves",), "en"),
    Scene(("Three.",), "", ("salt",), "en"),
)


class Writers(StraightWorkers):
    """Writes two scenes, and offers clips by name. `dead` are the addresses that cannot be fetched."""

    def __init__(self, *offered: str, dead: Collection[str] = ()) -> None:
        super().__init__()
        self.offered = list(offered)
        self.dead = dead
        self.asked: list[tuple[str, list[float], list[str]]] = []
        self.shown: list[timeline.Segment] = []
        self.options: WritingOptions | None = None

    async def write_script(
        self, title: str, script: str | None, language: str, script_format: str, options: WritingOptions
    ) -> Script:
        self.options = options
        if script is None:
            return Script(("One.", "Two.", "Three."), (), TOPIC, "plain-template")
        return Script((script,), (), (Scene((script,), "", (script.lower(),), "en"),), "caller")

    async def choose_footage(
        self,
        request: VideoRequest,
        language: str,
        scenes: Sequence[Scene],
        seconds: Sequence[float],
        source: str,
        excluded: Collection[str],
    ) -> FootageChoice:
        self.asked.append((source, [round(each, 3) for each in seconds], sorted(excluded)))
        free = [name for name in self.offered if name not in excluded] if source != "none" else []
        chosen = []
        for place, each in enumerate(seconds):
            if place < len(free):
                url = f"https://example.com/{free[place]}.mp4"
                chosen.append((Cut(free[place], url, seconds=each, query="sea", credit=CREDIT),))
            else:
                key = f"background:{len(excluded) + place}"
                background = Background(1 + len(excluded) + place, ("#0b1026", "#3a1c71"))
                chosen.append((Cut(key, background=background, seconds=each),))
        return FootageChoice(tuple(chosen))

    async def validate(self, clip: ClipRequest, on_progress: OnProgress) -> SourceClip:
        if clip.url and clip.url.removeprefix("https://example.com/").removesuffix(".mp4") in self.dead:
            raise InvalidArgument("the clip cannot be fetched: 404", reason="CLIP_UNREACHABLE")
        return SourceClip(source(clip.url or "upload"), clip.start_seconds or 0.0, 60.0, style=clip.style)

    async def render(self, segment: timeline.Segment, request: VideoRequest, on_progress: OnProgress) -> Any:
        self.shown.append(segment)
        return await super().render(segment, request, on_progress)


def topic_job(**changes: Any) -> Job:
    made = job()
    return replace(made, request=replace(made.request, clips=(), script=None, footage="auto", **changes))


async def drive(store: MemoryStore, workers: workflow.Workers) -> None:
    async def make(made: Job, journal: Any) -> Any:
        return await workflow.make_video(made, workers, journal)

    async def changed(_: str) -> None:
        """Do nothing: nothing watches."""

    async def report_alive() -> None:
        """Do nothing: no queue is here."""

    await Driver(store, make, changed, lease_seconds=10.0, max_attempts=1).drive(report_alive)


async def result_of(workers: workflow.Workers, made: Job) -> Result:
    store = MemoryStore()
    await store.create(made)
    await drive(store, workers)
    found = await store.find(made.id, made.user_id)
    assert found is not None
    assert found.status == "completed", found.failure
    assert found.result is not None
    return found.result


def ids(result: Result) -> list[list[str]]:
    return [[cut.id for cut in scene.cuts] for scene in result.scenes]


async def test_each_scene_shows_its_footage_while_it_is_spoken() -> None:
    workers = Writers("sea", "salt")
    writing = WritingOptions("en", tone="calm", seconds=20.0)
    result = await result_of(workers, topic_job(writing=writing))
    assert workers.options == writing
    # The words begin at 0, 1 and 2 seconds; the narration has 9.4, and the video a little more.
    assert workers.asked == [("auto", [2.0, 8.0], [])]
    assert ids(result) == [["sea"], ["salt"]]
    assert [scene.search_terms for scene in result.scenes] == [("sea waves",), ("salt",)]
    assert result.scenes[0].cuts[0].credit == CREDIT
    assert result.script_writer == "plain-template"
    begins = {
        shot.clip.source.object.key: segment.first_frame
        for segment in sorted(workers.shown, key=lambda each: -each.first_frame)
        for shot in segment.shots
        if shot.clip.source
    }
    assert begins == {"https://example.com/sea.mp4": 0, "https://example.com/salt.mp4": 60}
    titles = {shot.clip.style.title for segment in workers.shown for shot in segment.shots}
    assert titles == {"The sea", ""}


@pytest.mark.parametrize(
    ("offered", "dead", "shown"),
    [
        (("sea", "salt", "waves"), ("sea",), ["waves", "salt"]),
        (("sea", "salt", "waves", "foam"), ("sea", "salt"), ["waves", "foam"]),
        (("sea", "salt", "waves", "foam"), ("sea", "waves", "foam"), ["background", "salt"]),
        (("sea",), ("sea",), ["background", "background"]),
        ((), (), ["background", "background"]),
    ],
)
async def test_a_dead_clip_is_replaced_by_the_next_one_and_at_last_by_a_background(
    offered: Sequence[str], dead: Sequence[str], shown: list[str]
) -> None:
    result = await result_of(Writers(*offered, dead=dead), topic_job())
    found = [cut_id.partition(":")[0] for row in ids(result) for cut_id in row]
    assert sorted(found) == sorted(shown)
    clips = [name for name in found if name != "background"]
    assert len(clips) == len(set(clips)), "no clip is shown twice"
    replaced = [notice.message.split()[1] for notice in result.notices if notice.reason == "FOOTAGE_REPLACED"]
    assert sorted(replaced) == sorted(dead), "each is stated"


async def test_chosen_scenes_of_a_request_are_kept_and_the_others_are_chosen() -> None:
    mine = Cut("", "https://example.com/mine.mp4", seconds=3.0)
    scenes = (SceneRequest("First.", cuts=(mine, Cut("", "https://example.com/own.mp4"))), SceneRequest("Second."))
    workers = Writers("sea")
    result = await result_of(workers, topic_job(scenes=scenes))
    assert [scene.script for scene in result.scenes] == ["First.", "Second."]
    assert [[cut.url.rpartition("/")[2] for cut in scene.cuts] for scene in result.scenes] == [
        ["mine.mp4", "own.mp4"],
        ["sea.mp4"],
    ]
    assert len(workers.asked) == 1


async def test_footage_is_reviewed_with_the_script_before_anything_is_spoken() -> None:
    store, workers = MemoryStore(), Writers("sea", "salt", "foam")
    made = topic_job(review="footage")
    await store.create(made)
    await drive(store, workers)
    assert "speak" not in workers.done
    waiting = await store.find(made.id, made.user_id)
    assert waiting is not None
    assert waiting.review is not None
    assert [[cut.id for cut in scene.cuts] for scene in waiting.review.scenes] == [["sea"], ["salt"]]
    first, second = (scene.request for scene in waiting.review.scenes)
    edits = (first, replace(second, script="Salt.", cuts=()))
    await store.approve(made.id, made.user_id, Approval(edits, edits), made.create_time)
    await drive(store, workers)
    found = await store.find(made.id, made.user_id)
    assert found is not None
    assert found.result is not None
    assert [scene.script for scene in found.result.scenes] == ["One. Two.", "Salt."]
    assert ids(found.result) == [["sea"], ["salt"]]
    assert workers.asked[-1][2] == ["sea"], "the kept clip is not chosen again"


def test_cuts_share_the_time_of_their_scene_in_proportion() -> None:
    settings = timeline.TimelineSettings(30, 0.5)
    clips = [SourceClip(source(name), 0.0, 10.0) for name in "abc"]
    spans = timeline.align_cuts([[(clips[0], 2.0), (clips[1], 4.0)], [(clips[2], 0.0)]], [90, 400], settings)
    assert [(span.clip.source and span.clip.source.object.key, span.frame_count) for span in spans] == [
        ("a", 30),
        ("b", 60),
        # The clip has 10 seconds, and repeats.
        ("c", 300),
        ("c", 100),
    ]


def test_a_revision_keeps_the_script_and_the_footage_unless_it_changes_them() -> None:
    scenes = (replace(TOPIC[0], cuts=(Cut("sea", "https://example.com/sea.mp4", seconds=2.0, credit=CREDIT),)),)
    made = replace(
        topic_job(),
        original_request={"title": "The sea", "audio": {"background_music": "calm"}},
        result=replace(RESULT, scenes=scenes, voice="en-US-x"),
    )
    kept = merge_changes(made, {"settings": {"resolution": "720p"}})
    assert kept["audio"] == {"background_music": "calm", "voice": "en-US-x"}
    assert [(scene["script"], scene["cuts"][0]["id"]) for scene in kept["scenes"]] == [("One. Two.", "sea")]
    assert merge_changes(made, {"footage": "none"})["scenes"][0]["cuts"] == []
    changes: dict[str, Any]
    for changes in ({"title": "Salt"}, {"audio": {"script": "Salt."}}, {"clips": []}, {"writing": {"tone": "dry"}}):
        assert "scenes" not in merge_changes(made, changes)
    assert merge_changes(made, {"scenes": [{"script": "New."}]})["scenes"] == [{"script": "New."}]


async def test_clips_of_earlier_videos_are_known_oldest_first(postgres: Databases) -> None:
    async with open_pool("orchestrator", await postgres.fresh("orchestrator")) as pool:
        store, records = PostgresStore(pool, lambda: None), PostgresFootageRecords(pool)
        for name in ("sea", "salt"):
            made = replace(job(), create_time=datetime.now(UTC))
            await store.create(made)
            claimed = await store.claim(claimed_for := made.create_time - made.create_time)
            assert claimed is not None, claimed_for
            background = Cut("background:1", background=Background(1, ("#0b1026", "#3a1c71")))
            scenes = (replace(TOPIC[0], cuts=(Cut(name, "https://example.com/a.mp4"), background)),)
            await store.complete(claimed, replace(RESULT, scenes=scenes), claimed.stages, claimed.progress_details)
        assert await records.list_used_cuts("user_1") == ["sea", "salt"]
        assert await records.list_used_cuts("user_2") == []
        assert await records.find_upload("user_1", "ast_1") is None


def test_a_revision_keeps_the_script_that_a_provider_wrote() -> None:
    made = topic_job()
    made = replace(
        made,
        request=replace(made.request, footage=""),
        original_request={"title": "The sea", "clips": [{"asset_id": "ast_1"}]},
        result=replace(RESULT, scenes=TOPIC[:1], voice="en-US-x", script_writer="openai"),
    )
    kept = merge_changes(made, {"settings": {"resolution": "720p"}})
    assert kept["audio"] == {"voice": "en-US-x", "script": "One.\nTwo.", "script_format": "plain"}
    changes: dict[str, Any]
    for changes in ({"title": "Salt"}, {"audio": {"voice": "de"}}, {"clips": [{"asset_id": "a", "script": "Hi."}]}):
        assert "script" not in merge_changes(made, changes).get("audio", {})
    template = replace(made, result=replace(RESULT, scenes=TOPIC[:1], script_writer="plain-template"))
    assert "audio" not in merge_changes(template, {"settings": {"resolution": "720p"}})


async def test_the_records_of_the_user_are_read_once_for_a_job() -> None:
    """Each replaced clip is a further choice, for which up to 5,000 uploads would be read again."""

    class Records:
        reads = 0

        async def list_uploads(self, user_id: str) -> list[Asset]:
            self.reads += 1
            return [Asset("ast_1", user_id, "sea.mp4", StoredObject("k", "0" * 64, 1), datetime.now(UTC))]

        async def find_upload(self, user_id: str, asset_id: str) -> Asset | None:
            return None

        async def list_used_cuts(self, user_id: str) -> list[str]:
            self.reads += 1
            return ["pexels:1"]

    class Content:
        def __init__(self) -> None:
            self.requests: list[footage_pb.ChooseFootageRequest] = []

        async def ChooseFootage(self, request: footage_pb.ChooseFootageRequest) -> footage_pb.ChooseFootageResponse:
            self.requests.append(request)
            return footage_pb.ChooseFootageResponse()

    records, content = Records(), Content()
    chooser = GrpcFootage(content, records, "user_1")
    for kind in ("none", "auto", "auto"):
        await chooser.choose(REQUEST, "en", [], [], kind, [])
    assert records.reads == 2
    assert [len(request.assets) for request in content.requests] == [0, 1, 1]
    assert [list(request.used_ids) for request in content.requests] == [[], ["pexels:1"], ["pexels:1"]]
