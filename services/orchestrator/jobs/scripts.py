"""Scripts: writes the scenes of a video, and lets the owner of the job review them, with their footage if need be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from services.orchestrator.jobs import versions
from services.orchestrator.jobs.model import VideoRequest
from services.orchestrator.jobs.scenes import (
    ANY_WRITING,
    FOOTAGE,
    Approval,
    Scene,
    SceneRequest,
    Script,
    WrittenScript,
)


class Workers(versions.Workers, Protocol):
    """The services that write and translate scripts, and choose voices and clips."""


class Journal(versions.Journal, Protocol):
    """Records the steps of a job, what it shares with its group, and its review."""

    async def review(self, subject: str, scenes: Sequence[Scene]) -> Approval: ...


async def write_scenes(request: VideoRequest, workers: Workers, journal: Journal) -> WrittenScript:
    """Choose a voice and write the script of all scenes; let the owner of the job review it, when the request asks.

    Raises `ReviewRequested` when the owner of the job has to approve the scenes first.
    """
    write = partial(_write, request, workers)
    if request.version is not None:
        write = partial(versions.write_version, request, request.version, _write, workers, journal)
    script = await journal.step("script", WrittenScript, write)
    if not request.review:
        return script
    if request.review == FOOTAGE:
        script, _ = await versions.choose_unspoken(request, script, workers, journal, step="choose for review")
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
