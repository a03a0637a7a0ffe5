"""Animations repeat in whole rounds."""

from __future__ import annotations

import pytest

from services.orchestrator.jobs import timeline
from services.orchestrator.jobs.model import ClipStyle, Source, SourceClip, StoredObject
from services.orchestrator.jobs.timeline import TimelineSettings

PLAIN = TimelineSettings(30)
PLAIN_STYLE = ClipStyle()


def animation(
    seconds: float, style: ClipStyle = PLAIN_STYLE, start: float = 0.0, end: float | None = None
) -> SourceClip:
    picture = {"format": "gif", "seconds": seconds}
    return SourceClip(
        Source(StoredObject("a", "a" * 64, 1), picture), start, seconds if end is None else end, style=style
    )


@pytest.mark.parametrize(("seconds", "shown"), [(0.1, 3.0), (0.3, 3.0), (0.4, 3.2), (2.0, 4.0), (3.0, 3.0), (5.0, 5.0)])
def test_a_short_animation_repeats_in_whole_rounds_for_three_seconds(seconds: float, shown: float) -> None:
    still = SourceClip(Source(StoredObject("s", "b" * 64, 1), {"still": True}))
    first, _ = timeline.fill([animation(seconds), still], 300, PLAIN)
    assert first.frame_count == round(shown * 30)


def test_each_segment_begins_at_its_position_in_the_round() -> None:
    segments = timeline.cut_segments(timeline.fill([animation(0.4)], 90, PLAIN), PLAIN)
    assert len(segments) > 1
    for segment in segments:
        expected = segment.first_frame / 30 % 0.4
        assert segment.shots[0].source_start_seconds % 0.4 == pytest.approx(expected, abs=1e-5)
        assert segment.shots[0].source_start_seconds < 0.4


def test_a_fast_animation_is_shown_for_the_same_time() -> None:
    [first] = timeline.fill([animation(1.0, ClipStyle(speed=2.0))], 90, PLAIN)
    assert first.frame_count == 90


def test_a_part_of_an_animation_is_shown_once() -> None:
    spans = timeline.fill([animation(2.0, start=0.5, end=1.5)], 60, PLAIN)
    assert [span.frame_count for span in spans] == [30, 30]
