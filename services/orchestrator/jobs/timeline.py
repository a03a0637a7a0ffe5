"""Timeline: plan a video as segments that can be rendered independently. Pure functions.

Sources are shown in the order of the request. When they are longer than the narration, they share its time evenly; when
they are shorter, they repeat from the first. Cuts are on frames, and the frames add up exactly to the length of the
narration. With a transition, a source begins while the previous one still runs; the frames that show both are a segment
of their own.

A shot is cut at key frames of its source where possible: no frame is decoded only to be discarded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain, cycle, pairwise, zip_longest

import pysubs2

from moneyprinter.errors import InvalidArgument
from services.orchestrator.jobs.model import OverlayRequest, Source, SourceClip, StoredObject

# Longer shots are cut into segments of about this length, which are rendered in parallel; a failure repeats only one.
# A segment may be shorter or longer, so that the next one begins at a key frame.
SEGMENT_SECONDS, SHORTEST_SECONDS, LONGEST_SECONDS = 2.5, 1.0, 4.0
# The first segment is short even without a key frame there: the preview starts with it.
FIRST_SECONDS = 1.0
# This many of the last segments are rendered from the longest to the shortest.
LAST_SEGMENTS = 4
MIN_CLIP_SECONDS = 0.5
# A shorter animation repeats, in whole rounds, for at least this time.
ANIMATION_SECONDS = 3.0
# The length of a still picture without a limit: longer than any narration.
UNLIMITED_FRAMES = 10**9
# The length of a still picture without a duration in a video without narration.
STILL_SECONDS = 5.0
# The motions of the successive views of a long still picture, and the zoom of every second view of a long clip.
MOTIONS = ("zoom_in", "pan_right", "zoom_out", "pan_left")
NEARER = 1.25


@dataclass(frozen=True)
class Shot:
    """The part of a source that a segment shows."""

    clip: SourceClip
    source_start_seconds: float
    motion_frames: int = 0
    """The length of the whole motion of a still picture."""
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
    """The position of the first frame in a moving overlay."""


@dataclass(frozen=True)
class Segment:
    """A part of the video that is rendered independently."""

    index: int
    shots: tuple[Shot, ...]
    """One shot, or the two of a transition."""
    transition: str
    """Its name, for example `crossfade`; empty for one shot."""
    first_frame: int
    """Its position in the video."""
    frame_count: int
    captions_ass: str
    """The ASS script of its captions, with times from its first frame; empty when it shows none."""
    overlays: tuple[Overlay, ...] = ()


@dataclass(frozen=True)
class ClipSound:
    """A part of a clip's own sound in the mix."""

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
    """The settings of a video that all its segments share."""

    frames_per_second: int
    transition_seconds: float = 0.5
    captions_ass: str = ""
    overlays: tuple[tuple[OverlayRequest, Source], ...] = ()
    """Each requested overlay, and its validated picture."""
    max_shot_seconds: float = 0.0
    """A longer shot changes to another view; 0: no shot does."""


@dataclass(frozen=True)
class Span:
    """A source, and the frames of the video that show it."""

    clip: SourceClip
    first_frame: int
    frame_count: int
    overlap_frames: int
    """The number of frames before `first_frame` in which it appears over the end of the previous source."""
    skipped: int = 0
    """The number of frames of the source that another view has shown just before."""
    zoom: float = 1.0
    """The zoom of the view."""


def count_frames(seconds: float, frames_per_second: int) -> int:
    """Returns the number of frames that cover `seconds`, at least one."""
    return max(1, math.ceil(seconds * frames_per_second - 1e-6))


@dataclass(frozen=True)
class Title:
    """A title card, with its times in the video."""

    text: str
    start_seconds: float
    end_seconds: float


def place_titles(spans: Sequence[Span], settings: TimelineSettings) -> list[Title]:
    """Returns the titles of the sources. A title ends before the transition to the next source begins."""
    rate = settings.frames_per_second
    found = []
    for span, following in zip_longest(spans, spans[1:]):
        alone = span.frame_count - (following.overlap_frames if following else 0)
        style = span.clip.style
        if style.title and alone > 0:
            shown = min(alone, round(style.title_seconds * rate)) if style.title_seconds else alone
            found.append(Title(style.title, span.first_frame / rate, (span.first_frame + shown) / rate))
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
            transition=shots[1].clip.style.transition if len(shots) == 2 else "",
            first_frame=first,
            frame_count=count,
            captions_ass=cut_captions(captions, first, count, settings.frames_per_second) if captions else "",
            overlays=tuple(_overlays_within(settings, first, count)),
        )
        for index, (shots, first, count) in enumerate(pieces)
    ]


def split_views(spans: Sequence[Span], settings: TimelineSettings) -> list[Span]:
    """Returns the spans, with those longer than `max_shot_seconds` split into several views."""
    found: list[Span] = []
    for span, following in zip_longest(spans, spans[1:]):
        parts, style = 1, span.clip.style
        can_split = style.motion in MOTIONS if span.clip.still else style.fit == "cover"
        if settings.max_shot_seconds and can_split and span.clip.source is not None:
            # A view stays longer than the transition to the next source.
            shortest = max(1, 2 * (following.overlap_frames if following else 0))
            parts = math.ceil(span.frame_count / (settings.max_shot_seconds * settings.frames_per_second) - 1e-6)
            parts = max(1, min(parts, span.frame_count // shortest))
        edges = [span.frame_count * part // parts for part in range(parts + 1)]
        for number, (begin, end) in enumerate(pairwise(edges)):
            found.append(_view_of(span, number, begin, end))
    return found


def _view_of(span: Span, number: int, begin: int, end: int) -> Span:
    """Returns a part of a span in its view: stills take the motions in turn, clips alternate between two zooms."""
    clip, style = span.clip, span.clip.style
    if clip.still and number:
        motion = MOTIONS[(MOTIONS.index(style.motion) + number) % len(MOTIONS)]
        clip = replace(clip, style=replace(style, motion=motion))
    return Span(
        clip,
        span.first_frame + begin,
        end - begin,
        span.overlap_frames if not number else 0,
        skipped=begin + span.overlap_frames if number else 0,
        zoom=1.0 if clip.still or number % 2 == 0 else NEARER,
    )


def single_frame_segment(spans: Sequence[Span], settings: TimelineSettings, seconds: float) -> Segment:
    """Returns the frame at a time of the video as a segment without captions; the last frame after the end."""
    spans = split_views(spans, settings)
    last = spans[-1].first_frame + spans[-1].frame_count - 1
    number = min(last, int(seconds * settings.frames_per_second + 1e-6))
    span = next(span for span in reversed(spans) if span.first_frame <= number)
    # The renderer prefers index 0, with which a preview starts; this segment is not urgent.
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
    """Returns the segments in the order of rendering, which is about the order of showing: previews play meanwhile.

    Neighbours show the same source and cost the same, so the segments of two shots alternate. The last few are sorted
    from long to short, except the first segment: no core waits long for another one at the end.
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
    """Returns the frames at which the first `frame_count` frames of a span are cut."""
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
        # A slightly long segment costs less than a tiny rest, or than frames that are decoded twice.
        if not soon and left <= longest and (not found or ideal + shortest > frame_count):
            break
        begin = min(found, key=lambda key: (abs(key - ideal), key)) if found else min(ideal, frame_count - shortest)
        cuts.append(begin)
    return cuts


def _frame_at(span: Span, source_seconds: float, settings: TimelineSettings) -> int:
    """Returns the first frame of a span that shows its source at or after a time of the source."""
    seconds = (source_seconds - span.clip.start_seconds) / span.clip.style.speed
    return math.ceil(seconds * settings.frames_per_second - 1e-6) - span.overlap_frames - span.skipped


def fill(clips: Sequence[SourceClip], frame_count: int, settings: TimelineSettings) -> list[Span]:
    """Fill `frame_count` frames with the clips. Raises `InvalidArgument` when a clip is too short to be shown."""
    available = [_available_frames(index, clip, settings.frames_per_second) for index, clip in enumerate(clips)]
    overlaps = [_overlap_of(clip, count, settings) for clip, count in zip(clips, available, strict=True)]
    room = [count - overlap for count, overlap in zip(available, overlaps, strict=True)]
    if sum(room) + overlaps[0] >= frame_count:
        # No clip repeats, so the first clip has no previous one to overlap.
        room[0], overlaps[0] = available[0], 0
    counts = share_frames(room, frame_count)
    return _place_spans(
        [(clip, overlap, n) for clip, overlap, n in zip(cycle(clips), cycle(overlaps), counts, strict=False) if n]
    )


def resolve_lengths(clips: Sequence[SourceClip], settings: TimelineSettings) -> tuple[list[SourceClip], int]:
    """Give every still picture a length. Returns the clips, and the number of frames of all of them in sequence.

    Raises `InvalidArgument` when a clip is too short to be shown.
    """
    limited = [
        replace(clip, still_seconds=clip.still_seconds or STILL_SECONDS) if clip.still else clip for clip in clips
    ]
    available = [_available_frames(index, clip, settings.frames_per_second) for index, clip in enumerate(limited)]
    overlaps = [_overlap_of(clip, count, settings) for clip, count in zip(limited, available, strict=True)]
    return limited, sum(available) - sum(overlaps[1:])


def align_to_scenes(clips: Sequence[SourceClip], scene_frames: Sequence[int], settings: TimelineSettings) -> list[Span]:
    """Show each clip for the frames of its scene; a clip shorter than its scene repeats from its start.

    Raises `InvalidArgument` when a clip is too short to be shown.
    """
    shown: list[tuple[SourceClip, int, int]] = []
    for index, (clip, count) in enumerate(zip(clips, scene_frames, strict=True)):
        shown += _show_for(index, clip, count, settings)
    return _place_spans(shown)


def align_cuts(
    scenes: Sequence[Sequence[tuple[SourceClip, float]]], scene_frames: Sequence[int], settings: TimelineSettings
) -> list[Span]:
    """Show the cuts of each scene for its frames, in the proportion of their seconds; 0 seconds are the mean of others.

    A clip that is shorter than its cut repeats. Raises `InvalidArgument` when a clip is too short to be shown.
    """
    shown: list[tuple[SourceClip, int, int]] = []
    for cuts, count in zip(scenes, scene_frames, strict=True):
        known = [seconds for _, seconds in cuts if seconds]
        mean = sum(known) / len(known) if known else 1.0
        ends = list(accumulate(seconds or mean for _, seconds in cuts))
        edges = [0, *(round(count * end / ends[-1]) for end in ends)]
        for (clip, _), (begin, end) in zip(cuts, pairwise(edges), strict=True):
            shown += _show_for(len(shown), clip, end - begin, settings)
    return _place_spans(shown)


def _show_for(
    index: int, clip: SourceClip, count: int, settings: TimelineSettings
) -> Iterator[tuple[SourceClip, int, int]]:
    """Yields the parts of `count` frames in which a clip is shown, with their overlaps."""
    available = _available_frames(index, clip, settings.frames_per_second)
    overlap = _overlap_of(clip, available, settings)
    while count:
        part = min(count, available - overlap)
        yield clip, overlap, part
        count, overlap = count - part, 0


def place_sounds(spans: Sequence[Span], settings: TimelineSettings) -> list[ClipSound]:
    """Returns the parts of the clips' own sound that are in the mix, with their positions."""
    return [
        ClipSound(
            clip=span.clip.source.object,
            source_start_seconds=span.clip.start_seconds,
            start_seconds=(span.first_frame - span.overlap_frames) / settings.frames_per_second,
            seconds=(span.frame_count + span.overlap_frames) / settings.frames_per_second,
            volume=span.clip.style.sound_volume,
            speed=span.clip.style.speed,
            track=span.clip.sound_track,
            track_start=span.clip.sound_start,
        )
        for span in spans
        if span.clip.source and span.clip.has_audio and span.clip.style.sound_volume > 0
    ]


def share_frames(available: Sequence[int], frame_count: int) -> list[int]:
    """Returns the number of frames of each shot when clips of `available` frames fill `frame_count` in order.

    The clips repeat from the first after the last. 0 means that no time is left for the clip.
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
    """Returns the part of an ASS script that some frames show, with times from the first of these frames.

    Each caption appears on the same frames as in the whole script. The result does not depend on the position in the
    video, so that equal segments have equal cache keys.
    """
    part = pysubs2.SSAFile()
    part.info, part.styles = captions.info, captions.styles
    begin, end = (1000 * frame // frames_per_second for frame in (first_frame - 1, first_frame + frame_count))
    # A cheap filter first: a long video has thousands of events.
    for event in [event for event in captions.events if event.end > begin and event.start <= end]:
        # The first frame at or after each time.
        first, last = (-(-time * frames_per_second // 1000) - first_frame for time in (event.start, event.end))
        first, last = max(first, 0), min(last, frame_count)
        if first < last:
            cut = event.copy()
            cut.start, cut.end = _midpoint_before(first, frames_per_second), _midpoint_before(last, frames_per_second)
            part.events.append(cut)
    return part.to_string("ass") if part.events else ""


def _midpoint_before(frame: int, frames_per_second: int) -> int:
    """Returns the midpoint between a frame and the previous one in ms, rounded to the hundredths of a second of ASS."""
    return max(0, round((frame - 0.5) * 100 / frames_per_second) * 10)


def _share_evenly(available: Sequence[int], frame_count: int) -> list[int]:
    """Share `frame_count` among clips as evenly as their lengths allow; short clips are shown whole."""
    shares = [0] * len(available)
    left = frame_count
    # From the shortest clip on: the longer ones take what it cannot fill.
    for done, index in enumerate(sorted(range(len(available)), key=lambda i: (available[i], i))):
        shares[index] = min(available[index], math.ceil(left / (len(available) - done)))
        left -= shares[index]
    return shares


def _place_spans(shown: Sequence[tuple[SourceClip, int, int]]) -> list[Span]:
    """Returns spans of (clip, overlap, frames) in sequence. Overlaps longer than the previous span are dropped."""
    spans: list[Span] = []
    first = 0
    for clip, overlap, count in shown:
        room = spans[-1].frame_count if spans else 0
        spans.append(Span(clip, first, count, overlap if overlap and room > overlap else 0))
        first += count
    return spans


def _shot_at(span: Span, offset: int, settings: TimelineSettings) -> Shot:
    """Returns the shot of a span from its frame `offset` on, which is negative in its overlap."""
    behind = offset + span.overlap_frames
    if span.clip.still:
        return Shot(span.clip, 0.0, motion_frames=span.frame_count + span.overlap_frames, motion_first_frame=behind)
    behind += span.skipped
    seconds = behind * span.clip.style.speed / settings.frames_per_second
    start = span.clip.start_seconds + seconds
    start = start % span.clip.loop_seconds if span.clip.loop_seconds else start
    return Shot(span.clip, round(start, 6), zoom=span.zoom)


def _overlays_within(settings: TimelineSettings, first: int, count: int) -> Iterator[Overlay]:
    for overlay, image in settings.overlays:
        begin = round((overlay.start_seconds or 0.0) * settings.frames_per_second)
        end = first + count if overlay.end_seconds is None else round(overlay.end_seconds * settings.frames_per_second)
        shown, end = max(begin, first), min(end, first + count)
        if shown < end:
            # A moving overlay repeats from the time at which it appears.
            behind = (shown - begin) / settings.frames_per_second % image.round_seconds if image.round_seconds else 0.0
            yield Overlay(overlay, image, shown - first, end - shown, round(behind, 6))


def _overlap_of(clip: SourceClip, available: int, settings: TimelineSettings) -> int:
    """Returns the number of frames in which a clip overlaps the previous one; 0 when the clip is too short."""
    overlap = round(settings.transition_seconds * settings.frames_per_second) if clip.style.transition else 0
    return overlap if available >= 3 * overlap else 0


def _available_frames(index: int, clip: SourceClip, frames_per_second: int) -> int:
    """Returns the number of frames that a clip can fill. Raises `InvalidArgument` when the clip is too short."""
    if clip.still:
        return count_frames(clip.still_seconds, frames_per_second) if clip.still_seconds else UNLIMITED_FRAMES
    seconds = clip.end_seconds - clip.start_seconds
    if clip.loop_seconds:
        seconds *= max(1, math.ceil(ANIMATION_SECONDS * clip.style.speed / clip.loop_seconds))
    if seconds < MIN_CLIP_SECONDS:
        raise InvalidArgument(
            f"clips[{index}] shows only {seconds:.2f} seconds; at least {MIN_CLIP_SECONDS} are needed",
            reason="CLIP_RANGE_INVALID",
        )
    return max(1, math.floor(seconds / clip.style.speed * frames_per_second + 1e-6))
