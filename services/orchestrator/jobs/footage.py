"""Footage: chooses cuts for the scenes of a script, validates their clips, and replaces those that cannot be used."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar

import structlog

from moneyprinter.errors import DataLoss, Error, FailedPrecondition, InvalidArgument, NotFound
from services.orchestrator.jobs.model import Asset, ClipRequest, ClipStyle, SourceClip, VideoRequest
from services.orchestrator.jobs.scenes import Cut, Notice, Scene
from services.runtime.progress import OnProgress, ignore_progress
from services.runtime.tasks import run_all

T = TypeVar("T")

# The title of a scene is shown for at most this long.
TITLE_SECONDS = 4.0
# A shorter part of a clip is not shown.
MIN_CUT_SECONDS = 0.5
# After this many clips that could not be used, a background takes the place of a cut.
REPLACEMENTS = 2
NOTHING = "none"
"""The source of footage that has only backgrounds."""

REPLACED = "FOOTAGE_REPLACED"
"""The reason of a notice: a clip could not be used, and another takes its place."""

# A clip whose validation ends with one of these is replaced; the same clip would fail again.
_UNUSABLE = (InvalidArgument, NotFound, DataLoss, FailedPrecondition)

log = structlog.get_logger()


@dataclass(frozen=True)
class FootageChoice:
    """The cuts of each scene."""

    scenes: tuple[tuple[Cut, ...], ...]
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class PreparedCuts:
    """The cuts that replace a cut, or that cut alone, and their validated clips."""

    cuts: tuple[Cut, ...]
    clips: tuple[SourceClip, ...]
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class Footage:
    """The scenes with the cuts that are shown, and their validated clips."""

    scenes: tuple[Scene, ...]
    clips: tuple[tuple[SourceClip, ...], ...]
    notices: tuple[Notice, ...] = ()


class Workers(Protocol):
    """The services that choose and validate clips."""

    async def validate(self, clip: ClipRequest, on_progress: OnProgress) -> SourceClip: ...

    async def choose_footage(
        self,
        request: VideoRequest,
        language: str,
        scenes: Sequence[Scene],
        seconds: Sequence[float],
        source: str,
        excluded: Collection[str],
    ) -> FootageChoice: ...

    async def find_upload(self, asset_id: str) -> Asset: ...


class Journal(Protocol):
    """Records the steps of a job."""

    async def step(self, name: str, kind: type[T], work: Callable[[], Awaitable[T]]) -> T: ...


async def choose_cuts(
    request: VideoRequest,
    language: str,
    scenes: Sequence[Scene],
    seconds: Sequence[float],
    workers: Workers,
    journal: Journal,
    *,
    step: str = "choose",
) -> FootageChoice:
    """Choose cuts for the scenes that have none, of which each lasts for `seconds`. Returns the cuts of all scenes.

    `step` is the name of the step that records the choice.
    """
    missing = [index for index, scene in enumerate(scenes) if not scene.cuts]
    chosen = {index: scene.cuts for index, scene in enumerate(scenes)}
    if not missing:
        return FootageChoice(tuple(chosen.values()))
    taken = [cut.id for scene in scenes for cut in scene.cuts if cut.id]
    choose = partial(
        workers.choose_footage,
        request,
        language,
        [scenes[index] for index in missing],
        [seconds[index] for index in missing],
        request.footage,
        taken,
    )
    choice = await journal.step(step, FootageChoice, choose)
    chosen |= dict(zip(missing, choice.scenes, strict=True))
    return FootageChoice(tuple(chosen.values()), choice.notices)


async def prepare_cuts(
    request: VideoRequest,
    language: str,
    scenes: Sequence[Scene],
    workers: Workers,
    journal: Journal,
    on_progress: OnProgress,
    *,
    clips_at_once: int,
) -> Footage:
    """Validate the clips of all cuts. A clip that cannot be used is replaced, at last by a background.

    `clips_at_once` clips are validated at the same time.
    """
    preparation = _Preparation(request, language, workers, {cut.id for scene in scenes for cut in scene.cuts})
    at_once = asyncio.Semaphore(clips_at_once)
    count, done = sum(len(scene.cuts) for scene in scenes), 0

    async def prepare(index: int, place: int, cut: Cut) -> PreparedCuts:
        nonlocal done
        async with at_once:
            work = partial(preparation.prepare, scenes[index], cut)
            prepared = await journal.step(f"validate cut {index}.{place}", PreparedCuts, work)
        done += 1
        on_progress(done / count)
        return prepared

    pieces = await run_all(
        *(prepare(index, place, cut) for index, scene in enumerate(scenes) for place, cut in enumerate(scene.cuts))
    )
    pending = iter(pieces)
    prepared = [[next(pending) for _ in scene.cuts] for scene in scenes]
    shown = [tuple(cut for piece in row for cut in piece.cuts) for row in prepared]
    clips = [tuple(clip for piece in row for clip in piece.clips) for row in prepared]
    return Footage(
        tuple(replace(scene, cuts=cuts) for scene, cuts in zip(scenes, shown, strict=True)),
        tuple(_with_title(scene, row) for scene, row in zip(scenes, clips, strict=True)),
        tuple(notice for piece in pieces for notice in piece.notices),
    )


def _with_title(scene: Scene, clips: tuple[SourceClip, ...]) -> tuple[SourceClip, ...]:
    """Returns the clips of a scene; the first has the title of the scene."""
    if not scene.title:
        return clips
    first, *others = clips
    return (replace(first, style=replace(first.style, title=scene.title, title_seconds=TITLE_SECONDS)), *others)


class _Preparation:
    """Validates cuts. `taken` are the ids that other cuts of the video have: no clip is shown twice."""

    def __init__(self, request: VideoRequest, language: str, workers: Workers, taken: Collection[str]) -> None:
        self._request = request
        self._language = language
        self._workers = workers
        self._taken = set(taken)
        # Two replacements at once could choose the same clip.
        self._replacing = asyncio.Lock()

    async def prepare(self, scene: Scene, cut: Cut) -> PreparedCuts:
        try:
            return PreparedCuts((cut,), (await self._validate(cut),))
        except _UNUSABLE as failure:
            log.warning("clip replaced", clip=cut.id, reason=failure.reason)
            notices = [_replaced_notice(cut, failure)]
        async with self._replacing:
            for attempt in range(REPLACEMENTS + 1):
                source = self._request.footage if attempt < REPLACEMENTS else NOTHING
                seconds, taken = [cut.seconds or MIN_CUT_SECONDS], sorted(self._taken)
                choice = await self._workers.choose_footage(
                    self._request, self._language, [scene], seconds, source, taken
                )
                (cuts,) = choice.scenes
                self._taken.update(each.id for each in cuts)
                try:
                    clips = tuple([await self._validate(each) for each in cuts])
                    return PreparedCuts(cuts, clips, tuple(notices))
                except _UNUSABLE as failure:
                    log.warning("clip replaced", clips=[each.id for each in cuts], reason=failure.reason)
                    notices += [_replaced_notice(each, failure) for each in cuts]
                    last = failure
        raise last

    async def _validate(self, cut: Cut) -> SourceClip:
        style = ClipStyle(motion="zoom_in", transition=self._request.transition)
        if cut.background is not None:
            return SourceClip(None, style=style, background=cut.background)
        upload = await self._workers.find_upload(cut.asset_id) if cut.asset_id else None
        request = ClipRequest(
            cut.url or None,
            upload.object if upload else None,
            cut.start_seconds or None,
            None,
            style,
            name=upload.filename if upload else "",
        )
        clip = await self._workers.validate(request, ignore_progress)
        if not clip.still and clip.end_seconds - clip.start_seconds < MIN_CUT_SECONDS:
            raise InvalidArgument("the rest of the clip is too short to be shown", reason="CLIP_RANGE_INVALID")
        return clip


def _replaced_notice(cut: Cut, failure: Error) -> Notice:
    name = cut.id or cut.asset_id or "of an edited scene"
    return Notice(REPLACED, f"clip {name} cannot be used ({failure.message}), so that another takes its place"[:1000])
