"""Versions: the videos of one request in several languages share their footage, and the script that is translated.

The job that comes first writes the script in the language of the request and chooses the clips; the others wait for it.
When it ends without a result, another job does it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar

from services.orchestrator.jobs import footage
from services.orchestrator.jobs.model import VideoRequest
from services.orchestrator.jobs.options import LanguageVersion
from services.orchestrator.jobs.scenes import (
    ANY_WRITING,
    Narrator,
    Notice,
    Scene,
    Script,
    WritingOptions,
    WrittenScript,
)
from services.runtime.progress import ignore_progress

T = TypeVar("T")

# Footage that is shared or reviewed is chosen before the script is spoken. Afterwards its cuts share the actual time.
SECONDS_PER_CHARACTER = 1 / 15
MIN_SCENE_SECONDS = 2.0
CLIPS_AT_ONCE = 4


class Workers(footage.Workers, Protocol):
    """The services that write and translate scripts, and choose voices and clips."""

    async def find_voice(self, request: VideoRequest) -> Narrator: ...

    async def write_script(
        self, title: str, script: str | None, language: str, script_format: str, options: WritingOptions
    ) -> Script: ...

    async def translate(self, scenes: Sequence[Scene], title: str, language: str) -> WrittenScript:
        """Translate the sentences and titles of scenes, whose cuts and terms stay, and the title of the video."""


class Journal(Protocol):
    """Records the steps of a job, and what it shares with the other jobs of its group."""

    async def step(self, name: str, kind: type[T], work: Callable[[], Awaitable[T]]) -> T: ...

    async def share(self, name: str, kind: type[T], work: Callable[[], Awaitable[T]]) -> T:
        """Return what a job of the group has recorded under a name; without that, run `work` and record its result.

        Jobs that come while another one runs it wait for its result.
        """


@dataclass(frozen=True)
class _SharedSteps:
    """The steps of the job that prepares what the group shares, under names of their own."""

    journal: Journal

    async def step(self, name: str, kind: type[T], work: Callable[[], Awaitable[T]]) -> T:
        return await self.journal.step(f"shared {name}", kind, work)


Write = Callable[[VideoRequest, Workers], Awaitable[WrittenScript]]
"""Writes the script of a request, and chooses its voice."""


async def write_version(
    request: VideoRequest, version: LanguageVersion, write: Write, workers: Workers, journal: Journal
) -> WrittenScript:
    """Return the script of one language with the footage of the group. Raises what the workers raise."""
    make = partial(_write_shared, request, version, write, workers, journal)
    shared = await journal.share("script", WrittenScript, make)
    if not version.is_translated:
        return shared
    narrator = await workers.find_voice(request)
    missing = () if version.scripts else shared.scenes
    translated = WrittenScript((), title=version.title)
    if missing or not version.title:
        translated = await workers.translate(missing, "" if version.title else request.title, version.language)
    scenes, writer = translated.scenes, translated.writer
    if version.scripts:
        scenes, writer = await _split_own(request, version, narrator, shared.scenes, workers), "caller"
    return replace(
        translated,
        scenes=scenes,
        narrator=narrator,
        writer=writer,
        notices=(*shared.notices, *translated.notices),
        title=version.title or translated.title,
    )


async def _write_shared(
    request: VideoRequest, version: LanguageVersion, write: Write, workers: Workers, journal: Journal
) -> WrittenScript:
    """Write the script in the language of the request, and choose clips that can be used for its scenes."""
    writing = replace(request.writing, language=version.source_language)
    source = replace(request, voice=version.source_voice or version.source_language, writing=writing, version=None)
    script = await write(source, workers)
    if not source.footage:
        return script
    steps = _SharedSteps(journal)
    script, notices = await choose_unspoken(source, script, workers, steps)
    prepared = await footage.prepare_cuts(
        source,
        script.narrator.language,
        script.scenes,
        workers,
        steps,
        ignore_progress,
        clips_at_once=CLIPS_AT_ONCE,
    )
    return replace(script, scenes=prepared.scenes, notices=(*script.notices, *notices, *prepared.notices))


async def choose_unspoken(
    request: VideoRequest, script: WrittenScript, workers: Workers, journal: footage.Journal, *, step: str = "choose"
) -> tuple[WrittenScript, tuple[Notice, ...]]:
    """Choose the cuts of scenes that are not spoken yet, for their expected time.

    Returns the script with the cuts, and the notices of the choice.
    """
    seconds = [max(MIN_SCENE_SECONDS, len(scene.script) * SECONDS_PER_CHARACTER) for scene in script.scenes]
    language = script.narrator.language
    choice = await footage.choose_cuts(request, language, script.scenes, seconds, workers, journal, step=step)
    pairs = zip(script.scenes, choice.scenes, strict=True)
    return replace(script, scenes=tuple(replace(scene, cuts=cuts) for scene, cuts in pairs)), choice.notices


async def _split_own(
    request: VideoRequest, version: LanguageVersion, narrator: Narrator, shared: Sequence[Scene], workers: Workers
) -> tuple[Scene, ...]:
    """The scenes of the scripts that the owner gave in this language, with the terms and cuts of the shared ones.

    One script for several scenes is one scene with all their cuts.
    """
    split = [
        await workers.write_script(
            version.title or request.title, text, narrator.language, request.script_format, ANY_WRITING
        )
        for text in version.scripts
    ]
    if len(split) == len(shared):
        pairs = zip(split, shared, strict=True)
        return tuple(replace(before, sentences=script.sentences, title="") for script, before in pairs)
    sentences = tuple(sentence for script in split for sentence in script.sentences)
    return (Scene(sentences, cuts=tuple(cut for scene in shared for cut in scene.cuts)),)
