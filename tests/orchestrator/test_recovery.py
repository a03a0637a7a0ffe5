"""Lost results are made again with all that depends on them; a job never completes without its files."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from moneyprinter.errors import DataLoss, Error, InvalidArgument, NotFound
from services.orchestrator.jobs import recovery, retries, workflow
from services.orchestrator.jobs.cleanup import LAST_ATTEMPT
from services.orchestrator.jobs.driver import Driver
from services.orchestrator.jobs.model import ClipRequest, File, Job, Result, StoredObject
from services.orchestrator.jobs.store import Superseded
from services.orchestrator.postgres.cleanup import PostgresCleanupQueue
from services.orchestrator.postgres.store import PostgresStore
from tests.databases import Databases, open_pool
from tests.orchestrator.memory import MemoryStore
from tests.orchestrator.samples import REQUEST, StraightWorkers, job, stored

REFUSAL = InvalidArgument("no", reason="RENDER_FAILED")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE_SECONDS", 0.0)


class LosingWorkers(StraightWorkers):
    """Workers over a store that loses objects; a step that needs a lost object fails."""

    def __init__(self, fail: dict[str, list[Exception]] | None = None) -> None:
        super().__init__(fail)
        self.stored: set[str] = set()

    async def is_stored(self, wanted: StoredObject) -> bool:
        return wanted.key in self.stored

    def _need(self, *keys: str) -> None:
        for key in keys:
            if key not in self.stored:
                raise NotFound(f"there is no object {key}", reason="OBJECT_NOT_FOUND")

    async def validate(self, *given: Any) -> Any:
        self.stored.add("clip")
        return await super().validate(*given)

    async def speak(self, *given: Any) -> Any:
        self.stored.add("speech")
        return await super().speak(*given)

    async def mix(self, *given: Any) -> Any:
        self._need("speech", "clip")
        self.stored.add("mix")
        return await super().mix(*given)

    async def render(self, segment: Any, *given: Any) -> Any:
        self._need("clip")
        self.stored.add(f"segment-{segment.index}")
        return await super().render(segment, *given)

    async def join(self, segments: Any, *given: Any) -> Any:
        self._need(*(segment.key for segment in segments))
        self.stored.add("joined")
        return await super().join(segments, *given)

    async def finish(self, *given: Any) -> Any:
        self._need("joined", "mix")
        self.stored |= {"poster", "joined"}
        return await super().finish(*given)

    async def store_text(self, job: Job, name: str, text: str) -> StoredObject:
        self.stored.add(name)
        return await super().store_text(job, name, text)


async def report_alive() -> None:
    """Do nothing: no queue is here."""


async def drive(store: Any, workers: LosingWorkers) -> None:
    async def make(made: Job, journal: Any) -> Any:
        return await workflow.make_video(made, workers, journal)

    async def changed(_: str) -> None:
        pass

    await Driver(store, make, changed, lease_seconds=10, max_attempts=3, is_stored=workers.is_stored).drive(
        report_alive
    )


async def found(store: Any, made: Job) -> Job:
    job = await store.find(made.id, made.user_id)
    assert isinstance(job, Job)
    return job


@pytest.mark.parametrize(
    ("failed", "lost", "again"),
    [
        # The step that fails first, the objects lost until the retry, and the steps that run then.
        ("mix", ["speech"], ["speak", "caption", "mix", "render 0"]),
        ("render 1", ["clip"], ["validate", "validate", "caption", "render 1"]),
        ("join", ["segment-0"], ["render 0", "join", "finish"]),
        ("join", ["segment-0", "segment-1", "clip"], ["validate", "render 0", "render 1", "join"]),
        ("finish", ["joined"], ["join", "finish"]),
        ("finish", ["mix"], ["mix", "finish"]),
        ("finish", ["mix", "speech"], ["speak", "mix", "finish"]),
        ("finish", ["joined", "segment-0", "segment-1", "segment-2", "segment-3", "mix", "speech", "clip"], ["speak"]),
    ],
)
async def test_a_retry_repeats_the_steps_of_lost_objects_and_their_dependants(
    failed: str, lost: list[str], again: list[str]
) -> None:
    store, workers, made = MemoryStore(), LosingWorkers(fail={failed: [REFUSAL]}), job()
    await store.create(made)
    await drive(store, workers)
    assert (await found(store, made)).status == "failed"
    await store.retry(made.id, made.user_id, made.create_time)
    workers.stored -= set(lost)
    workers.done.clear()
    await drive(store, workers)
    ended = await found(store, made)
    assert ended.status == "completed", ended.failure
    assert set(again) <= set(workers.done)
    assert ended.progress_details.rendered_count == ended.progress_details.segment_count, "each segment is counted once"
    assert set(ended.stages.values()) == {"completed"}


async def test_a_running_job_repeats_the_step_of_an_object_that_is_lost() -> None:
    """The join finds a segment damaged, and the store removes it."""

    class Damaged(LosingWorkers):
        async def join(self, segments: Any, *given: Any) -> Any:
            if "join" not in self.done and not self.damaged:
                self.damaged = True
                self.stored.discard(segments[1].key)
            return await super().join(segments, *given)

        damaged = False

    store, workers, made = MemoryStore(), Damaged(), job()
    await store.create(made)
    await drive(store, workers)
    assert (await found(store, made)).status == "completed"
    assert workers.done.count("render 1") == 2
    assert workers.done.count("render 0") == 1


async def test_a_store_that_loses_everything_fails_the_job() -> None:
    class Sieve(LosingWorkers):
        async def join(self, segments: Any, *given: Any) -> Any:
            self.stored.discard(segments[0].key)
            return await super().join(segments, *given)

    store, workers, made = MemoryStore(), Sieve(), job()
    await store.create(made)
    await drive(store, workers)
    ended = await found(store, made)
    assert ended.failure is not None
    assert ended.failure.reason == "SERVICE_UNAVAILABLE"
    assert "disk of the storage service" in ended.failure.message


@pytest.mark.parametrize(
    "error",
    [
        NotFound("there is no object assets/ast_1", reason="OBJECT_NOT_FOUND"),
        DataLoss("object assets/ast_1 was altered; restore it", reason="DATA_CORRUPT"),
    ],
)
@pytest.mark.parametrize("step", ["validate", "render 0", "mix"])
async def test_a_lost_upload_fails_the_job_with_its_field_and_the_remedy(step: str, error: Error) -> None:
    store, workers, made = MemoryStore(), LosingWorkers(fail={step: [error, error]}), job()
    await store.create(made)
    await drive(store, workers)
    failure = (await found(store, made)).failure
    assert failure is not None
    assert failure.reason == "DATA_CORRUPT"
    assert failure.message.startswith("clips[1]: the stored file of the asset ast_1 is damaged or missing; upload")


def test_only_dependants_of_a_lost_step_run_again() -> None:
    steps = ["validate 0", "validate overlay 0", "speak", "caption", "mix", "render 0", "render 1", "join 0", "finish"]
    assert recovery.dependent_steps(["mix"], steps) == ["mix", "finish"]
    assert recovery.dependent_steps(["render 1"], steps) == ["render 1", "join 0", "finish"]
    assert recovery.dependent_steps(["speak"], steps) == steps[2:]
    assert recovery.dependent_steps(["validate overlay 0"], steps) == ["validate overlay 0", *steps[3:]]
    assert recovery.needed_steps("join 0", steps) == ["render 0", "render 1"]
    assert recovery.needed_steps(recovery.COMPLETE, steps) == ["finish"]


def test_an_error_about_another_object_is_unchanged() -> None:
    request = replace(REQUEST, clips=(ClipRequest("https://example.com/a", None, None, None),))
    error = NotFound("there is no object cache/x", reason="OBJECT_NOT_FOUND")
    assert recovery.explain(error, request) is error


async def test_a_retried_job_makes_its_removed_files_again(postgres: Databases) -> None:
    """The job is cancelled between its last step and its end, cleaned up, and retried (`record:7`)."""
    async with open_pool("orchestrator", await postgres.fresh("orchestrator")) as pool:
        store, workers, made = PostgresStore(pool, lambda: None), LosingWorkers(), job()
        await store.create(made)

        class CancelledAtTheEnd:
            def __getattr__(self, name: str) -> Any:
                return getattr(store, name)

            async def complete(self, job: Job, *given: Any) -> None:
                await store.cancel(made.id, made.user_id)
                await store.complete(job, *given)

        with pytest.raises(Superseded):
            await drive(CancelledAtTheEnd(), workers)
        later = PostgresCleanupQueue(pool, lambda: made.create_time + timedelta(minutes=1))
        swept: list[tuple[str, bool, int]] = []

        async def remove(gone: Job, deleted: bool) -> None:
            swept.append((gone.id, deleted, gone.last_stale_attempt))
            workers.stored -= {"joined", "poster", "captions.srt", "captions.vtt", "captions.ass"}

        assert await later.clean_next(remove)
        assert swept == [(made.id, False, 1)]
        await store.retry(made.id, made.user_id, made.create_time)
        await drive(store, workers)
        ended = await found(store, made)
        assert ended.status == "completed"
        assert ended.result is not None
        assert all(file.object.key in workers.stored for file in ended.result.files)


async def test_steps_and_their_files_are_removed_in_one_transaction(postgres: Databases) -> None:
    async with open_pool("orchestrator", await postgres.fresh("orchestrator")) as pool:
        store, made = PostgresStore(pool, lambda: None), job()
        await store.create(made)
        claimed = await store.claim(timedelta(seconds=10))
        assert claimed is not None
        await store.record(claimed, "speak", StoredObject, stored("cache/audio/x"))
        await store.record(claimed, "finish", StoredObject, stored(f"{claimed.attempt_folder}/video.mp4"))
        await store.cancel(made.id, made.user_id)
        later = PostgresCleanupQueue(pool, lambda: made.create_time + timedelta(minutes=1))

        async def fails(gone: Job, deleted: bool) -> None:
            raise NotFound("x", reason="OBJECT_NOT_FOUND")

        with pytest.raises(NotFound):
            await later.clean_next(fails)
        assert set(await store.step_names(claimed)) == {"speak", "finish"}

        async def removes(gone: Job, deleted: bool) -> None:
            assert not deleted

        assert await later.clean_next(removes)
        assert set(await store.step_names(claimed)) == {"speak"}


async def test_files_lost_before_a_job_resumes_are_made_again() -> None:
    """The instance dies before it ends the job, and the files are lost meanwhile."""

    class Dies(Exception):
        """The instance dies."""

    store, workers, made = MemoryStore(), LosingWorkers(), job()
    await store.create(made)

    class DiesAtTheEnd:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        async def complete(self, *_: Any) -> None:
            raise Dies

    with pytest.raises(Dies):
        await drive(DiesAtTheEnd(), workers)
    store._heartbeats[made.id] -= timedelta(minutes=1)
    workers.stored.discard("poster")
    await drive(store, workers)
    assert (await found(store, made)).status == "completed"
    assert workers.done.count("finish") == 2
    assert "poster" in workers.stored


async def test_files_of_earlier_attempts_are_removed(postgres: Databases) -> None:
    async with open_pool("orchestrator", await postgres.fresh("orchestrator")) as pool:
        store, made = PostgresStore(pool, lambda: None), job()
        await store.create(made)
        await store.claim(timedelta(seconds=-1))
        await store.claim(timedelta(seconds=-1))
        claimed = await store.claim(timedelta(seconds=-1))
        assert claimed is not None
        result = Result((File("video.mp4", stored(f"{made.folder}/2/video.mp4")),), 1.0)
        await store.complete(claimed, result, claimed.stages, claimed.progress_details)
        fences: list[int] = []

        async def remove(gone: Job, deleted: bool) -> None:
            fences.append(gone.last_stale_attempt)

        assert await PostgresCleanupQueue(pool).clean_next(remove)
        assert fences == [1], "the files of the attempt that made the result stay"
        assert (await found(store, made)).result == result
        assert claimed.attempt < LAST_ATTEMPT
