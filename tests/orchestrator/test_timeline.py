"""The timeline of a video: every frame once, every clip in its order, captions and overlays at their times."""

from __future__ import annotations

from dataclasses import replace

import pysubs2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moneyprinter.errors import InvalidArgument
from services.orchestrator.jobs import timeline
from services.orchestrator.jobs.model import ClipStyle, OverlayRequest, Source, SourceClip, StoredObject
from services.orchestrator.jobs.timeline import Segment, TimelineSettings

FPS = 30
PLAIN = TimelineSettings(FPS)
FADE = ClipStyle(transition="crossfade")
OVERLAP = 15


def stored(name: str) -> StoredObject:
    return StoredObject(f"clips/{name}", name * 64, 1)


def clip(seconds: float, start: float = 0.0, name: str = "a", style: ClipStyle = ClipStyle()) -> SourceClip:  # noqa: B008
    return SourceClip(Source(stored(name)), start, start + seconds, has_audio=True, style=style)


def still(seconds: float = 0.0, name: str = "s") -> SourceClip:
    return SourceClip(Source(stored(name), {"still": True}), still_seconds=seconds)


def colour(seconds: float = 0.0) -> SourceClip:
    return SourceClip(None, still_seconds=seconds, colour="#336699")


def names(segment: Segment) -> str:
    """The sources that a segment shows, one letter for each."""
    return "".join(shot.clip.source.object.sha256[0] if shot.clip.source else "#" for shot in segment.shots)


def plan(clips: list[SourceClip], frame_count: int, settings: TimelineSettings = PLAIN) -> list[Segment]:
    return timeline.cut_segments(timeline.fill(clips, frame_count, settings), settings)


def keyed(source: SourceClip) -> st.SearchStrategy[SourceClip]:
    """The same clip with key frames, some of them outside the used part."""
    places = st.lists(st.floats(0.0, 45.0), max_size=30)
    return places.map(lambda found: replace(source, key_seconds=tuple(sorted(found))))


styles = st.builds(
    ClipStyle, speed=st.sampled_from([0.25, 0.5, 1.0, 2.0]), transition=st.sampled_from(["", "crossfade", "zoom"])
)
sources = st.lists(
    st.one_of(
        st.builds(clip, st.floats(0.5, 40.0), style=styles),
        st.builds(clip, st.floats(9.0, 40.0), style=styles).flatmap(keyed),
        st.builds(still, st.sampled_from([0.0, 1.0, 7.3])),
        st.builds(colour, st.sampled_from([1.0, 2.5])),
    ),
    min_size=1,
    max_size=12,
)
frames = st.sampled_from([PLAIN, TimelineSettings(24, transition_seconds=2.0)])


@given(sources, st.integers(1, 20_000), frames)
def test_frames_add_up_and_follow_each_other(
    clips: list[SourceClip], frame_count: int, settings: TimelineSettings
) -> None:
    segments = plan(clips, frame_count, settings)
    assert sum(segment.frame_count for segment in segments) == frame_count
    assert [segment.index for segment in segments] == list(range(len(segments)))
    first = 0
    for segment in segments:
        assert segment.first_frame == first
        assert 1 <= segment.frame_count <= timeline.LONGEST_SECONDS * settings.frames_per_second
        assert (len(segment.shots) == 2) == (segment.transition != "")
        first += segment.frame_count


@given(sources, st.integers(1, 20_000), frames)
def test_no_segment_goes_beyond_the_end_of_its_clip(
    clips: list[SourceClip], frame_count: int, settings: TimelineSettings
) -> None:
    for segment in plan(clips, frame_count, settings):
        for shot in segment.shots:
            seconds = segment.frame_count * shot.clip.style.speed / settings.frames_per_second
            if shot.clip.still:
                assert shot.motion_first_frame + segment.frame_count <= shot.motion_frames
            else:
                end = shot.source_start_seconds + seconds
                assert shot.source_start_seconds >= 0
                assert end <= shot.clip.end_seconds + 1e-4


@given(sources, st.integers(1, 20_000))
def test_a_shot_continues_through_its_segments_and_transitions(clips: list[SourceClip], frame_count: int) -> None:
    """Each source frame of a span follows the previous one, also in transitions, which show two shots."""
    spans = timeline.fill(clips, frame_count, PLAIN)
    segments = timeline.cut_segments(spans, PLAIN)
    for span in spans:
        expected = span.clip.start_seconds
        begin, end = span.first_frame - span.overlap_frames, span.first_frame + span.frame_count
        for segment in segments:
            if begin <= segment.first_frame < end:
                shot = segment.shots[0 if segment.first_frame >= span.first_frame else 1]
                if not shot.clip.still:
                    assert shot.source_start_seconds == pytest.approx(expected, abs=1e-4)
                expected += segment.frame_count * span.clip.style.speed / FPS


@given(st.lists(st.integers(1, 500), min_size=1, max_size=20), st.integers(1, 20_000))
def test_a_clip_is_repeated_only_after_all_were_shown(available: list[int], frame_count: int) -> None:
    planned = timeline.share_frames(available, frame_count)
    assert sum(planned) == frame_count
    if sum(available) < frame_count:
        assert planned[: len(available)] == available
    else:
        assert len(planned) == len(available)


def test_clips_share_the_time_and_short_ones_are_shown_whole() -> None:
    assert timeline.share_frames([300, 30, 300], 330) == [150, 30, 150]


def test_a_trimmed_clip_begins_where_it_was_trimmed() -> None:
    [segment] = plan([clip(3.0, start=10.0)], 45)
    assert (segment.shots[0].source_start_seconds, segment.frame_count) == (10.0, 45)


def cuts(segments: list[Segment]) -> list[float]:
    """Where in their source segments begin, in seconds."""
    return [round(segment.shots[0].source_start_seconds, 3) for segment in segments]


def test_a_long_shot_is_cut_and_its_first_piece_is_short() -> None:
    segments = plan([clip(30.0)], 300)
    assert cuts(segments) == [0.0, 1.0, 3.5, 6.0]
    assert [segment.frame_count for segment in segments] == [30, 75, 75, 120], "the last segment takes the small rest"


def test_a_shot_is_cut_at_key_frames() -> None:
    keyed_clip = replace(clip(30.0, start=2.0), key_seconds=(0.0, 2.0, 4.0, 6.2, 8.4, 10.6, 30.0))
    segments = plan([keyed_clip], 300)
    assert cuts(segments) == [2.0, 3.0, 6.2, 8.4, 10.6], "but the first piece is short in any case"
    assert sum(segment.frame_count for segment in segments) == 300


def test_a_transition_is_a_segment_that_shows_both() -> None:
    segments = plan([clip(2.0, name="a"), clip(2.0, name="b", style=FADE)], 100)
    assert [(names(each), each.transition, each.frame_count) for each in segments] == [
        *(("a", "", 40), ("ab", "crossfade", OVERLAP), ("b", "", 45)),
    ]
    second = [segment.shots[-1].source_start_seconds for segment in segments[1:]]
    assert second == [0.0, pytest.approx(OVERLAP / FPS, abs=1e-5)]


def test_each_clip_has_its_own_transition() -> None:
    styles = (
        ClipStyle(transition="zoom"),
        ClipStyle(),
        ClipStyle(transition="wipe_left"),
        ClipStyle(transition="fade_black"),
    )
    segments = plan([clip(2.0, name=name, style=style) for name, style in zip("abcd", styles, strict=True)], 200)
    assert [(names(each), each.transition) for each in segments if len(each.shots) == 2] == [
        *(("bc", "wipe_left"), ("cd", "fade_black")),
    ]


def test_a_clip_too_short_for_a_transition_begins_with_a_cut() -> None:
    segments = plan([clip(2.0), clip(0.6, name="b", style=FADE), clip(2.0, name="c", style=FADE)], 110)
    assert [names(segment) for segment in segments] == ["a", "b", "bc", "c"]


def test_segments_are_rendered_in_order_and_those_of_two_shots_alternate() -> None:
    segments = plan([clip(8.0, name="a"), clip(8.0, name="b"), clip(8.0, name="c")], 630)
    ordered = timeline.render_order(segments)
    assert sorted(ordered, key=lambda each: each.index) == segments
    assert [names(each) for each in ordered[:4]] == ["a", "b", "a", "b"]
    assert ordered[0] is segments[0]
    last = [segment.frame_count for segment in ordered[-timeline.LAST_SEGMENTS :]]
    assert last == sorted(last, reverse=True), "no core waits long for another one at the end"


def test_the_first_segment_is_rendered_first_also_in_short_videos() -> None:
    for seconds in (1.0, 2.0, 5.0, 9.0):
        segments = plan([clip(9.0)], round(seconds * FPS))
        assert timeline.render_order(segments)[0] is segments[0]


def test_a_colour_is_shown_like_a_still() -> None:
    assert [span.frame_count for span in timeline.fill([colour(2.0), clip(9.0)], 300, PLAIN)] == [60, 240]


def test_titles_are_shown_with_their_clip() -> None:
    clips = [clip(2.0), clip(2.0, name="b", style=ClipStyle(title="Part two", transition="crossfade"))]
    spans = timeline.fill(clips, 105, PLAIN)
    assert timeline.place_titles(spans, PLAIN) == [timeline.Title("Part two", 2.0, 3.5)]


def test_speed_changes_how_long_a_clip_lasts() -> None:
    fast = clip(4.0, style=ClipStyle(speed=2.0))
    assert [span.frame_count for span in timeline.fill([fast, clip(1.0, name="b")], 90, PLAIN)] == [60, 30]
    assert cuts(plan([fast], 60)) == [0.0, 2.0]
    assert timeline.fill([fast], 60, PLAIN)[0].frame_count == 60


def test_a_still_fills_the_remaining_time_or_its_own_duration() -> None:
    assert [span.frame_count for span in timeline.fill([clip(1.0), still()], 300, PLAIN)] == [30, 270]
    assert [span.frame_count for span in timeline.fill([still(1.0), still()], 300, PLAIN)] == [30, 270]
    pieces = plan([still()], 150)
    assert [(p.shots[0].motion_first_frame, p.shots[0].motion_frames) for p in pieces] == [(0, 150), (30, 150)]


def test_scenes_last_as_long_as_their_words() -> None:
    spans = timeline.align_to_scenes([clip(1.0), clip(9.0, name="b")], [70, 50], PLAIN)
    assert [(s.clip.source and s.clip.source.object.sha256[0], s.first_frame, s.frame_count) for s in spans] == [
        *(("a", 0, 30), ("a", 30, 30), ("a", 60, 10)),
        ("b", 70, 50),
    ]


def test_the_sound_of_a_clip_begins_with_its_transition() -> None:
    loud = ClipStyle(sound_volume=0.5, transition="crossfade")
    spans = timeline.fill([clip(2.0), clip(2.0, name="b", style=loud)], 100, PLAIN)
    [sound] = timeline.place_sounds(spans, PLAIN)
    assert (sound.clip, sound.volume) == (stored("b"), 0.5)
    assert sound.start_seconds == pytest.approx(40 / FPS)
    assert sound.seconds == pytest.approx(60 / FPS)


def test_a_range_too_short_to_be_seen_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"clips\[1\] shows only 0\.20 seconds") as refused:
        plan([clip(5.0), clip(0.2)], 60)
    assert refused.value.reason == "CLIP_RANGE_INVALID"


def test_an_overlay_is_shown_in_its_time_only() -> None:
    logo = OverlayRequest(stored("l"), (0.9, 0.1), 0.2, 1.0, start_seconds=2.0, end_seconds=3.0)
    segments = plan([clip(9.0)], 150, replace(PLAIN, overlays=((logo, Source(stored("l"), {"still": True})),)))
    assert [segment.frame_count for segment in segments] == [30, 120]
    shown = [[(each.first_frame, each.frame_count) for each in segment.overlays] for segment in segments]
    assert shown == [[], [(30, 30)]]


def test_captions_are_cut_and_counted_from_the_segment() -> None:
    script = pysubs2.SSAFile()
    script.events = [
        pysubs2.SSAEvent(start=0, end=1000, text="one"),
        pysubs2.SSAEvent(start=900, end=2500, text="two"),
        pysubs2.SSAEvent(start=3000, end=4000, text="three"),
    ]
    cut = timeline.cut_captions(script, 30, 60, FPS)
    shown = [(event.start, event.end, event.text) for event in pysubs2.SSAFile.from_string(cut)]
    assert shown == [(0, 1480, "two")], "its last frame is the 44th, at 1467 ms"
    assert timeline.cut_captions(script, 150, 60, FPS) == ""
    assert [event.start for event in script] == [0, 900, 3000]


@given(st.data(), st.sampled_from([24, 25, 30, 50, 60]))
def test_cut_captions_show_on_the_frames_on_which_they_did(data: st.DataObject, rate: int) -> None:
    number = st.integers(0, 5000)
    first, last = sorted(data.draw(st.tuples(number, number).filter(lambda pair: pair[0] != pair[1])))
    begin, count = data.draw(number), data.draw(st.integers(1, 300))
    script = pysubs2.SSAFile()
    # As the content service writes what is on screen from a frame on until another.
    start, end = (max(0, round((frame - 0.5) * 100 / rate) * 10) for frame in (first, last))
    script.events = [pysubs2.SSAEvent(start=start, end=end, text="text")]
    cut = timeline.cut_captions(script, begin, count, rate)
    events = pysubs2.SSAFile.from_string(cut).events if cut else []
    # As the renderer looks up what to show on a frame: in whole milliseconds.
    shown = {n for n in range(count) if any(event.start <= n * 1000 // rate < event.end for event in events)}
    assert shown == {frame - begin for frame in range(first, last)} & set(range(count))


@pytest.mark.parametrize(("seconds", "expected"), [(1.0, 30), (1.001, 31), (0.0, 1), (2.0333333333, 61)])
def test_frames_cover_the_narration(seconds: float, expected: int) -> None:
    assert timeline.count_frames(seconds, FPS) == expected
