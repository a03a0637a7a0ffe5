"""Workflow: the way of a job, in one straight line.

Each step's result is recorded before the next begins, so that running this again for the same job
skips what is done. `Workers` are the services that do the work; `Journal` is where steps and progress
are recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar, cast

from moneyprinter.errors import DataLoss, InvalidArgument
from services.orchestrator.jobs import timeline
from services.orchestrator.jobs.model import (
    NO_NARRATION,
    Captions,
    ClipRequest,
    File,
    FinishedVideo,
    Job,
    NarratedScript,
    Narration,
    Narrator,
    RenderedVideo,
    Result,
    Script,
    SoundTrack,
    Source,
    SourceClip,
    StoredObject,
    VideoRequest,
)

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")

Progress = Callable[[float], None]

# What is shown after the last word, so that the video does not end on it.
TAIL_SECONDS = 0.6


class Workers(Protocol):
    """The services, as the workflow sees them. Each reports its progress from 0 to 1."""

    async def validate(self, clip: ClipRequest, progress: Progress) -> SourceClip: ...

    async def validate_picture(self, image: StoredObject) -> Source: ...

    async def find_voice(self, request: VideoRequest) -> Narrator: ...

    async def write_script(self, title: str, script: str | None, language: str, script_format: str) -> Script: ...

    async def speak(self, sentences: Sequence[str], voice: str, progress: Progress) -> Narration: ...

    async def caption(
        self, narration: Narration, titles: Sequence[timeline.Title], request: VideoRequest, language: str
    ) -> Captions: ...

    async def mix(
        self,
        narration: Narration,
        request: VideoRequest,
        kept: Sequence[timeline.ClipSound],
        seconds: float,
        progress: Progress,
    ) -> SoundTrack: ...

    async def render(self, segment: timeline.Segment, request: VideoRequest, progress: Progress) -> RenderedVideo: ...

    async def join(self, segments: Sequence[StoredObject], progress: Progress) -> RenderedVideo: ...

    async def finish(
        self, job: Job, joined: Sequence[RenderedVideo], sound: SoundTrack, plan: Plan, progress: Progress
    ) -> FinishedVideo: ...

    async def take_poster(self, job: Job, segment: timeline.Segment) -> File: ...

    async def keep(self, job: Job, name: str, text: str) -> StoredObject: ...


class Journal(Protocol):
    """Where a job's steps and progress are recorded. Every write fails once another instance has taken the job up."""

    def stage(self, name: str) -> AbstractAsyncContextManager[None]:
        """Mark a stage as in progress while the context is open, and as completed or failed afterwards."""

    async def step(self, name: str, kind: type[T], work: Callable[[], Awaitable[T]]) -> T:
        """What the step gave when it ran before; otherwise run it, and record what it gives."""

    def progress(self, stage: str, fraction: float) -> None:
        """Tell how far a stage is."""

    def planned(self, segments: int) -> None:
        """Tell how many segments there are."""

    def rendered(self, reused: bool) -> None:
        """Tell that another segment is done, and whether it was found."""


@dataclass(frozen=True)
class Plan:
    """What is known once the script is spoken: what is heard, what is shown, and when."""

    spoken: NarratedScript
    captions: Captions
    spans: tuple[timeline.Span, ...]
    frame: timeline.Frame
    seconds: float

    @property
    def may_be_black(self) -> bool:
        """Whether nothing that is shown must be lighter than black."""
        return all(span.clip.is_dark for span in self.spans)

    @property
    def narration(self) -> Narration:
        """What is heard."""
        return self.spoken.narration


async def make_video(job: Job, workers: Workers, journal: Journal, *, clips_at_once: int = 4) -> Result:
    """Make the video of a job. Raises the typed error of the first step that failed for good."""
    request = job.request
    async with journal.stage("validation"):
        clips, overlays = await _validate(request, workers, journal, clips_at_once)

    spoken: asyncio.Future[Plan] = asyncio.get_running_loop().create_future()

    async def sound() -> SoundTrack:
        async with journal.stage("audio_generation"):
            share = _Shares(journal, "audio_generation", 2)
            plan = await _speak(request, clips, overlays, workers, journal, share.of(0))
            spoken.set_result(plan)
            kept = timeline.sounds(plan.spans, plan.frame)
            work = lambda: workers.mix(plan.narration, request, kept, plan.seconds, share.of(1))  # noqa: E731
            return await journal.step("mix", SoundTrack, work)

    async def picture() -> list[RenderedVideo]:
        plan = await spoken
        async with journal.stage("video_processing"):
            segments = await asyncio.to_thread(timeline.plan, plan.spans, plan.frame)
            return await _draw(segments, request, workers, journal)

    # The picture needs the words and their times, and not the mix.
    track, pictures = await _both(sound(), picture())
    plan = spoken.result()

    async with journal.stage("concatenation"):
        share = _Shares(journal, "concatenation", 1 + len(request.renditions))
        sizes = zip(*([picture.video, *picture.renditions] for picture in pictures), strict=True)

        async def join(place: int, segments: Sequence[StoredObject]) -> RenderedVideo:
            work = lambda: workers.join(segments, share.of(place))  # noqa: E731
            return await journal.step(f"join {place}", RenderedVideo, work)

        joined = await _together([join(place, segments) for place, segments in enumerate(sizes)])

    async with journal.stage("rendering"):
        share = _Shares(journal, "rendering", 1)

        async def captions() -> list[File]:
            return [
                File(name, await workers.keep(job, name, text))
                for name, text in (
                    ("captions.srt", plan.captions.srt),
                    ("captions.vtt", plan.captions.vtt),
                    ("captions.ass", plan.captions.ass),
                )
            ]

        async def finish() -> Result:
            finishing = workers.finish(job, joined, track, plan, share.of(0))
            finished, written = await _both(finishing, captions())
            files = list(finished.files)
            if plan.captions.ass or request.poster_seconds is not None:
                # The one that was found in the finished picture may hold half a caption.
                seconds = finished.poster_seconds if request.poster_seconds is None else request.poster_seconds
                poster = await workers.take_poster(job, timeline.still_segment(plan.spans, plan.frame, seconds))
                files = [poster if file.name == poster.name else file for file in files]
            return Result(
                files=(*files, *written),
                seconds=finished.seconds,
                loudness_lufs=finished.loudness_lufs,
                true_peak_dbtp=finished.true_peak_dbtp,
                missing_glyphs=plan.captions.missing_glyphs,
                voice=plan.spoken.narrator.name,
                voice_quality=plan.spoken.narrator.quality,
                notices=(*plan.spoken.narrator.notices, *plan.spoken.notices),
            )

        return await journal.step("finish", Result, finish)


async def _validate(
    request: VideoRequest, workers: Workers, journal: Journal, clips_at_once: int
) -> tuple[list[SourceClip], list[Source]]:
    """Check all that was handed in: the clips and the pictures of the overlays."""
    share = _Shares(journal, "validation", len(request.clips))
    at_once = asyncio.Semaphore(clips_at_once)

    async def validate(index: int, clip: ClipRequest) -> SourceClip:
        if clip.colour:
            return SourceClip(
                None,
                look=clip.look,
                still_seconds=clip.still_seconds,
                colour=clip.colour,
                second_colour=clip.second_colour,
            )
        async with at_once:
            work = lambda: workers.validate(clip, share.of(index))  # noqa: E731
            with _naming(f"clip {index + 1}", clip.name):
                return await journal.step(f"validate {index}", SourceClip, work)

    clips = await _together([validate(index, clip) for index, clip in enumerate(request.clips)])
    overlays = []
    for index, overlay in enumerate(request.overlays):
        check = lambda: workers.validate_picture(overlay.image)  # noqa: B023, E731
        with _naming(f"overlay {index + 1}", overlay.name):
            overlays.append(await journal.step(f"validate overlay {index}", Source, check))
    return clips, overlays


@contextmanager
def _naming(subject: str, name: str) -> Iterator[None]:
    """Have errors name the clip that they are about: `clip 2 (walk.mp4): ...`."""
    try:
        yield
    except (InvalidArgument, DataLoss) as failure:
        about = f"{subject} ({name})" if name else subject
        raise type(failure)(
            f"{about}: {failure.message}", reason=failure.reason, violations=failure.violations
        ) from failure


async def _speak(
    request: VideoRequest,
    clips: Sequence[SourceClip],
    overlays: Sequence[Source],
    workers: Workers,
    journal: Journal,
    progress: Progress,
) -> Plan:
    """Speak the script, and plan by its times what is shown."""

    async def speak() -> NarratedScript:
        narrator = await workers.find_voice(request)
        texts = [clip.script for clip in request.clips] if request.clips[0].script else [request.script]
        scenes = [
            await workers.write_script(request.title, text, narrator.language, request.script_format) for text in texts
        ]
        sentences = [sentence for scene in scenes for sentence in scene.sentences]
        narration = await workers.speak(sentences, narrator.name, progress)
        notices = tuple(dict.fromkeys(notice for scene in scenes for notice in scene.notices))
        return NarratedScript(narration, tuple(len(scene.sentences) for scene in scenes), narrator, notices)

    rate = request.frames_per_second
    frame = timeline.Frame(
        rate,
        request.transition_seconds,
        overlays=tuple(zip(request.overlays, overlays, strict=True)),
        max_shot_seconds=request.max_shot_seconds,
    )
    if request.narrated:
        spoken = await journal.step("speak", NarratedScript, speak)
        frame_count = timeline.frames(spoken.narration.seconds + TAIL_SECONDS, rate)
    else:
        spoken = NarratedScript(NO_NARRATION, ())
        clips, frame_count = timeline.own_length(clips, frame)
        frame_count = timeline.frames(request.seconds, rate) if request.seconds else frame_count
        progress(1.0)
    if request.narrated and request.clips[0].script:
        spans = timeline.bound(clips, scene_frames(spoken, frame_count, rate), frame)
    else:
        spans = timeline.spread(clips, frame_count, frame)
    titles = timeline.titles(spans, frame)
    write = lambda: workers.caption(spoken.narration, titles, request, spoken.narrator.language)  # noqa: E731
    captions = await journal.step("caption", Captions, write)
    frame = replace(frame, captions_ass=captions.ass)
    return Plan(spoken, captions, tuple(spans), frame, frame_count / rate)


async def _draw(
    segments: Sequence[timeline.Segment], request: VideoRequest, workers: Workers, journal: Journal
) -> list[RenderedVideo]:
    """Render all segments; they are returned in the order in which they are shown."""
    journal.planned(len(segments))
    share = _Shares(journal, "video_processing", len(segments))

    async def render(segment: timeline.Segment) -> RenderedVideo:
        work = lambda: workers.render(segment, request, share.of(segment.index))  # noqa: E731
        picture = await journal.step(f"render {segment.index}", RenderedVideo, work)
        journal.rendered(picture.reused)
        return picture

    ordered = timeline.order(segments)
    pictures = await _together([render(segment) for segment in ordered])
    shown = {segment.index: picture for segment, picture in zip(ordered, pictures, strict=True)}
    return [shown[segment.index] for segment in segments]


def scene_frames(spoken: NarratedScript, frame_count: int, frames_per_second: int) -> list[int]:
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


async def _both(one: Coroutine[Any, Any, A], other: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """Run two at once; when one fails, stop the other and raise its error alone."""
    first, second = asyncio.create_task(one), asyncio.create_task(other)
    await _together(cast(list[Awaitable[object]], [first, second]))
    return first.result(), second.result()


async def _together(work: Sequence[Awaitable[T]]) -> list[T]:
    """Run all at once; when one fails, stop the others and raise its error alone."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
