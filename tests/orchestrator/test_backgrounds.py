"""Backgrounds in a timeline: the segments of one background continue it, and the renderer gets its seed and colours."""

from __future__ import annotations

from moneyprinter.media.v1 import media_pb2 as media
from services.orchestrator.jobs import timeline
from services.orchestrator.jobs.model import SourceClip, VideoRequest
from services.orchestrator.jobs.scenes import Background
from services.orchestrator.workers.messages import segment_message

BACKGROUND = Background(7, ("#061a24", "#1b9aaa"))


def test_the_segments_of_a_background_continue_it() -> None:
    request = VideoRequest(
        title="The sea", clips=(), script=None, voice="", background_music="", width=1080, height=1920,
        frames_per_second=30, quality="standard",
    )  # fmt: skip
    settings = timeline.TimelineSettings(30)
    spans = timeline.fill([SourceClip(None, background=BACKGROUND)], 240, settings)
    shots = [segment_message(segment, request).shots[0] for segment in timeline.cut_segments(spans, settings)]
    assert len(shots) > 1
    assert {shot.WhichOneof("shows") for shot in shots} == {"background"}
    assert all(shot.background == media.Background(seed=7, colours=BACKGROUND.colours) for shot in shots)
    firsts = [shot.motion_first_frame for shot in shots]
    assert firsts == sorted(set(firsts))
    assert firsts[0] == 0


def test_only_a_background_of_black_is_dark() -> None:
    assert not SourceClip(None, background=BACKGROUND).is_dark
    assert SourceClip(None, background=Background(7, ("#000000", "#050505"))).is_dark
