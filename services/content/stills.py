"""Stills: when a caption or a title card is on screen, as frames, and the spans in which nothing of it changes.

A span is written as from the middle between two frames to another such middle: so it shows on the frames that are
meant although a script counts hundredths of a second, and wherever it is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import TypeVar

from services.content.captions import BRIDGED, Cue

T = TypeVar("T")

_POP = ((0, 70), (30, 86), (60, 98), (90, 105), (120, 102), (150, 100))
"""The steps in which a caption pops up: from when, in milliseconds after it appears, and how large, in percent."""

_FADE = timedelta(milliseconds=240)
"""How long a title card takes to appear, and to go."""


@dataclass(frozen=True)
class Clock:
    """The frames of a canvas, the first of them number 0."""

    frames_per_second: int

    def frame(self, time: timedelta) -> int:
        """The frame that is nearest to a time: what changes there changes at most half a frame early or late."""
        return round(time.total_seconds() * self.frames_per_second)

    def before(self, frame: int) -> int:
        """The middle between a frame and the one before it, in milliseconds, in the steps that ASS can write."""
        return max(0, round((frame - 0.5) * 100 / self.frames_per_second) * 10)

    def spans(self, cues: Sequence[Cue]) -> Iterator[tuple[int, int]]:
        """The frame on which each cue appears, and that on which it is gone.

        A gap before the next one is left out if that keeps the screen at most `BRIDGED` longer than the words.
        """
        starts = [self.frame(cue.start) for cue in cues]
        for cue, start, following in zip(cues, starts, [*starts, None][1:], strict=True):
            said = cue.spoken[-1][-1].end
            end = max(self.frame(said), start + 1)
            if following is not None and (end > following or following / self.frames_per_second <= _late(said)):
                end = following
            yield start, end


def _late(said: timedelta) -> float:
    return (said + BRIDGED).total_seconds()


def stills(first: int, last: int, changes: Iterable[int], look: Callable[[int], T]) -> Iterator[tuple[int, int, T]]:
    """The spans between changes from one frame to another, each with its look; spans that look alike are one."""
    times = sorted({first, last} | {at for at in changes if first < at < last})
    found: list[tuple[int, int, T]] = []
    for begin, then in pairwise(times):
        still = look(begin)
        if found and found[-1][2] == still:
            found[-1] = (found[-1][0], then, still)
        else:
            found.append((begin, then, still))
    yield from found


def pop(first: int, clock: Clock) -> dict[int, int]:
    """How large a caption that pops up on a frame is, in percent, from which frame on."""
    return {first + clock.frame(timedelta(milliseconds=after)): percent for after, percent in _POP}


def fade(first: int, last: int, clock: Clock) -> dict[int, float]:
    """How much is seen of what fades in on a frame and is gone on another, 0 to 1, from which frame on."""
    takes = min(clock.frame(_FADE), (last - first) // 3)
    seen = {first + step: (step + 1) / (takes + 1) for step in range(takes)} | {first + takes: 1.0}
    return seen | {last - step: step / (takes + 1) for step in range(takes, 0, -1) if last - step > first + takes}
