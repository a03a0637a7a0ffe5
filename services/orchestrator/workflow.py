"""Workflow: the way of a job, in one straight line.

Each step's result is recorded before the next begins, so that running this again for the same job
skips what is done. `Workers` are the services that do the work; `Journal` is where steps and progress
are recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

from services.orchestrator import timeline
from services.orchestrator.jobs import (
    Captions,
    ClipRequest,
    FinishedVideo,
    Job,
    Narration,
    Picture,
    Result,
    SoundTrack,
    SourceClip,
    Spoken,
    StoredObject,
    VideoRequest,
)

T = TypeVar("T")

Progress = Callable[[float], None]

# What is shown after the last word, so that the video does not end on it.
TAIL_SECONDS = 0.6


class Workers(Protocol):
    """The services, as the workflow sees them. Each reports its progress from 0 to 1."""

    async def validate(self, clip: ClipRequest, progress: Progress) -> SourceClip: ...

    async def validate_picture(self, image: StoredObject, name: str) -> StoredObject: ...

    async def write_script(self, title: str, script: str | None) -> list[str]: ...

    async def speak(self, sentences: Sequence[str], voice: str, progress: Progress) -> Narration: ...

    async def caption(self, narration: Narration, request: VideoRequest) -> Captions: ...

    async def mix(
        self,
        narration: Narration,
        music: str,
        kept: Sequence[timeline.ClipSound],
        seconds: float,
        progress: Progress,
    ) -> SoundTrack: ...

    async def render(self, segment: timeline.Segment, request: VideoRequest, progress: Progress) -> Picture: ...

    async def join(self, segments: Sequence[StoredObject], progress: Progress) -> Picture: ...

    async def finish(
        self, job_id: str, title: str, picture: Picture, sound: SoundTrack, seconds: float, progress: Progress
    ) -> FinishedVideo: ...

    async def keep(self, job_id: str, name: str, text: str) -> StoredObject: ...


class Journal(Protocol):
    """Where a job's steps and progress are recorded. Every write fails once another instance has taken the job up."""

    def stage(self, name: str) -> AbstractAsyncContextManager[None]:
        """Mark a stage as in progress while the context is open, and as completed or failed afterwards."""

    async def step(self, name: str, kind: type[T], work: Callable[[], Awaitable[T]]) -> T:
        """What the step gave when it ran before; otherwise run it, and record what it gives."""

    def progress(self, stage: str, fraction: float) -> None:
        """Tell how far a stage is."""


async def make_video(job: Job, workers: Workers, journal: Journal, *, clips_at_once: int = 4) -> Result:
    """Make the video of a job. Raises the typed error of the first step that failed for good."""
    request = job.request

    async with journal.stage("validation"):
        share = _Shares(journal, "validation", len(request.clips))
        at_once = asyncio.Semaphore(clips_at_once)

        async def validate(index: int, clip: ClipRequest) -> SourceClip:
            async with at_once:
                work = lambda: workers.validate(clip, share.of(index))  # noqa: E731
                return await journal.step(f"validate {index}", SourceClip, work)

        clips = await _together([validate(index, clip) for index, clip in enumerate(request.clips)])
        for index, overlay in enumerate(request.overlays):
            check = lambda: workers.validate_picture(overlay.image, f"overlays[{index}]")  # noqa: B023, E731
            await journal.step(f"validate overlay {index}", StoredObject, check)

    async with journal.stage("audio_generation"):
        share = _Shares(journal, "audio_generation", 2)

        async def speak() -> Spoken:
            texts = [clip.script for clip in request.clips] if request.clips[0].script else [request.script]
            scenes = [await workers.write_script(request.title, text) for text in texts]
            sentences = [sentence for scene in scenes for sentence in scene]
            narration = await workers.speak(sentences, request.voice, share.of(0))
            return Spoken(narration, tuple(len(scene) for scene in scenes))

        async def caption() -> Captions:
            return await workers.caption(spoken.narration, request)

        spoken = await journal.step("speak", Spoken, speak)
        captions = await journal.step("caption", Captions, caption)
        frame_count = timeline.frames(spoken.narration.seconds + TAIL_SECONDS, request.frames_per_second)
        seconds = frame_count / request.frames_per_second
        frame = timeline.Frame(
            frames_per_second=request.frames_per_second,
            transition=request.transition,
            transition_seconds=request.transition_seconds,
            captions_ass="" if request.captions.position == "none" else captions.ass,
            overlays=request.overlays,
        )
        if request.clips[0].script:
            spans = timeline.bound(clips, scene_frames(spoken, frame_count, request.frames_per_second), frame)
        else:
            spans = timeline.spread(clips, frame_count, frame)

        async def mix() -> SoundTrack:
            kept = timeline.sounds(spans, frame)
            return await workers.mix(spoken.narration, request.background_music, kept, seconds, share.of(1))

        sound = await journal.step("mix", SoundTrack, mix)

    async with journal.stage("video_processing"):
        segments = timeline.plan(spans, frame)
        share = _Shares(journal, "video_processing", len(segments))

        async def render(segment: timeline.Segment) -> Picture:
            work = lambda: workers.render(segment, request, share.of(segment.index))  # noqa: E731
            return await journal.step(f"render {segment.index}", Picture, work)

        pictures = await _together([render(segment) for segment in segments])

    async with journal.stage("concatenation"):
        share = _Shares(journal, "concatenation", 1)
        work = lambda: workers.join([picture.video for picture in pictures], share.of(0))  # noqa: E731
        joined = await journal.step("join", Picture, work)

    async with journal.stage("rendering"):
        share = _Shares(journal, "rendering", 1)

        async def finish() -> Result:
            finished = await workers.finish(job.id, request.title, joined, sound, seconds, share.of(0))
            return Result(
                video=finished.video,
                poster=finished.poster,
                thumbnails=finished.thumbnails,
                srt=await workers.keep(job.id, "captions.srt", captions.srt),
                vtt=await workers.keep(job.id, "captions.vtt", captions.vtt),
                ass=await workers.keep(job.id, "captions.ass", captions.ass),
                seconds=finished.seconds,
                segments=len(pictures),
                reused_segments=sum(picture.reused for picture in pictures),
            )

        return await journal.step("finish", Result, finish)


def scene_frames(spoken: Spoken, frame_count: int, frames_per_second: int) -> list[int]:
    """How many frames each scene has: it lasts until the first word of the next one."""
    begins, sentence = [0], 0
    for length in spoken.scenes[:-1]:
        sentence += length
        word = spoken.narration.sentences[sentence][0]
        begins.append(round(word.start_seconds * frames_per_second))
    ends = [*begins[1:], frame_count]
    return [end - begin for begin, end in zip(begins, ends, strict=True)]


class _Shares:
    """Adds the progress of several pieces of work up to that of their stage."""

    def __init__(self, journal: Journal, stage: str, pieces: int) -> None:
        self._journal = journal
        self._stage = stage
        self._fractions = [0.0] * pieces

    def of(self, index: int) -> Progress:
        def tell(fraction: float) -> None:
            self._fractions[index] = fraction
            self._journal.progress(self._stage, sum(self._fractions) / len(self._fractions))

        return tell


async def _together(work: Sequence[Awaitable[T]]) -> list[T]:
    """Run all at once; when one fails, stop the others and raise its error alone."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
