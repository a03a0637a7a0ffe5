"""Timeline: plan a video as segments that each can be rendered by itself. Pure functions.

Sources are shown in the order of the request. Where there is more than the narration needs, they share
its time fairly; where there is less, they are shown again from the first. Cuts are on frames, and the
frames add up to the length of the narration to the frame. With a transition, a source that follows
another one begins while that one still runs; the frames that both show are a segment of their own.

A shot is cut where decoding of its source can begin, if there is such a place: nothing is decoded in vain.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, cycle, pairwise, zip_longest

import pysubs2

from moneyprinter.errors import InvalidArgument
from services.orchestrator.jobs.model import OverlayRequest, Source, SourceClip, StoredObject

# Longer shots are cut into segments of about this length, so that they are rendered side by side and less is lost with
# one. They may be shorter or longer to end where decoding of the next can begin.
SEGMENT_SECONDS, SHORTEST_SECONDS, LONGEST_SECONDS = 2.5, 1.0, 4.0
# The first is as short, wherever decoding can begin, so that there is something to see soon.
FIRST_SECONDS = 1.0
# So many of the last segments are rendered by their length.
LAST_SEGMENTS = 4
MIN_CLIP_SECONDS = 0.5
# An animation that is shorter is shown again and again, in whole rounds, for at least so long.
ANIMATION_SECONDS = 3.0
# As long as a still picture is shown when nothing else limits it: longer than any narration.
UNLIMITED_FRAMES = 10**9
# As long as a still picture is shown in a video without narration.
STILL_SECONDS = 5.0
# The views of a still picture that is shown for long, in turn, and how much nearer a clip comes for a view.
MOTIONS = ("zoom_in", "pan_right", "zoom_out", "pan_left")
NEARER = 1.25


@dataclass(frozen=True)
class Shot:
    """What a segment shows of a source."""

    clip: SourceClip
    source_start_seconds: float
    motion_frames: int = 0
    """How long the whole of a still's motion takes."""
    motion_first_frame: int = 0
    zoom: float = 1.0


@dataclass(frozen=True)
class Overlay:
    """A picture over some frames of a segment."""

    request: OverlayRequest
    image: Source
    first_frame: int
    frame_count: int
    source_start_seconds: float = 0.0
    """Of what moves: where in it its first frame is."""


@dataclass(frozen=True)
class Segment:
    """A piece of the video that is rendered by itself."""

    index: int
    shots: tuple[Shot, ...]
    """One, or the two of a transition."""
    transition: str
    """`crossfade` and so on; empty when there is one shot."""
    first_frame: int
    """Where it begins in the video."""
    frame_count: int
    captions_ass: str
    """The captions of its time, counted from its first frame; empty when there are none."""
    overlays: tuple[Overlay, ...] = ()


@dataclass(frozen=True)
class ClipSound:
    """A part of a clip's own sound that is kept."""

    clip: StoredObject
    source_start_seconds: float
    start_seconds: float
    seconds: float
    volume: float
    speed: float
    track: int = 0
    track_start: float = 0.0


@dataclass(frozen=True)
class TimelineSettings:
    """What the whole of a video has in common."""

    frames_per_second: int
    transition_seconds: float = 0.5
    captions_ass: str = ""
    overlays: tuple[tuple[OverlayRequest, Source], ...] = ()
    """What was asked for, and the picture that was found good."""
    max_shot_seconds: float = 0.0
    """A longer shot is cut to another view; 0: none is."""


@dataclass(frozen=True)
class Span:
    """A source, and the frames of the video that it is shown in."""

    clip: SourceClip
    first_frame: int
    frame_count: int
    overlap_frames: int
    """How many frames before its first one it begins, under the end of the one before it."""
    skipped: int = 0
    """How many frames of the source were shown just before, in another view."""
    zoom: float = 1.0
    """How near it is shown."""


def count_frames(seconds: float, frames_per_second: int) -> int:
    """The number of frames that cover `seconds`."""
    return max(1, math.ceil(seconds * frames_per_second - 1e-6))


@dataclass(frozen=True)
class Title:
    """What is written over some of the video, in seconds."""

    text: str
    start_seconds: float
    end_seconds: float


def place_titles(spans: Sequence[Span], settings: TimelineSettings) -> list[Title]:
    """The titles of the sources, while they are shown alone: a title does not stand while its picture goes away."""
    rate = settings.frames_per_second
    found = []
    for span, following in zip_longest(spans, spans[1:]):
        alone = span.frame_count - (following.overlap_frames if following else 0)
        if span.clip.look.title and alone > 0:
            found.append(Title(span.clip.look.title, span.first_frame / rate, (span.first_frame + alone) / rate))
    return found


def cut_segments(spans: Sequence[Span], settings: TimelineSettings) -> list[Segment]:
    """Cut the spans of a video into segments, each with its captions and overlays."""
    captions = pysubs2.SSAFile.from_string(settings.captions_ass, format_="ass") if settings.captions_ass else None
    pieces: list[tuple[tuple[Shot, ...], int, int]] = []
    spans = split_views(spans, settings)
    for index, span in enumerate(spans):
        following = spans[index + 1] if index + 1 < len(spans) else None
        overlap = following.overlap_frames if following else 0
        alone = span.frame_count - overlap
        for begin, end in pairwise((0, *_find_cuts(span, alone, settings, first=not index), alone)):
            if end > begin:
                pieces.append(((_shot_at(span, begin, settings),), span.first_frame + begin, end - begin))
        if following and overlap:
            both = (_shot_at(span, alone, settings), _shot_at(following, -overlap, settings))
            pieces.append((both, following.first_frame - overlap, overlap))
    return [
        Segment(
            index=index,
            shots=shots,
            transition=shots[1].clip.look.transition if len(shots) == 2 else "",
            first_frame=first,
            frame_count=count,
            captions_ass=cut_captions(captions, first, count, settings.frames_per_second) if captions else "",
            overlays=tuple(_overlays_within(settings, first, count)),
        )
        for index, (shots, first, count) in enumerate(pieces)
    ]


def split_views(spans: Sequence[Span], settings: TimelineSettings) -> list[Span]:
    """The spans, of which those that take too long for one view are cut into several."""
    found: list[Span] = []
    for span, following in zip_longest(spans, spans[1:]):
        parts, look = 1, span.clip.look
        may = look.motion in MOTIONS if span.clip.still else look.fit == "cover"
        if settings.max_shot_seconds and may and span.clip.source is not None:
            # None is so short that nothing is left of it beside the transition to the next.
            shortest = max(1, 2 * (following.overlap_frames if following else 0))
            parts = math.ceil(span.frame_count / (settings.max_shot_seconds * settings.frames_per_second) - 1e-6)
            parts = max(1, min(parts, span.frame_count // shortest))
        edges = [span.frame_count * part // parts for part in range(parts + 1)]
        for number, (begin, end) in enumerate(pairwise(edges)):
            found.append(_view_of(span, number, begin, end))
    return found


def _view_of(span: Span, number: int, begin: int, end: int) -> Span:
    """A part of a span, in the view that its number says: motions in turn, or nearer and back."""
    clip, look = span.clip, span.clip.look
    if clip.still and number:
        clip = replace(clip, look=replace(look, motion=MOTIONS[(MOTIONS.index(look.motion) + number) % len(MOTIONS)]))
    return Span(
        clip,
        span.first_frame + begin,
        end - begin,
        span.overlap_frames if not number else 0,
        skipped=begin + span.overlap_frames if number else 0,
        zoom=1.0 if clip.still or number % 2 == 0 else NEARER,
    )


def single_frame_segment(spans: Sequence[Span], settings: TimelineSettings, seconds: float) -> Segment:
    """A single frame of the video, without captions; the last one when there is none so late."""
    spans = split_views(spans, settings)
    last = spans[-1].first_frame + spans[-1].frame_count - 1
    number = min(last, int(seconds * settings.frames_per_second + 1e-6))
    span = next(span for span in reversed(spans) if span.first_frame <= number)
    # Not the first index: nobody waits for it.
    return Segment(
        index=1,
        shots=(_shot_at(span, number - span.first_frame, settings),),
        transition="",
        first_frame=number,
        frame_count=1,
        captions_ass="",
        overlays=tuple(_overlays_within(settings, number, 1)),
    )


def render_order(segments: Sequence[Segment]) -> list[Segment]:
    """The order in which segments are rendered: about that in which they are shown, for who watches meanwhile.

    Neighbours show the same source, and are as dear as each other; so those of two shots take turns. The shortest of
    the last are the very last, unless it is the first one: then no core waits long for another one.
    """
    shots: list[list[Segment]] = []
    for segment in segments:
        last = shots[-1][-1] if shots else None
        if last and len(last.shots) == len(segment.shots) == 1 and last.shots[0].clip == segment.shots[0].clip:
            shots[-1].append(segment)
        else:
            shots.append([segment])
    pairs = [chain.from_iterable(zip_longest(*shots[at : at + 2])) for at in range(0, len(shots), 2)]
    ordered = [segment for segment in chain.from_iterable(pairs) if segment is not None]
    at = max(1, len(ordered) - LAST_SEGMENTS)
    return ordered[:at] + sorted(ordered[at:], key=lambda segment: -segment.frame_count)


def _find_cuts(span: Span, frame_count: int, settings: TimelineSettings, *, first: bool) -> list[int]:
    """Where the first `frame_count` frames of a span are cut."""
    rate = settings.frames_per_second
    shortest, longest = round(SHORTEST_SECONDS * rate), round(LONGEST_SECONDS * rate)
    keys = [_frame_at(span, seconds, settings) for seconds in span.clip.key_seconds]
    cuts: list[int] = []
    begin = 0
    while (left := frame_count - begin) >= 2 * shortest:
        soon = first and not cuts
        ideal = begin + round((FIRST_SECONDS if soon else SEGMENT_SECONDS) * rate)
        last = frame_count - shortest if not soon else 0
        found = [key for key in keys if begin + shortest <= key <= min(begin + longest, last)]
        # Rather a little long than with a rest that is hardly worth it, or with frames that are decoded twice.
        if not soon and left <= longest and (not found or ideal + shortest > frame_count):
            break
        begin = min(found, key=lambda key: (abs(key - ideal), key)) if found else min(ideal, frame_count - shortest)
        cuts.append(begin)
    return cuts


def _frame_at(span: Span, source_seconds: float, settings: TimelineSettings) -> int:
    """The first frame of a span that shows its source from a moment on."""
    seconds = (source_seconds - span.clip.start_seconds) / span.clip.look.speed
    return math.ceil(seconds * settings.frames_per_second - 1e-6) - span.overlap_frames - span.skipped


def fill(clips: Sequence[SourceClip], frame_count: int, settings: TimelineSettings) -> list[Span]:
    """Fill `frame_count` frames with `clips`. Raises InvalidArgument when one is too short to be shown."""
    available = [_available_frames(index, clip, settings.frames_per_second) for index, clip in enumerate(clips)]
    overlaps = [_overlap_of(clip, count, settings) for clip, count in zip(clips, available, strict=True)]
    room = [count - overlap for count, overlap in zip(available, overlaps, strict=True)]
    if sum(room) + overlaps[0] >= frame_count:
        # Nothing is repeated, and there is nothing before the first clip that it could begin under.
        room[0], overlaps[0] = available[0], 0
    counts = share_frames(room, frame_count)
    return _place_spans(
        [(clip, overlap, n) for clip, overlap, n in zip(cycle(clips), cycle(overlaps), counts, strict=False) if n]
    )


def resolve_lengths(clips: Sequence[SourceClip], settings: TimelineSettings) -> tuple[list[SourceClip], int]:
    """Clips of which each has its length, and how many frames they take together, one after the other."""
    limited = [
        replace(clip, still_seconds=clip.still_seconds or STILL_SECONDS) if clip.still else clip for clip in clips
    ]
    available = [_available_frames(index, clip, settings.frames_per_second) for index, clip in enumerate(limited)]
    overlaps = [_overlap_of(clip, count, settings) for clip, count in zip(limited, available, strict=True)]
    return limited, sum(available) - sum(overlaps[1:])


def align_to_scenes(clips: Sequence[SourceClip], scene_frames: Sequence[int], settings: TimelineSettings) -> list[Span]:
    """Show each clip for the frames of its scene, again from its start when the scene is longer."""
    shown: list[tuple[SourceClip, int, int]] = []
    for index, (clip, count) in enumerate(zip(clips, scene_frames, strict=True)):
        available = _available_frames(index, clip, settings.frames_per_second)
        overlap = _overlap_of(clip, available, settings)
        left = count
        while left:
            part = min(left, available - overlap)
            shown.append((clip, overlap, part))
            left, overlap = left - part, 0
    return _place_spans(shown)


def place_sounds(spans: Sequence[Span], settings: TimelineSettings) -> list[ClipSound]:
    """The clips' own sound that is kept, where it is heard."""
    return [
        ClipSound(
            clip=span.clip.source.object,
            source_start_seconds=span.clip.start_seconds,
            start_seconds=(span.first_frame - span.overlap_frames) / settings.frames_per_second,
            seconds=(span.frame_count + span.overlap_frames) / settings.frames_per_second,
            volume=span.clip.look.sound_volume,
            speed=span.clip.look.speed,
            track=span.clip.sound_track,
            track_start=span.clip.sound_start,
        )
        for span in spans
        if span.clip.source and span.clip.has_audio and span.clip.look.sound_volume > 0
    ]


def share_frames(available: Sequence[int], frame_count: int) -> list[int]:
    """How many frames each shot has, when clips of `available` frames fill `frame_count` in order.

    Shot by shot, clip after clip, from the first clip again after the last. 0: there is no time for the clip.
    """
    total = sum(available)
    if total >= frame_count:
        return _share_evenly(available, frame_count)
    repeats, rest = divmod(frame_count, total)
    filled = list(available) * repeats
    for count in available:
        if rest <= 0:
            break
        filled.append(min(count, rest))
        rest -= count
    return filled


def cut_captions(captions: pysubs2.SSAFile, first_frame: int, frame_count: int, frames_per_second: int) -> str:
    """The part of an ASS script that is on screen in some frames, its times counted from the first of them.

    It shows on just those frames, and is the same for the same captions wherever they are in the video.
    """
    part = pysubs2.SSAFile()
    part.info, part.styles = captions.info, captions.styles
    begin, end = (1000 * frame // frames_per_second for frame in (first_frame - 1, first_frame + frame_count))
    # Quickly those that may be: a long video has many.
    for event in [event for event in captions.events if event.end > begin and event.start <= end]:
        # The first frame on or after a time.
        first, last = (-(-time * frames_per_second // 1000) - first_frame for time in (event.start, event.end))
        first, last = max(first, 0), min(last, frame_count)
        if first < last:
            cut = event.copy()
            cut.start, cut.end = _midpoint_before(first, frames_per_second), _midpoint_before(last, frames_per_second)
            part.events.append(cut)
    return part.to_string("ass") if part.events else ""


def _midpoint_before(frame: int, frames_per_second: int) -> int:
    """The middle between a frame and the one before it, in the hundredths of a second that ASS can write, as ms."""
    return max(0, round((frame - 0.5) * 100 / frames_per_second) * 10)


def _share_evenly(available: Sequence[int], frame_count: int) -> list[int]:
    """Share `frame_count` among clips as evenly as what each has allows; short clips are shown whole."""
    shares = [0] * len(available)
    left = frame_count
    # From the shortest on: what it cannot take is left to the longer ones.
    for done, index in enumerate(sorted(range(len(available)), key=lambda i: (available[i], i))):
        shares[index] = min(available[index], math.ceil(left / (len(available) - done)))
        left -= shares[index]
    return shares


def _place_spans(shown: Sequence[tuple[SourceClip, int, int]]) -> list[Span]:
    """Spans of (clip, overlap, frames) one after the other; a lead that the one before has no room for is dropped."""
    spans: list[Span] = []
    first = 0
    for clip, overlap, count in shown:
        room = spans[-1].frame_count if spans else 0
        spans.append(Span(clip, first, count, overlap if overlap and room > overlap else 0))
        first += count
    return spans


def _shot_at(span: Span, offset: int, settings: TimelineSettings) -> Shot:
    """What a span shows from its frame `offset` on; negative in its overlap."""
    behind = offset + span.overlap_frames
    if span.clip.still:
        return Shot(span.clip, 0.0, motion_frames=span.frame_count + span.overlap_frames, motion_first_frame=behind)
    behind += span.skipped
    seconds = behind * span.clip.look.speed / settings.frames_per_second
    start = span.clip.start_seconds + seconds
    start = start % span.clip.loop_seconds if span.clip.loop_seconds else start
    return Shot(span.clip, round(start, 6), zoom=span.zoom)


def _overlays_within(settings: TimelineSettings, first: int, count: int) -> Iterator[Overlay]:
    for overlay, image in settings.overlays:
        begin = round((overlay.start_seconds or 0.0) * settings.frames_per_second)
        end = first + count if overlay.end_seconds is None else round(overlay.end_seconds * settings.frames_per_second)
        shown, end = max(begin, first), min(end, first + count)
        if shown < end:
            # What moves is shown again and again, from where the overlay appears on.
            behind = (shown - begin) / settings.frames_per_second % image.round_seconds if image.round_seconds else 0.0
            yield Overlay(overlay, image, shown - first, end - shown, round(behind, 6))


def _overlap_of(clip: SourceClip, available: int, settings: TimelineSettings) -> int:
    """How many frames a clip begins under the one before it; none when it is too short for that."""
    wanted = round(settings.transition_seconds * settings.frames_per_second) if clip.look.transition else 0
    return wanted if available >= 3 * wanted else 0


def _available_frames(index: int, clip: SourceClip, frames_per_second: int) -> int:
    """How many frames of the video a clip can fill."""
    if clip.still:
        return count_frames(clip.still_seconds, frames_per_second) if clip.still_seconds else UNLIMITED_FRAMES
    seconds = clip.end_seconds - clip.start_seconds
    if clip.loop_seconds:
        seconds *= max(1, math.ceil(ANIMATION_SECONDS * clip.look.speed / clip.loop_seconds))
    if seconds < MIN_CLIP_SECONDS:
        raise InvalidArgument(
            f"clips[{index}] shows only {seconds:.2f} seconds; at least {MIN_CLIP_SECONDS} are needed",
            reason="CLIP_RANGE_INVALID",
        )
    return max(1, math.floor(seconds / clip.look.speed * frames_per_second + 1e-6))
