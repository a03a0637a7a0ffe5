"""Captions: lay spoken words out as cues of a few balanced lines, on screen while they are spoken."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

from moneyprinter.errors import InvalidArgument
from services.content import fonts
from services.content.pieces import Piece, Word, pieces, runs_on, unspaced

BRIDGED = timedelta(milliseconds=40)
"""A gap between two cues that is no longer is closed: the first stays until the second comes."""

# The screen holds still for at least so long, and for no longer than people keep looking at one text.
_SHORT = timedelta(seconds=0.8)
_LONG = timedelta(seconds=6)
_CLAUSE_ENDS = ",;:—–，、；：،؛"


@dataclass(frozen=True)
class Cue:
    """A caption: a few lines that are on screen together."""

    start: timedelta
    end: timedelta
    spoken: tuple[tuple[Word, ...], ...]
    """The words of each line; their texts follow each other as they are, with their blanks."""

    @property
    def lines(self) -> tuple[str, ...]:
        """The text of each line."""
        return tuple("".join(word.text for word in line) for line in self.spoken)


def _columns(text: str) -> float:
    return sum(map(fonts.columns, text))


@dataclass(frozen=True)
class Layout:
    """The room that captions have."""

    columns: float
    """How wide a line may be."""
    max_lines: int = 2
    measure: Callable[[str], float] = _columns
    """How wide a text is."""
    language: str = ""
    """The language of the text, ISO 639; empty: not known."""


def line_width(width: int, height: int) -> int:
    """How many columns a line has on a canvas of this size in pixels; a Chinese character takes two."""
    if width < height:
        return 20
    return 42 if width > 1.2 * height else 30


def make(sentences: Sequence[Sequence[Word]], layout: Layout) -> list[Cue]:
    """The cues of spoken sentences, in order; none overlaps another, and none spans two sentences.

    Raises InvalidArgument when a word does not follow the one before it.
    """
    _check(sentences)
    cues: list[Cue] = []
    for words in sentences:
        sentence = _Sentence.of(words, layout)
        for first, last in sentence.cues():
            shown = [word for piece in sentence.pieces[first:last] for word in piece.words]
            cues.append(Cue(shown[0].start, shown[-1].end, sentence.lines(first, last)))
    return [
        Cue(cue.start, then.start if then.start - cue.end <= BRIDGED else cue.end, cue.spoken)
        for cue, then in pairwise(cues)
    ] + cues[-1:]


def balanced(words: Sequence[Word], layout: Layout) -> tuple[tuple[Word, ...], ...]:
    """The words of each line of a text that is shown at once: as few lines as it takes, as even as can be."""
    sentence = _Sentence.of(words, layout)
    return sentence.lines(0, len(sentence.pieces)) if sentence.pieces else ()


def _check(sentences: Sequence[Sequence[Word]]) -> None:
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
    """The pieces of a sentence, and where they would stand if it were one endless line."""

    layout: Layout
    pieces: Sequence[Piece]
    starts: Sequence[float]
    ends: Sequence[float]

    @classmethod
    def of(cls, words: Sequence[Word], layout: Layout) -> _Sentence:
        found = pieces(words, layout.columns, layout.measure, layout.language)
        blank, at = layout.measure(" "), 0.0
        starts, ends = [], []
        for piece in found:
            starts.append(at + (blank if piece.blank else 0.0))
            at = starts[-1] + piece.width
            ends.append(at)
        return cls(layout, found, starts, ends)

    def cues(self) -> list[tuple[int, int]]:
        """The cheapest way to cut the sentence into cues, as ranges of its pieces."""
        full = [self._full(first) for first in range(len(self.pieces))]
        cost: list[float] = [0.0] + [float("inf")] * len(self.pieces)
        origin = [0] * (len(self.pieces) + 1)
        for first in range(len(self.pieces)):
            furthest = first
            for _ in range(self.layout.max_lines):
                furthest = full[furthest] if furthest < len(full) else furthest
            for last in range(first + 1, furthest + 1):
                price = cost[first] + self._price(first, last)
                if price < cost[last]:
                    cost[last], origin[last] = price, first
        ranges, last = [], len(self.pieces)
        while last:
            ranges.append((origin[last], last))
            last = origin[last]
        return ranges[::-1]

    def lines(self, first: int, last: int) -> tuple[tuple[Word, ...], ...]:
        """The words of each line of a cue: as few lines as it takes, as even as can be."""
        count, at = 0, first
        while at < last:
            count, at = count + 1, self._full(at)
        even = (self.ends[last - 1] - self.starts[first]) / count
        best: dict[int, tuple[float, tuple[int, ...]]] = {first: (0.0, ())}
        for line in range(count):
            reached: dict[int, tuple[float, tuple[int, ...]]] = {}
            for begin, (cost, breaks) in best.items():
                for end in range(begin + 1, min(self._full(begin), last) + 1):
                    if (end == last) != (line == count - 1):
                        continue
                    price = cost + abs(self.ends[end - 1] - self.starts[begin] - even)
                    if end < last and self.pieces[end - 1].text[-1] in _CLAUSE_ENDS:
                        price -= self.layout.columns / 4
                    if end not in reached or price < reached[end][0]:
                        reached[end] = (price, (*breaks, end))
            best = reached
        bounds = (first, *best[last][1])
        return tuple(_words(self.pieces[begin:end]) for begin, end in pairwise(bounds))

    def _full(self, first: int) -> int:
        """Where the line ends that begins with a piece and holds all that it can."""
        # A hair more, for what is lost in adding.
        return max(first + 1, bisect_right(self.ends, self.starts[first] + self.layout.columns + 1e-9))

    def _price(self, first: int, last: int) -> float:
        """How bad a cue is: a break in mid-clause, too little text or time, a screen that stands too long."""
        begin, end = self.pieces[first].words[0], self.pieces[last - 1].words[-1]
        filled = (self.ends[last - 1] - self.starts[first]) / (self.layout.max_lines * self.layout.columns)
        price = 1.0 + (1 - filled) ** 2
        if last < len(self.pieces) and end.text[-1] not in _CLAUSE_ENDS:
            following = self.pieces[last]
            price += 0.3 if following.words[0].start - end.end > timedelta(seconds=0.12) else 1.9
            letter = following.text[0]
            price += 2.0 if not following.blank and not unspaced(letter) and not runs_on(letter) else 0.0
        lasts = end.end - begin.start
        return price + (1.2 if lasts < _SHORT else 0.0) + 4 * max(0.0, (lasts - _LONG).total_seconds())


def _words(line: Sequence[Piece]) -> tuple[Word, ...]:
    """The words of a line, with the blanks between its pieces."""
    return tuple(
        Word(" " + word.text, word.start, word.end) if number and piece.blank and word is piece.words[0] else word
        for number, piece in enumerate(line)
        for word in piece.words
    )
