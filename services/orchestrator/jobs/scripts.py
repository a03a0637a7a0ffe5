"""Scripts: writes the scenes of a video, and lets the owner of the job review them, with their footage if need be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar

from services.orchestrator.jobs import footage
from services.orchestrator.jobs.model import VideoRequest
from services.orchestrator.jobs.scenes import (
    ANY_WRITING,
    FOOTAGE,
    Approval,
    Narrator,
    Scene,
    SceneRequest,
    Script,
    WritingOptions,
    WrittenScript,
)

T = TypeVar("T")

# Footage that is reviewed is chosen before the script is spoken. Afterwards its cuts share the actual time.
SECONDS_PER_CHARACTER = 1 / 15
MIN_SCENE_SECONDS = 2.0


class Workers(footage.Workers, Protocol):
    """The services that write scripts, and choose voices and clips."""

    async def find_voice(self, request: VideoRequest) -> Narrator: ...

    async def write_script(
        self, title: str, script: str | None, language: str, script_format: str, options: WritingOptions
    ) -> Script: ...


class Journal(Protocol):
    """Records the steps of a job, and its review."""

    async def step(self, name: str, kind: type[T], work: Callable[[], Awaitable[T]]) -> T: ...

    async def review(self, subject: str, scenes: Sequence[Scene]) -> Approval: ...


async def write_scenes(request: VideoRequest, workers: Workers, journal: Journal) -> WrittenScript:
    """Choose a voice and write the script of all scenes; let the owner of the job review it, when the request asks.

    Raises `ReviewRequested` when the owner of the job has to approve the scenes first.
    """
    script = await journal.step("script", WrittenScript, partial(_write, request, workers))
    if not request.review:
        return script
    if request.review == FOOTAGE:
        seconds = [max(MIN_SCENE_SECONDS, len(scene.script) * SECONDS_PER_CHARACTER) for scene in script.scenes]
        choice = await footage.choose_cuts(
            request, script.narrator.language, script.scenes, seconds, workers, journal, step="choose for review"
        )
        pairs = zip(script.scenes, choice.scenes, strict=True)
        script = replace(script, scenes=tuple(replace(scene, cuts=cuts) for scene, cuts in pairs))
    approval = await journal.review(request.review, script.scenes)
    return await journal.step("edit", WrittenScript, partial(_apply_edits, request, script, approval, workers))


async def _write(request: VideoRequest, workers: Workers) -> WrittenScript:
    narrator = await workers.find_voice(request)
    write = partial(_split, request, narrator.language, workers)
    if request.footage and not request.scenes:
        script = await workers.write_script(
            request.title, request.script, narrator.language, request.script_format, request.writing
        )
        scenes = script.scenes or (Scene(script.sentences),)
        return WrittenScript(scenes, narrator, script.notices, script.writer, script.usage)
    if request.scenes:
        written = [await write(scene.script) for scene in request.scenes]
        pairs = zip(request.scenes, written, strict=True)
        scenes = tuple(_merge(wanted, script) for wanted, script in pairs)
    else:
        own: list[str | None] = [clip.script for clip in request.clips if clip.script]
        written = [await write(text) for text in own or [request.script]]
        scenes = tuple(Scene(script.sentences) for script in written)
    notices = tuple(dict.fromkeys(notice for script in written for notice in script.notices))
    usage = tuple(each for script in written for each in script.usage)
    return WrittenScript(scenes, narrator, notices, written[0].writer, usage)


async def _split(request: VideoRequest, language: str, workers: Workers, text: str | None) -> Script:
    return await workers.write_script(request.title, text, language, request.script_format, ANY_WRITING)


def _merge(wanted: SceneRequest, script: Script) -> Scene:
    """Returns a requested scene with its sentences; without search terms, with those of its script."""
    found = script.scenes[0] if script.scenes else Scene(script.sentences)
    terms, language = found.search_terms, found.search_language
    if wanted.search_terms:
        terms, language = wanted.search_terms, wanted.search_language
    return Scene(script.sentences, wanted.title, terms, language, wanted.cuts)


async def _apply_edits(
    request: VideoRequest, script: WrittenScript, approval: Approval, workers: Workers
) -> WrittenScript:
    """Returns the script that was approved. Only the edited scenes are split into sentences again."""
    written = {scene.script: scene for scene in script.scenes}
    scenes = []
    for approved in approval.scenes:
        if known := written.get(approved.script):
            terms = approved.search_terms or known.search_terms
            scenes.append(replace(known, title=approved.title, search_terms=terms, cuts=approved.cuts))
        else:
            split = await _split(request, script.narrator.language, workers, approved.script)
            scenes.append(_merge(approved, split))
    return replace(script, scenes=tuple(scenes))
