"""Long shots are split into views, titles end before their transition, and posters are single frames."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.jobs import timeline
from services.orchestrator.jobs.model import ClipStyle, Source, SourceClip, StoredObject
from services.orchestrator.jobs.timeline import TimelineSettings
from tests.orchestrator.test_timeline import FADE, clip, colour, still

LIMITED = TimelineSettings(30, max_shot_seconds=6.0)
STILL = SourceClip(Source(StoredObject("s", "b" * 64, 1), {"still": True}), style=ClipStyle(motion="zoom_in"))


def test_a_long_clip_alternates_between_two_zooms_and_continues() -> None:
    spans = timeline.split_views(timeline.fill([clip(30.0)], 540, LIMITED), LIMITED)
    assert [(span.frame_count, span.zoom, span.skipped) for span in spans] == [
        *((180, 1.0, 0), (180, timeline.NEARER, 180), (180, 1.0, 360)),
    ]
    segments = timeline.cut_segments(timeline.fill([clip(30.0)], 540, LIMITED), LIMITED)
    assert sum(segment.frame_count for segment in segments) == 540
    for segment in segments:
        assert segment.shots[0].source_start_seconds == pytest.approx(segment.first_frame / 30, abs=1e-4)
        assert segment.shots[0].zoom == (timeline.NEARER if 180 <= segment.first_frame < 360 else 1.0)


def test_the_views_of_a_long_still_have_different_motions() -> None:
    spans = timeline.split_views(timeline.fill([STILL], 540, LIMITED), LIMITED)
    assert [span.clip.style.motion for span in spans] == ["zoom_in", "pan_right", "zoom_out"]
    shots = [segment.shots[0] for segment in timeline.cut_segments(timeline.fill([STILL], 540, LIMITED), LIMITED)]
    assert all(shot.motion_first_frame < shot.motion_frames == 180 for shot in shots)


@pytest.mark.parametrize(
    "source", [still(), colour(), clip(30.0, style=ClipStyle(fit="contain")), clip(30.0, style=ClipStyle(fit="blur"))]
)
def test_sources_without_motion_or_shown_whole_have_one_view(source: SourceClip) -> None:
    spans = timeline.fill([source], 540, LIMITED)
    assert len(timeline.split_views(spans, LIMITED)) == len(spans)


def test_without_a_limit_every_shot_has_one_view() -> None:
    spans = timeline.fill([clip(30.0)], 540, TimelineSettings(30))
    assert timeline.split_views(spans, TimelineSettings(30)) == spans


@given(st.floats(2.0, 20.0), st.integers(60, 3000), st.floats(0.1, 2.0))
def test_the_frames_of_views_add_up_also_before_a_transition(limit: float, frame_count: int, seconds: float) -> None:
    settings = TimelineSettings(30, transition_seconds=seconds, max_shot_seconds=limit)
    spans = timeline.fill([clip(90.0), clip(90.0, name="b", style=FADE)], frame_count, settings)
    segments = timeline.cut_segments(spans, settings)
    assert sum(segment.frame_count for segment in segments) == frame_count
    first = 0
    for segment in segments:
        assert segment.first_frame == first and segment.frame_count > 0
        first += segment.frame_count


def test_a_title_ends_before_its_transition() -> None:
    first = clip(4.0, style=ClipStyle(title="Part one"))
    spans = timeline.fill(
        [first, clip(4.0, name="b", style=ClipStyle(transition="slide_left", title="Two"))], 200, TimelineSettings(30)
    )
    one, two = timeline.place_titles(spans, TimelineSettings(30))
    overlap = spans[1].overlap_frames
    assert overlap == 15
    assert one.end_seconds == pytest.approx((spans[1].first_frame - overlap) / 30)
    assert two.start_seconds == pytest.approx(spans[1].first_frame / 30), "and the next comes when its picture is there"


def test_a_poster_is_one_frame_without_captions() -> None:
    spans = timeline.fill([clip(4.0), clip(4.0, name="b")], 200, LIMITED)
    settings = replace(LIMITED, captions_ass="[Script Info]\n")
    segment = timeline.single_frame_segment(spans, settings, 4.5)
    assert (segment.frame_count, segment.captions_ass, segment.transition, len(segment.shots)) == (1, "", "", 1)
    assert segment.first_frame == 135
    assert segment.shots[0].source_start_seconds == pytest.approx((135 - spans[1].first_frame) / 30, abs=1e-4)
    assert timeline.single_frame_segment(spans, settings, 99.0).first_frame == 199
