"""Workflow: the steps that make the video of a job, in the order in which they happen.

The journal records the result of each step before the next step begins. A second run for the same job therefore skips
the steps that are done. `Workers` are the services that do the work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar

from moneyprinter.errors import DataLoss, InvalidArgument
from services.orchestrator.jobs import scripts, timeline
from services.orchestrator.jobs.footage import choose_cuts, prepare_cuts
from services.orchestrator.jobs.model import (
    NO_NARRATION,
    Captions,
    ClipRequest,
    File,
    FinishedVideo,
    Job,
    NarratedScript,
    Narration,
    OwnSound,
    RenderedVideo,
    Result,
    SoundTrack,
    Source,
    SourceClip,
    StoredObject,
    VideoRequest,
)
from services.orchestrator.jobs.options import SpeechOptions
from services.orchestrator.jobs.scenes import Approval, Narrator, Scene, WrittenScript
from services.orchestrator.jobs.scripts import write_scenes
from services.runtime.progress import OnProgress, ignore_progress
from services.runtime.tasks import run_all, task_group

T = TypeVar("T")

# The quality of the voice of a person.
RECORDED = "recording"
# The video goes on for this long after the last word.
TAIL_SECONDS = 0.6
NO_SCRIPT = WrittenScript(())
NOT_NARRATED = NarratedScript(NO_NARRATION, ())


class Workers(scripts.Workers, Protocol):
    """The media services. Calls report their progress from 0 to 1."""

    async def validate_picture(self, image: StoredObject) -> Source: ...

    async def speak(
        self, scenes: Sequence[Sequence[str]], voice: str, speech_options: SpeechOptions, on_progress: OnProgress
    ) -> Narration: ...

    async def validate_sound(self, sound: OwnSound) -> OwnSound: ...

    async def align(
        self, recording: OwnSound, sentences: Sequence[str], language: str, on_progress: OnProgress
    ) -> Narration: ...

    async def caption(
        self, narration: Narration, titles: Sequence[timeline.Title], request: VideoRequest, language: str
    ) -> Captions: ...

    async def mix(
        self,
        narration: Narration,
        request: VideoRequest,
        clip_sounds: Sequence[timeline.ClipSound],
        seconds: float,
        on_progress: OnProgress,
    ) -> SoundTrack: ...

    async def render(
        self, segment: timeline.Segment, request: VideoRequest, on_progress: OnProgress
    ) -> RenderedVideo: ...

    async def join(self, segments: Sequence[StoredObject], on_progress: OnProgress) -> RenderedVideo: ...

    async def finish(
        self, job: Job, joined: Sequence[RenderedVideo], sound: SoundTrack, plan: Plan, on_progress: OnProgress
    ) -> FinishedVideo: ...

    async def take_poster(self, job: Job, segment: timeline.Segment) -> File: ...

    async def store_text(self, job: Job, name: str, text: str) -> StoredObject: ...


class Journal(Protocol):
    """Records the steps and the progress of a job. Writes raise `Superseded` once another instance claimed the job."""

    def stage(self, name: str) -> AbstractAsyncContextManager[None]:
        """Mark a stage as in progress while the context is open, and as completed, failed or cancelled afterwards."""

    async def step(self, name: str, kind: type[T], work: Callable[[], Awaitable[T]]) -> T:
        """Return the recorded result of a step, of type `kind`; without one, run `work` and record its result."""

    async def share(self, name: str, kind: type[T], work: Callable[[], Awaitable[T]]) -> T:
        """Return what a job of the group has recorded under a name; without that, run `work` and record its result."""

    async def review(self, subject: str, scenes: Sequence[Scene]) -> Approval:
        """Return what the owner of the job approved. Raises `ReviewRequested` when there is no approval yet."""

    def report_progress(self, stage: str, fraction: float) -> None:
        """Raise the part of a stage that is done to `fraction`, from 0 to 1."""

    def set_segment_count(self, segments: int) -> None:
        """Record the number of segments."""

    def count_segment(self, *, reused: bool) -> None:
        """Count a rendered segment; `reused` when an earlier render was found."""


@dataclass(frozen=True)
class Plan:
    """What is heard and shown, and when; known once the script is spoken."""

    spoken: NarratedScript
    captions: Captions
    spans: tuple[timeline.Span, ...]
    settings: timeline.TimelineSettings
    seconds: float
    script: WrittenScript = NO_SCRIPT

    @property
    def may_be_black(self) -> bool:
        """Whether the whole picture may be black: all its sources are dark."""
        return all(span.clip.is_dark for span in self.spans)

    @property
    def narration(self) -> Narration:
        """The spoken script."""
        return self.spoken.narration


async def make_video(job: Job, workers: Workers, journal: Journal, *, clips_at_once: int = 4) -> Result:
    """Make the video of a job. `clips_at_once` clips are validated at the same time.

    Raises the typed error of the first step whose retries are used up, and `ReviewRequested` when the owner of the job
    has to approve its script first.
    """
    request = job.request
    async with journal.stage("validation"):
        clips, overlays = await _validate(request, workers, journal, clips_at_once)

    async with task_group() as tasks:
        async with journal.stage("audio_generation"):
            progress = _StageProgress(journal, "audio_generation", 3 if request.footage else 2)
            script = await write_scenes(request, workers, journal) if request.is_narrated else None
            speak, fetch = progress.of(0), progress.of(2) if request.footage else ignore_progress
            spoken = await _narrate(request, script, workers, journal, speak) if script else NOT_NARRATED
            if script and request.footage:
                script, sources = await _choose(request, script, spoken, workers, journal, fetch, clips_at_once)
            else:
                sources = tuple((clip,) for clip in clips)
            plan = await _plan(request, script, spoken, sources, overlays, workers, journal)
            # Segments need the words and their times, but not the mix.
            rendering = tasks.create_task(_render(plan, request, workers, journal))
            track = await _mix(plan, request, workers, journal, progress.of(1))
        segments = await rendering

    async with journal.stage("concatenation"):
        joined = await _join(segments, request, workers, journal)

    async with journal.stage("rendering"):
        progress = _StageProgress(journal, "rendering", 1)
        finish = partial(_finish, job, plan, joined, track, workers, progress.of(0))
        return await journal.step("finish", Result, finish)


async def _validate(
    request: VideoRequest, workers: Workers, journal: Journal, clips_at_once: int
) -> tuple[Sequence[SourceClip], Sequence[Source]]:
    """Validate the clips, the pictures of the overlays, and the uploaded sounds."""
    progress = _StageProgress(journal, "validation", len(request.clips))
    at_once = asyncio.Semaphore(clips_at_once)

    async def validate(index: int, clip: ClipRequest) -> SourceClip:
        if clip.colour or clip.background:
            return SourceClip(
                None,
                style=clip.style,
                still_seconds=clip.still_seconds,
                colour=clip.colour,
                second_colour=clip.second_colour,
                background=clip.background,
            )
        async with at_once:
            with _errors_about(f"clip {index + 1}", clip.name):
                work = partial(workers.validate, clip, progress.of(index))
                return await journal.step(f"validate {index}", SourceClip, work)

    clips = await run_all(*(validate(index, clip) for index, clip in enumerate(request.clips)))
    overlays = []
    for index, overlay in enumerate(request.overlays):
        with _errors_about(f"overlay {index + 1}", overlay.name):
            work = partial(workers.validate_picture, overlay.image)
            overlays.append(await journal.step(f"validate overlay {index}", Source, work))
    for subject, sound in (("recording", request.recording), ("music", request.music)):
        if sound is not None:
            with _errors_about(subject, sound.name):
                await journal.step(f"validate {subject}", OwnSound, partial(workers.validate_sound, sound))
    return clips, overlays


@contextmanager
def _errors_about(subject: str, name: str) -> Iterator[None]:
    """Put the clip, overlay or sound before the message of errors: `clip 2 (walk.mp4): ...`."""
    try:
        yield
    except (InvalidArgument, DataLoss) as failure:
        about = f"{subject} ({name})" if name else subject
        raise type(failure)(
            f"{about}: {failure.message}", reason=failure.reason, violations=failure.violations
        ) from failure


async def _narrate(
    request: VideoRequest, script: WrittenScript, workers: Workers, journal: Journal, on_progress: OnProgress
) -> NarratedScript:
    """Speak the script of all scenes, or find its words in the recording."""
    scenes = [scene.sentences for scene in script.scenes]
    lengths = tuple(map(len, scenes))

    async def narrate() -> NarratedScript:
        narrator = script.narrator
        if request.recording is None:
            options = _limit_cost(request, script).for_language(narrator.language)
            narration = await workers.speak(scenes, narrator.name, options, on_progress)
            return NarratedScript(narration, lengths, narrator, script.notices)
        sentences = [sentence for scene in scenes for sentence in scene]
        with _errors_about("recording", request.recording.name):
            narration = await workers.align(request.recording, sentences, narrator.language, on_progress)
        return NarratedScript(narration, lengths, Narrator("", narrator.language, RECORDED), script.notices)

    return await journal.step("speak", NarratedScript, narrate)


def _limit_cost(request: VideoRequest, script: WrittenScript) -> SpeechOptions:
    """How the narration is spoken; it may cost what the script has left."""
    if request.max_cost is None:
        return request.speech_options
    left = max(0.0, request.max_cost - sum(each.cost for each in script.usage))
    return replace(request.speech_options, max_cost=left)


async def _choose(
    request: VideoRequest,
    script: WrittenScript,
    spoken: NarratedScript,
    workers: Workers,
    journal: Journal,
    on_progress: OnProgress,
    clips_at_once: int,
) -> tuple[WrittenScript, tuple[tuple[SourceClip, ...], ...]]:
    """Choose the footage of each scene, for as long as it is spoken. Returns the scenes with it, and their clips."""
    rate, language = request.frames_per_second, script.narrator.language
    seconds = [count / rate for count in scene_frames(spoken, _count_frames(spoken, rate), rate)]
    choice = await choose_cuts(request, language, script.scenes, seconds, workers, journal)
    scenes = [replace(scene, cuts=cuts) for scene, cuts in zip(script.scenes, choice.scenes, strict=True)]
    footage = await prepare_cuts(request, language, scenes, workers, journal, on_progress, clips_at_once=clips_at_once)
    notices = (*script.notices, *choice.notices, *footage.notices)
    return replace(script, scenes=footage.scenes, notices=notices), footage.clips


def _count_frames(spoken: NarratedScript, rate: int) -> int:
    return timeline.count_frames(spoken.narration.seconds + TAIL_SECONDS, rate)


async def _plan(
    request: VideoRequest,
    script: WrittenScript | None,
    spoken: NarratedScript,
    sources: Sequence[Sequence[SourceClip]],
    overlays: Sequence[Source],
    workers: Workers,
    journal: Journal,
) -> Plan:
    """Plan the picture by the times of the spoken words. `sources` are the clips of each scene or, alone, each clip."""
    rate = request.frames_per_second
    settings = timeline.TimelineSettings(
        rate,
        request.transition_seconds,
        overlays=tuple(zip(request.overlays, overlays, strict=True)),
        max_shot_seconds=request.max_shot_seconds,
    )
    clips: Sequence[SourceClip] = [clip for row in sources for clip in row]
    if script is not None:
        frame_count = _count_frames(spoken, rate)
    else:
        clips, frame_count = timeline.resolve_lengths(clips, settings)
        frame_count = timeline.count_frames(request.seconds, rate) if request.seconds else frame_count
    if script and request.footage:
        shares = [
            [(clip, cut.seconds) for clip, cut in zip(row, scene.cuts, strict=True)]
            for row, scene in zip(sources, script.scenes, strict=True)
        ]
        spans = timeline.align_cuts(shares, scene_frames(spoken, frame_count, rate), settings)
    elif script and request.clips[0].script:
        spans = timeline.align_to_scenes(clips, scene_frames(spoken, frame_count, rate), settings)
    else:
        spans = timeline.fill(clips, frame_count, settings)
    titles = timeline.place_titles(spans, settings)
    caption = partial(workers.caption, spoken.narration, titles, request, spoken.narrator.language)
    captions = await journal.step("caption", Captions, caption)
    settings = replace(settings, captions_ass=captions.ass)
    return Plan(spoken, captions, tuple(spans), settings, frame_count / rate, script or NO_SCRIPT)


async def _mix(
    plan: Plan, request: VideoRequest, workers: Workers, journal: Journal, on_progress: OnProgress
) -> SoundTrack:
    """Mix the narration with the music and the clips' own sound."""
    clip_sounds = timeline.place_sounds(plan.spans, plan.settings)
    mix = partial(workers.mix, plan.narration, request, clip_sounds, plan.seconds, on_progress)
    return await journal.step("mix", SoundTrack, mix)


async def _render(plan: Plan, request: VideoRequest, workers: Workers, journal: Journal) -> list[RenderedVideo]:
    """Render all segments. Returns them in the order in which they are shown."""
    async with journal.stage("video_processing"):
        # In a thread: a long video has thousands of captions.
        segments = await asyncio.to_thread(timeline.cut_segments, plan.spans, plan.settings)
        journal.set_segment_count(len(segments))
        progress = _StageProgress(journal, "video_processing", len(segments))

        async def render(segment: timeline.Segment) -> RenderedVideo:
            work = partial(workers.render, segment, request, progress.of(segment.index))
            video = await journal.step(f"render {segment.index}", RenderedVideo, work)
            journal.count_segment(reused=video.is_reused)
            return video

        ordered = timeline.render_order(segments)
        videos = await run_all(*map(render, ordered))
        by_index = {segment.index: video for segment, video in zip(ordered, videos, strict=True)}
        return [by_index[segment.index] for segment in segments]


async def _join(
    segments: Sequence[RenderedVideo], request: VideoRequest, workers: Workers, journal: Journal
) -> Sequence[RenderedVideo]:
    """Join the segments of each size. Returns the video's own size first, then its renditions."""
    progress = _StageProgress(journal, "concatenation", 1 + len(request.renditions))
    sizes = zip(*([segment.video, *segment.renditions] for segment in segments), strict=True)

    async def join(index: int, videos: Sequence[StoredObject]) -> RenderedVideo:
        return await journal.step(f"join {index}", RenderedVideo, partial(workers.join, videos, progress.of(index)))

    return await run_all(*(join(index, videos) for index, videos in enumerate(sizes)))


async def _finish(
    job: Job,
    plan: Plan,
    joined: Sequence[RenderedVideo],
    track: SoundTrack,
    workers: Workers,
    on_progress: OnProgress,
) -> Result:
    """Put picture and sound together, and store the video with its captions and its poster."""
    finished, captions = await run_all(
        workers.finish(job, joined, track, plan, on_progress), _store_captions(job, plan.captions, workers)
    )
    files = list(finished.files)
    if plan.captions.ass or job.request.poster_seconds is not None:
        # The frame that the rendering service chose may show half a caption: the poster is the frame without captions.
        seconds = finished.poster_seconds if job.request.poster_seconds is None else job.request.poster_seconds
        segment = timeline.single_frame_segment(plan.spans, plan.settings, seconds)
        poster = await workers.take_poster(job, segment)
        files = [poster if file.name == poster.name else file for file in files]
    return Result(
        files=(*files, *captions),
        seconds=finished.seconds,
        loudness_lufs=finished.loudness_lufs,
        true_peak_dbtp=finished.true_peak_dbtp,
        missing_glyphs=plan.captions.missing_glyphs,
        voice=plan.spoken.narrator.name,
        voice_quality=plan.narration.quality or plan.spoken.narrator.quality,
        notices=(
            *job.request.notices,
            *plan.spoken.narrator.notices,
            *plan.script.notices,
            *plan.narration.notices,
        ),
        scenes=plan.script.scenes,
        script_writer=plan.script.writer,
        voice_provider=plan.narration.provider,
        provider_voice=plan.narration.provider_voice,
        usage=(*plan.script.usage, *plan.narration.usage),
        title=plan.script.title,
    )


async def _store_captions(job: Job, captions: Captions, workers: Workers) -> list[File]:
    texts = (("captions.srt", captions.srt), ("captions.vtt", captions.vtt), ("captions.ass", captions.ass))
    return [File(name, await workers.store_text(job, name, text)) for name, text in texts]


def scene_frames(spoken: NarratedScript, frame_count: int, frames_per_second: int) -> list[int]:
    """Returns the number of frames of each scene: a scene lasts until the first word of the next one."""
    begins, sentence = [0], 0
    for length in spoken.scenes[:-1]:
        sentence += length
        word = spoken.narration.sentences[sentence][0]
        begins.append(round(word.start_seconds * frames_per_second))
    ends = [*begins[1:], frame_count]
    return [end - begin for begin, end in zip(begins, ends, strict=True)]


class _StageProgress:
    """Averages the progress of the pieces of a stage into the progress of the stage."""

    def __init__(self, journal: Journal, stage: str, pieces: int) -> None:
        self._journal = journal
        self._stage = stage
        self._fractions = [0.0] * pieces

    def of(self, index: int) -> OnProgress:
        """Returns the callback of one piece."""
        return partial(self._report, index)

    def _report(self, index: int, fraction: float) -> None:
        self._fractions[index] = fraction
        self._journal.report_progress(self._stage, sum(self._fractions) / len(self._fractions))
