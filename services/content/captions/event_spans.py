"""Event spans: the frames on which a caption or a title card is on screen, split where its appearance changes.

A span is written from the middle between two frames to another such middle. It then shows on the intended frames even
though ASS counts in hundredths of a second, and wherever the video is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import TypeVar

from services.content.captions.cues import MAX_BRIDGED_GAP, Cue

T = TypeVar("T")

_POP = ((0, 70), (30, 86), (60, 98), (90, 105), (120, 102), (150, 100))
"""The steps of the pop: milliseconds after the caption appears, and its scale from then on in percent."""

_FADE = timedelta(milliseconds=240)
"""How long a title card fades in, and out."""


@dataclass(frozen=True)
class FrameClock:
    """Converts times to frame numbers of a canvas; the first frame is 0."""

    frames_per_second: int

    def frame(self, time: timedelta) -> int:
        """The frame that is nearest to a time: a change on it is at most half a frame early or late."""
        return round(time.total_seconds() * self.frames_per_second)

    def before(self, frame: int) -> int:
        """The middle between a frame and the one before it, in milliseconds, rounded to what ASS can express."""
        return max(0, round((frame - 0.5) * 100 / self.frames_per_second) * 10)

    def spans(self, cues: Sequence[Cue]) -> Iterator[tuple[int, int]]:
        """The frame on which each cue appears, and the one on which it disappears.

        A gap before the next cue is closed when the cue then outlasts its words by at most `MAX_BRIDGED_GAP`.
        """
        starts = [self.frame(cue.start) for cue in cues]
        for cue, start, following in zip(cues, starts, [*starts, None][1:], strict=True):
            last_word_end = cue.spoken[-1][-1].end
            end = max(self.frame(last_word_end), start + 1)
            latest = (last_word_end + MAX_BRIDGED_GAP).total_seconds()
            if following is not None and (end > following or following / self.frames_per_second <= latest):
                end = following
            yield start, end


def split_at_changes(
    first: int, last: int, changes: Iterable[int], appearance: Callable[[int], T]
) -> Iterator[tuple[int, int, T]]:
    """Split a range of frames into spans of one appearance each.

    Args:
        first: The first frame.
        last: The frame after the last one.
        changes: The frames on which the appearance may change.
        appearance: Returns the appearance on a frame; neighbouring spans with equal appearances are merged.
    """
    bounds = sorted({first, last} | {at for at in changes if first < at < last})
    spans: list[tuple[int, int, T]] = []
    for begin, end in pairwise(bounds):
        current = appearance(begin)
        if spans and spans[-1][2] == current:
            spans[-1] = (spans[-1][0], end, current)
        else:
            spans.append((begin, end, current))
    yield from spans


def pop_scales(first: int, clock: FrameClock) -> dict[int, int]:
    """The scales of a caption that pops up on a frame: from each frame on, the scale in percent."""
    return {first + clock.frame(timedelta(milliseconds=after)): percent for after, percent in _POP}


def fade_opacities(first: int, last: int, clock: FrameClock) -> dict[int, float]:
    """The opacities (0 to 1) of a card that fades in on a frame and is gone on another, from each frame on."""
    steps = min(clock.frame(_FADE), (last - first) // 3)
    opacities = {first + step: (step + 1) / (steps + 1) for step in range(steps)} | {first + steps: 1.0}
    return opacities | {last - step: step / (steps + 1) for step in range(steps, 0, -1) if last - step > first + steps}
