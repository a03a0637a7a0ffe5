"""Cues: lay spoken words out as captions of a few balanced lines, on screen while they are spoken."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

from moneyprinter.errors import InvalidArgument
from services.content.layout.line_breaking import (
    Layout,
    Segment,
    Word,
    is_unspaced,
    needs_dictionary,
    split_into_segments,
)

MAX_BRIDGED_GAP = timedelta(milliseconds=40)
"""A gap between two cues that is not longer is closed: the first cue stays until the second one appears."""

# The shortest and the longest time for which a caption should stay on screen.
_SHORT = timedelta(seconds=0.8)
_LONG = timedelta(seconds=6)
_CLAUSE_ENDS = ",;:—–，、；：،؛"


@dataclass(frozen=True)
class Cue:
    """A caption: a few lines that are on screen together."""

    start: timedelta
    end: timedelta
    spoken: tuple[tuple[Word, ...], ...]
    """The words of each line; words carry the blank before them, so that their texts join to the line."""

    @property
    def lines(self) -> tuple[str, ...]:
        """The text of each line."""
        return tuple("".join(word.text for word in line) for line in self.spoken)


def make_cues(sentences: Sequence[Sequence[Word]], layout: Layout) -> list[Cue]:
    """Lay spoken sentences out as cues, in order. No two cues overlap, and no cue spans two sentences.

    Raises `InvalidArgument` (REQUEST_INVALID) when a word begins before the one before it has ended.
    """
    _check_order(sentences)
    cues: list[Cue] = []
    for words in sentences:
        sentence = _Sentence.of(words, layout)
        for first, last in sentence.split_into_cues():
            shown = [word for segment in sentence.segments[first:last] for word in segment.words]
            cues.append(Cue(shown[0].start, shown[-1].end, sentence.balance(first, last)))
    return [
        Cue(cue.start, following.start if following.start - cue.end <= MAX_BRIDGED_GAP else cue.end, cue.spoken)
        for cue, following in pairwise(cues)
    ] + cues[-1:]


def balance_lines(words: Sequence[Word], layout: Layout) -> tuple[tuple[Word, ...], ...]:
    """Break a text that is shown at once into as few lines as possible, as equal in width as possible."""
    sentence = _Sentence.of(words, layout)
    return sentence.balance(0, len(sentence.segments)) if sentence.segments else ()


def _check_order(sentences: Sequence[Sequence[Word]]) -> None:
    now = timedelta(0)
    for word in (word for words in sentences for word in words):
        if word.start < now or word.end <= word.start:
            raise InvalidArgument(
                f"the word {word.text[:40]!r} at {word.start.total_seconds():.3f} s must begin when the one before it "
                f"has ended, and end after it begins",
                reason="REQUEST_INVALID",
            )
        now = word.end


@dataclass(frozen=True)
class _Sentence:
    """The segments of a sentence, with their positions on one endless line."""

    layout: Layout
    segments: Sequence[Segment]
    starts: Sequence[float]
    ends: Sequence[float]

    @classmethod
    def of(cls, words: Sequence[Word], layout: Layout) -> _Sentence:
        segments = split_into_segments(words, layout.columns, layout.measure, layout.language)
        blank, at = layout.measure(" "), 0.0
        starts, ends = [], []
        for segment in segments:
            starts.append(at + (blank if segment.blank else 0.0))
            at = starts[-1] + segment.width
            ends.append(at)
        return cls(layout, segments, starts, ends)

    def split_into_cues(self) -> list[tuple[int, int]]:
        """The split of the sentence into cues with the lowest cost, as ranges of its segments."""
        line_ends = [self._line_end(first) for first in range(len(self.segments))]
        cost: list[float] = [0.0] + [float("inf")] * len(self.segments)
        origin = [0] * (len(self.segments) + 1)
        for first in range(len(self.segments)):
            furthest = first
            for _ in range(self.layout.max_lines):
                furthest = line_ends[furthest] if furthest < len(line_ends) else furthest
            for last in range(first + 1, furthest + 1):
                total = cost[first] + self._cost(first, last)
                if total < cost[last]:
                    cost[last], origin[last] = total, first
        ranges, last = [], len(self.segments)
        while last:
            ranges.append((origin[last], last))
            last = origin[last]
        return ranges[::-1]

    def balance(self, first: int, last: int) -> tuple[tuple[Word, ...], ...]:
        """The words of each line of a cue: as few lines as possible, as equal in width as possible."""
        count, at = 0, first
        while at < last:
            count, at = count + 1, self._line_end(at)
        ideal = (self.ends[last - 1] - self.starts[first]) / count
        best: dict[int, tuple[float, tuple[int, ...]]] = {first: (0.0, ())}
        for line in range(count):
            reached: dict[int, tuple[float, tuple[int, ...]]] = {}
            for begin, (cost, breaks) in best.items():
                for end in range(begin + 1, min(self._line_end(begin), last) + 1):
                    if (end == last) != (line == count - 1):
                        continue
                    total = cost + abs(self.ends[end - 1] - self.starts[begin] - ideal)
                    if end < last and self.segments[end - 1].text[-1] in _CLAUSE_ENDS:
                        total -= self.layout.columns / 4
                    if end not in reached or total < reached[end][0]:
                        reached[end] = (total, (*breaks, end))
            best = reached
        bounds = (first, *best[last][1])
        return tuple(_words(self.segments[begin:end]) for begin, end in pairwise(bounds))

    def _line_end(self, first: int) -> int:
        """The end of the longest line that begins with a segment."""
        # The tolerance covers rounding errors of the sums.
        return max(first + 1, bisect_right(self.ends, self.starts[first] + self.layout.columns + 1e-9))

    def _cost(self, first: int, last: int) -> float:
        """The cost of a cue: a break inside a clause, too little text, too short or too long on screen."""
        begin, end = self.segments[first].words[0], self.segments[last - 1].words[-1]
        filled = (self.ends[last - 1] - self.starts[first]) / (self.layout.max_lines * self.layout.columns)
        cost = 1.0 + (1 - filled) ** 2
        if last < len(self.segments) and end.text[-1] not in _CLAUSE_ENDS:
            following = self.segments[last]
            cost += 0.3 if following.words[0].start - end.end > timedelta(seconds=0.12) else 1.9
            letter = following.text[0]
            cost += 2.0 if not following.blank and not is_unspaced(letter) and not needs_dictionary(letter) else 0.0
        duration = end.end - begin.start
        return cost + (1.2 if duration < _SHORT else 0.0) + 4 * max(0.0, (duration - _LONG).total_seconds())


def _words(line: Sequence[Segment]) -> tuple[Word, ...]:
    """The words of a line, with the blanks between its segments."""
    return tuple(
        Word(" " + word.text, word.start, word.end) if number and segment.blank and word is segment.words[0] else word
        for number, segment in enumerate(line)
        for word in segment.words
    )
