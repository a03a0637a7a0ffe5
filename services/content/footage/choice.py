"""Choice: fill the scenes of a script with cuts of clips.

Each scene is searched for by its own terms first, then by fewer of their words, then by the topic. Of the clips found,
those that the user's earlier videos did not show come first, then those that were shown the longest time ago. No clip
is chosen twice. What clips cannot fill is filled with drawn backgrounds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from services.content.footage.backgrounds import Background, iterate_backgrounds
from services.content.footage.clips import MAX_CLIP_SECONDS, FootageClip, FootageQuery, FootageSource, Shape
from services.content.footage.library import NAME as LIBRARY
from services.content.footage.ranking import Rank, rank_by_words
from services.content.footage.words import broaden, describe_narration, word_set
from services.providers.chain import Skipped
from services.providers.failures import ProviderFailure

log = structlog.get_logger()

# Providers are searched for this long; scenes that are left then have uploads and backgrounds.
SEARCH_SECONDS = 80.0
# A scene changes its picture at least this often, where there are enough clips.
MAX_CUT = timedelta(seconds=7)
# Shorter cuts flicker.
MIN_CUT = timedelta(seconds=1.5)
# Clips often begin with a movement of the camera's operator: a longer clip is entered up to this much later.
MAX_LEAD = timedelta(seconds=1)
# Providers round durations to whole seconds: so much of a clip's end is not used.
END_MARGIN = timedelta(seconds=0.5)
# The most terms of a scene that are searched for as they are.
MAX_TERMS = 4
# After the scene's own terms, broader ones and the topic.
_LAST_LEVEL = 3


@dataclass(frozen=True)
class Scene:
    """A scene that needs footage."""

    terms: tuple[str, ...]
    narration: str
    duration: timedelta


@dataclass(frozen=True)
class Cut:
    """A part of a clip, or a background."""

    shows: FootageClip | Background
    start: timedelta
    duration: timedelta
    query: str = ""
    """The words that found the clip."""


@dataclass(frozen=True)
class ChoiceRequest:
    """The scenes of a video, and what is known about the user's other videos."""

    scenes: tuple[Scene, ...]
    topic: str
    shape: Shape
    language: str = "en"
    used_keys: Sequence[str] = ()
    """The keys of clips in earlier videos, the most recent last."""
    excluded_keys: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Choice:
    """The cuts of each scene."""

    scenes: tuple[tuple[Cut, ...], ...]
    drawn_scenes: tuple[int, ...] = ()
    """The indices of scenes with a background for lack of clips."""
    reused_keys: tuple[str, ...] = ()
    """The chosen clips that an earlier video of the user shows."""
    skipped: tuple[Skipped, ...] = ()
    """The providers that failed."""


@dataclass(frozen=True)
class _Candidate:
    clip: FootageClip
    query: str
    order: tuple[float, ...]


@dataclass
class _Chooser:
    request: ChoiceRequest
    sources: Sequence[FootageSource]
    last_use: Mapping[str, int]
    """For each key that was used, the position of its last use."""
    taken: set[str]
    backgrounds: Iterator[Background]
    rank: Rank
    clock: Callable[[], float]
    search_until: float
    skipped: dict[str, Skipped] = field(default_factory=dict)
    """By provider: a provider that failed is not called again for this video."""
    drawn: list[int] = field(default_factory=list)

    async def choose_scene(self, index: int, scene: Scene) -> tuple[Cut, ...]:
        candidates = await self._find_candidates(scene)
        cuts = fill_scene(scene.duration, [(each.clip, each.query) for each in candidates])
        self.taken.update(cut.shows.key for cut in cuts)
        missing = scene.duration - sum((cut.duration for cut in cuts), timedelta(0))
        if missing:
            self.drawn.append(index)
            if cuts and missing < MIN_CUT:
                # A background for a moment would flicker: the last clip leaves some of its time to it, or all.
                last = cuts.pop()
                lent = min(MIN_CUT - missing, last.duration)
                if last.duration - lent >= MIN_CUT:
                    cuts.append(Cut(last.shows, last.start, last.duration - lent, last.query))
                else:
                    lent = last.duration
                missing += lent
            cuts.append(Cut(self._next_background(), timedelta(0), missing))
        return tuple(cuts)

    async def _find_candidates(self, scene: Scene) -> list[_Candidate]:
        """The clips that may fill a scene, the best ones first. Searching ends when there are enough that match."""
        terms = scene.terms[:MAX_TERMS] or tuple(filter(None, [describe_narration(scene.narration)]))
        topic = (self.request.topic,) if self.request.topic else ()
        wanted = math.ceil(scene.duration / MAX_CUT)
        found: dict[str, _Candidate] = {}
        for level, queries in enumerate((terms, tuple(broaden(terms)), topic)):
            for place, query in enumerate(queries):
                for number, source in enumerate(self.sources):
                    for each in await self._search(source, query, scene, (level, place, number)):
                        if each.clip.key not in found or each.order < found[each.clip.key].order:
                            found[each.clip.key] = each
                    if sum(bool(each.query) and key not in self.last_use for key, each in found.items()) >= wanted:
                        return _in_order(found)
            if sum(bool(each.query) for each in found.values()) >= wanted:
                break
        return _in_order(found)

    async def _search(
        self, source: FootageSource, query: str, scene: Scene, where: tuple[int, int, int]
    ) -> list[_Candidate]:
        request = self.request
        if source.name in self.skipped or (source.name != LIBRARY and self.clock() >= self.search_until):
            return []
        try:
            clips = await source.search(FootageQuery(query, request.language, request.shape.orientation, request.shape))
        except ProviderFailure as failure:
            log.warning("provider failed", provider=source.name, kind=failure.kind.value, reason=failure.message)
            self.skipped[source.name] = Skipped(source.name, failure.kind, failure.message)
            return []
        level, place, number = where
        wanted, shortest = word_set(query), _cut_length(scene.duration)
        candidates = []
        for score, clip in await self.rank(clips, query, scene.narration, request.shape):
            if clip.key in self.taken or (clip.url and clip.seconds > MAX_CLIP_SECONDS):
                continue
            # A provider searches by more than words; an upload that has none of the words comes last.
            matches = bool(clip.url) or bool(wanted & word_set(clip.description))
            is_short = _available(clip, scene.duration) < shortest
            last_use = self.last_use.get(clip.key, -1)
            order = (level if matches else _LAST_LEVEL, last_use, is_short, place, number, -score)
            candidates.append(_Candidate(clip, query if matches else "", order))
        return candidates

    def _next_background(self) -> Background:
        background = next(each for each in self.backgrounds if each.key not in self.taken)
        self.taken.add(background.key)
        return background


def _available(clip: FootageClip, duration: timedelta) -> timedelta:
    """How much of a clip can be shown in a scene of a duration."""
    if not clip.seconds:
        return duration
    return max(timedelta(0), timedelta(seconds=clip.seconds) - (END_MARGIN if clip.url else timedelta(0)))


def _cut_length(duration: timedelta) -> timedelta:
    """The length of each of the fewest equal cuts that fill a time."""
    return duration / math.ceil(duration / MAX_CUT)


def _in_order(found: Mapping[str, _Candidate]) -> list[_Candidate]:
    return sorted(found.values(), key=lambda each: each.order)


async def choose_footage(
    request: ChoiceRequest,
    sources: Sequence[FootageSource],
    rank: Rank = rank_by_words,
    clock: Callable[[], float] = time.monotonic,
) -> Choice:
    """Return cuts that fill every scene, from `sources` in the order of preference.

    `rank` orders what they find, and `clock` returns seconds of a monotonic clock.
    """
    chooser = _Chooser(
        request,
        sources,
        {key: position for position, key in enumerate(request.used_keys)},
        set(request.excluded_keys),
        iterate_backgrounds(request.topic),
        rank,
        clock,
        clock() + SEARCH_SECONDS,
    )
    scenes = tuple([await chooser.choose_scene(index, scene) for index, scene in enumerate(request.scenes)])
    keys = [cut.shows.key for cuts in scenes for cut in cuts]
    reused = tuple(key for key in keys if key in chooser.last_use)
    return Choice(scenes, tuple(chooser.drawn), reused, tuple(chooser.skipped.values()))


def fill_scene(duration: timedelta, clips: Sequence[tuple[FootageClip, str]]) -> list[Cut]:
    """Return cuts of the first clips, each with the words that found it, that fill a scene as far as they can.

    The cuts have about the same length, at most `MAX_CUT`. Where there are too few clips, they last as long as they
    can. A clip of unknown duration, such as a picture, lasts as long as needed.
    """
    chosen: list[tuple[FootageClip, str, timedelta]] = []
    missing = duration
    for clip, query in clips:
        if not missing:
            break
        available = _available(clip, duration)
        length = min(available, _cut_length(missing))
        if timedelta(0) < missing - length < MIN_CUT:
            length = missing if available >= missing else min(length, missing - MIN_CUT)
        if length < min(MIN_CUT, duration):
            continue
        chosen.append((clip, query, length))
        missing -= length
    cuts = []
    for clip, query, length in chosen:
        available = _available(clip, duration)
        more = min(missing, max(timedelta(0), available - length))
        missing -= more
        slack = max(timedelta(0), available - length - more) if clip.seconds else timedelta(0)
        cuts.append(Cut(clip, min(slack / 2, MAX_LEAD), length + more, query))
    return cuts
