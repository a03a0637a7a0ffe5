"""Event spans: rendered captions are on screen while their words are spoken, at every frame rate."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pysubs2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.content.captions.cues import MAX_BRIDGED_GAP, Cue
from services.content.captions.event_spans import FrameClock, fade_opacities, pop_scales
from services.content.captions.subtitles import make_subtitles
from services.content.layout.line_breaking import Word
from services.content.layout.style import CaptionStyle, Highlight
from tests.content.drawing import draw, like, resolve_style

SIZE = (128, 72)
RATES = (24, 25, 30, 50, 60)
YELLOW, GREEN = "#ffd400", "#20c040"
WITHIN = 0.040

# The times of sentences in seconds: with small gaps, without a gap, and one of a few hundredths of a second.
TIMES = [(0.113, 0.457), (0.457, 0.731), (0.766, 1.001), (1.041, 1.309), (1.35, 1.7), (1.9171, 1.95), (2.0, 2.0834)]


def sentences() -> list[list[Word]]:
    return [[Word(f"H{n}", timedelta(seconds=a), timedelta(seconds=b))] for n, (a, b) in enumerate(TIMES)]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(
    "style", [CaptionStyle(size=0.3), CaptionStyle(size=0.3, pop=True, box_colour=GREEN)], ids=["plain", "pop"]
)
async def test_a_caption_is_on_screen_exactly_while_its_words_are_spoken(
    rate: int, style: CaptionStyle, tmp_path: Path
) -> None:
    made = make_subtitles(sentences(), resolve_style(style, SIZE, rate=rate))
    # Alternating colours tell neighbouring captions apart.
    parsed = pysubs2.SSAFile.from_string(made.ass)
    for event in parsed:
        if event.layer == 1:
            number = int(event.plaintext[1])
            event.text = rf"{{\bord0\shad0\1c&H{'FF' if number % 2 else '00'}00FF&}}" + event.text
    frames = await draw(parsed.to_string("ass"), tmp_path, SIZE, rate, 2.5)
    odd, even = (np.any(like(frames, colour), axis=(1, 2)) for colour in ("#ff00ff", "#ff0000"))
    for number, (start, end) in enumerate(TIMES):
        shown = np.flatnonzero(odd if number % 2 else even)
        mine = shown[(shown >= (start - WITHIN) * rate - 1e-6) & (shown <= (end + WITHIN) * rate + 1e-6)]
        first, last = mine[0] / rate, (mine[-1] + 1) / rate
        assert abs(first - start) <= WITHIN and abs(last - end) <= WITHIN, f"caption {number} at {rate} fps"
        assert len(mine) == mine[-1] - mine[0] + 1
    # No two captions at once, and no empty frame between two that are at most 40 ms apart.
    assert not (odd & even).any()
    spoken = [any(a <= n / rate < b for a, b in TIMES) for n in range(len(frames))]
    shown_at = odd | even
    assert not any(
        s and not v for s, v in zip(spoken[1:-1], shown_at[1:-1] | shown_at[:-2] | shown_at[2:], strict=True)
    )
    assert shown_at[round(0.44 * rate) : round(1.0 * rate)].all()


@pytest.mark.parametrize("rate", RATES)
async def test_a_word_is_highlighted_exactly_while_it_is_spoken(rate: int, tmp_path: Path) -> None:
    words = [
        Word(text, timedelta(seconds=a), timedelta(seconds=b))
        for text, a, b in (("A", 0.1, 0.333), ("B", 0.333, 0.61), ("C", 0.7, 0.95))
    ]
    frames = await draw(
        make_subtitles([words], resolve_style(CaptionStyle(size=0.3, highlight=Highlight.WORD), SIZE, rate=rate)).ass,
        tmp_path, SIZE, rate, 1.2,
    )  # fmt: skip
    lit = np.any(like(frames, YELLOW), axis=(1, 2))
    for n, seen in enumerate(lit):
        near = [
            abs(n / rate - edge) for word in words for edge in (word.start.total_seconds(), word.end.total_seconds())
        ]
        if min(near) > 0.5 / rate + 1e-6:
            assert seen == any(word.start.total_seconds() <= n / rate < word.end.total_seconds() for word in words)


@pytest.mark.parametrize("rate", RATES)
async def test_a_cut_on_any_frame_changes_no_frame(rate: int, tmp_path: Path) -> None:
    style = CaptionStyle(size=0.3, highlight=Highlight.KARAOKE, pop=True)
    whole = make_subtitles(sentences(), resolve_style(style, SIZE, rate=rate)).ass
    frames = await draw(whole, tmp_path, SIZE, rate, 2.0)
    clock = FrameClock(rate)
    for cut in (7, 19, rate + 1):
        later = pysubs2.SSAFile.from_string(whole)
        remaining = []
        for event in later:
            # The first frame on or after a time.
            first, last = (-(-at * rate // 1000) - cut for at in (event.start, event.end))
            if last > 0:
                event.start, event.end = clock.before(max(first, 0)), clock.before(last)
                remaining.append(event)
        later.events = remaining
        drawn = await draw(later.to_string("ass"), tmp_path, SIZE, rate, (len(frames) - cut) / rate)
        assert np.array_equal(drawn, frames[cut:])


@given(
    st.lists(st.tuples(st.integers(1, 400_000), st.integers(0, 200_000)), min_size=1, max_size=30),
    st.sampled_from(RATES),
)
def test_spans_are_ordered_and_match_the_words(times: list[tuple[int, int]], rate: int) -> None:
    cues, now = [], 0
    for lasts, pause in times:
        start, end = timedelta(microseconds=now), timedelta(microseconds=now + lasts)
        cues.append(Cue(start, end, ((Word("x", start, end),),)))
        now += lasts + pause
    spans = list(FrameClock(rate).spans(cues))
    for (_, before), (after, _) in pairwise(spans):
        assert before <= after
    for cue, (first, last) in zip(cues, spans, strict=True):
        assert abs(first / rate - cue.start.total_seconds()) <= 0.5 / rate + 1e-9
        late = last / rate - cue.end.total_seconds()
        assert late <= max(MAX_BRIDGED_GAP.total_seconds(), 1.5 / rate) + 1e-9
        # A cue shorter than a frame may be lost; a longer one is shown to its end.
        assert late >= -0.5 / rate - 1e-9 or last - first <= 1


@given(st.integers(0, 100_000), st.sampled_from(RATES))
def test_an_ass_time_lies_between_two_frames(frame: int, rate: int) -> None:
    written = FrameClock(rate).before(frame)
    # libass counts whole milliseconds.
    assert written % 10 == 0 and written <= frame * 1000 // rate
    assert frame == 0 or written > (frame - 1) * 1000 // rate


@pytest.mark.parametrize("rate", RATES)
def test_pops_and_fades_end_in_the_final_state(rate: int) -> None:
    clock = FrameClock(rate)
    assert list(pop_scales(10, clock).values())[-1] == 100
    for frames in (1, 2, 3, 5, 20, 200):
        seen = fade_opacities(0, frames, clock)
        assert max(seen.values()) == 1 and min(seen.values()) > 0 and max(seen) < frames
        assert list(seen) == sorted(seen)
