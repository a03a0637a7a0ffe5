"""Jobs and results for the tests of the orchestrator."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

from services.orchestrator.jobs import timeline
from services.orchestrator.jobs.footage import FootageChoice
from services.orchestrator.jobs.model import (
    Asset,
    Captions,
    ClipRequest,
    File,
    FinishedVideo,
    Job,
    Narration,
    OwnSound,
    RenderedVideo,
    Result,
    SoundTrack,
    Source,
    SourceClip,
    StoredObject,
    VideoRequest,
    Word,
)
from services.orchestrator.jobs.options import SpeechOptions
from services.orchestrator.jobs.scenes import Background, Cut, Narrator, Scene, Script, WritingOptions, WrittenScript
from services.orchestrator.jobs.workflow import Plan
from services.runtime.progress import OnProgress

_numbers = count(1)

REQUEST = VideoRequest(
    title="A walk",
    clips=(
        ClipRequest("https://example.com/a.mp4", None, 10.0, 30.0),
        ClipRequest(None, StoredObject("assets/ast_1", "a" * 64, 9), None, None),
    ),
    script="One two. Three.",
    voice="en-US",
    background_music="calm",
    width=320,
    height=180,
    frames_per_second=30,
    quality="draft",
)


BACKGROUND = Background(1, ("#0b1026", "#3a1c71"))


def stored(name: str) -> StoredObject:
    return StoredObject(name, "b" * 64, 7)


def job(user_id: str = "user_1") -> Job:
    now = datetime.now(UTC)
    return Job(f"vid_{next(_numbers)}", user_id, REQUEST, "processing", create_time=now, estimated_completion=now)


def source(name: str, **picture: Any) -> Source:
    return Source(stored(name), picture)


RESULT = Result(
    files=tuple(File(name, stored(f"jobs/v/{name}")) for name in ("video.mp4", "poster.jpg", "captions.srt")),
    seconds=4.2,
    loudness_lufs=-14.1,
)


class StraightWorkers:
    """Completes every step at once and records its name in `done`. `fail` has the errors of a step, one per call."""

    def __init__(self, fail: dict[str, list[Exception]] | None = None) -> None:
        self.done: list[str] = []
        self._fail = fail or {}

    def _do(self, step: str, on_progress: OnProgress | None = None) -> None:
        if failures := self._fail.get(step):
            raise failures.pop(0)
        self.done.append(step)
        if on_progress:
            on_progress(0.5)
            on_progress(1.0)

    async def validate(self, clip: ClipRequest, on_progress: OnProgress) -> SourceClip:
        self._do("validate", on_progress)
        return SourceClip(source("clip"), clip.start_seconds or 0.0, clip.end_seconds or 8.0)

    async def validate_picture(self, image: StoredObject) -> Source:
        self._do("validate picture")
        return Source(image, {"still": True})

    async def validate_sound(self, sound: OwnSound) -> OwnSound:
        self._do("validate sound")
        return sound

    async def align(
        self, recording: OwnSound, sentences: Sequence[str], language: str, on_progress: OnProgress
    ) -> Narration:
        self._do("align", on_progress)
        return Narration(stored("recording"), 9.4, tuple((Word(sentence, 0.0, 0.5),) for sentence in sentences))

    async def find_voice(self, request: VideoRequest) -> Narrator:
        self._do("find_voice")
        return Narrator(request.voice or "en-US", "en-US", "robotic")

    async def write_script(
        self, title: str, script: str | None, language: str, script_format: str, options: WritingOptions
    ) -> Script:
        self._do("write_script")
        return Script((script or title,))

    async def translate(self, scenes: Sequence[Scene], title: str, language: str) -> WrittenScript:
        self._do("translate")
        translated = tuple(replace(scene, sentences=(f"{language}.",)) for scene in scenes)
        return WrittenScript(translated, writer="translator", title=f"{title} ({language})" if title else "")

    async def choose_footage(
        self,
        request: VideoRequest,
        language: str,
        scenes: Sequence[Scene],
        seconds: Sequence[float],
        source: str,
        excluded: Collection[str],
    ) -> FootageChoice:
        self._do("choose")
        return FootageChoice(tuple((Cut("background:1", background=BACKGROUND, seconds=each),) for each in seconds))

    async def find_upload(self, asset_id: str) -> Asset:
        self._do("find_upload")
        return Asset(asset_id, "user_1", "walk.mp4", stored(asset_id), datetime.now(UTC))

    async def speak(
        self, scenes: Sequence[Sequence[str]], voice: str, speech_options: SpeechOptions, on_progress: OnProgress
    ) -> Narration:
        self._do("speak", on_progress)
        words = tuple(
            (Word(sentence, float(place), place + 0.5),)
            for place, sentence in enumerate(s for scene in scenes for s in scene)
        )
        return Narration(stored("speech"), 9.4, words)

    async def caption(
        self, narration: Narration, titles: Sequence[timeline.Title], request: VideoRequest, language: str
    ) -> Captions:
        self._do("caption")
        return Captions(srt="srt", ass="", vtt="vtt")

    async def mix(
        self,
        narration: Narration,
        request: VideoRequest,
        clip_sounds: Sequence[timeline.ClipSound],
        seconds: float,
        on_progress: OnProgress,
    ) -> SoundTrack:
        self._do("mix", on_progress)
        return SoundTrack(stored("mix"))

    async def render(self, segment: timeline.Segment, request: VideoRequest, on_progress: OnProgress) -> RenderedVideo:
        self._do(f"render {segment.index}", on_progress)
        return RenderedVideo(stored(f"segment-{segment.index}"), segment.frame_count)

    async def join(self, segments: Sequence[StoredObject], on_progress: OnProgress) -> RenderedVideo:
        self._do("join", on_progress)
        return RenderedVideo(stored("joined"), 300)

    async def finish(
        self, job: Job, joined: Sequence[RenderedVideo], sound: SoundTrack, plan: Plan, on_progress: OnProgress
    ) -> FinishedVideo:
        self._do("finish", on_progress)
        files = (File(job.request.main_file, joined[0].video), File("poster.jpg", stored("poster")))
        return FinishedVideo(files, plan.seconds, loudness_lufs=-14.0, true_peak_dbtp=-1.5)

    async def take_poster(self, job: Job, segment: timeline.Segment) -> File:
        self._do("take poster")
        return File("poster.jpg", stored("clean poster"))

    async def store_text(self, job: Job, name: str, text: str) -> StoredObject:
        self._do(f"store {name}")
        return stored(name)
