"""The segments of a video show the same frames as one graph of the whole video, before the encode."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg

from services.media.encoding import Quality
from services.processing import graph
from services.processing.graph import GraphContext
from services.processing.render import Tool
from services.processing.source import Source
from services.processing.spec import Canvas, Clip, Colour, Fit, Motion, Overlay, Point, Shot, Spec, Still, Transition
from services.processing.transitions import draw_transition
from tests import media
from tests.media.drawing import FONTS, captions, still
from tests.sources import probe_source

# 0.04 s a frame, so that captions, whose times are in hundredths, can begin on any frame.
CANVAS = Canvas(160, 90, 25)
CAPTION = (12, 60)
LOGO = Overlay(3, Point(0.9, 0.1), 0.2, 0.6, 5, 38)

STREET = Shot(Clip(0, timedelta(seconds=0.2)), Fit.COVER, Point(0.2, 0.5))
PORTRAIT = Shot(Still(1, Motion.ZOOM_IN, 32), Fit.BLUR)
FAST = Shot(Clip(2, timedelta(seconds=0.4), Fraction(2)), Fit.CONTAIN)
PAINT = Shot(Colour(0x336699))
WIDE = Shot(Still(1, Motion.PAN_RIGHT, 14), Fit.COVER)


def shift_shot(shot: Shot, frames: int) -> Shot:
    """A shot from a later frame on."""
    match shot.shows:
        case Clip() as clip:
            seconds = Fraction(frames, CANVAS.frames_per_second) * clip.speed
            start = clip.start + timedelta(microseconds=float(seconds * 1_000_000))
            return replace(shot, shows=replace(clip, start=start))
        case Still() as still:
            return replace(shot, shows=replace(still, motion_first_frame=still.motion_first_frame + frames))
        case _:
            return shot


# Shots of 28, 32, 20, 10 and 14 frames, with two transitions of 8 frames; two of the shots are cut in the middle.
PIECES: tuple[tuple[int, Transition | None, tuple[Shot, ...]], ...] = (
    (20, None, (STREET,)),
    (8, Transition.CROSSFADE, (shift_shot(STREET, 20), PORTRAIT)),
    (9, None, (shift_shot(PORTRAIT, 8),)),
    (7, None, (shift_shot(PORTRAIT, 17),)),
    (8, Transition.SLIDE_LEFT, (shift_shot(PORTRAIT, 24), FAST)),
    (12, None, (shift_shot(FAST, 8),)),
    (10, None, (PAINT,)),
    (5, None, (WIDE,)),
    (9, None, (shift_shot(WIDE, 5),)),
)


def script(first: int) -> str:
    """The captions of what begins at frame `first`."""
    begin, end = (max(0, frame - first) * 4 for frame in CAPTION)
    return captions(start=f"0:00:{begin / 100:05.2f}", end=f"0:00:{end / 100:05.2f}")


def segments() -> list[Spec]:
    """The whole video, cut into segments."""
    made, first = [], 0
    for frames, kind, shots in PIECES:
        begin, end = (min(frames, max(0, at - first)) for at in (5, 43))
        overlays = (replace(LOGO, first_frame=begin, frame_count=end - begin),) if end > begin else ()
        captions_ass = script(first) if first < CAPTION[1] and first + frames > CAPTION[0] else ""
        made.append(Spec(shots, frames, CANVAS, Quality.DRAFT, kind, overlays, captions_ass))
        first += frames
    return made


def whole_graph(context: GraphContext) -> Any:
    """Returns the whole video as one graph: every shot is opened once, and cut only where a transition needs it."""
    street, portrait = (
        graph.draw_shot(STREET, 28, context, 0).split(),
        graph.draw_shot(PORTRAIT, 32, context, 1).split(),
    )
    fast = graph.draw_shot(FAST, 20, context, 2).split()
    parts = (
        part(street[0], 0, 20),
        draw_transition(Transition.CROSSFADE, part(street[1], 20, 28), part(portrait[0], 0, 8), 8, CANVAS),
        part(portrait[1], 8, 24),
        draw_transition(Transition.SLIDE_LEFT, part(portrait[2], 24, 32), part(fast[0], 0, 8), 8, CANVAS),
        part(fast[1], 8, 20),
        graph.draw_shot(PAINT, 10, context, 3),
        graph.draw_shot(WIDE, 14, context, 4),
    )
    joined = ffmpeg.concat(*parts, n=len(parts), v=1, a=0).filter("fps", fps=CANVAS.frames_per_second)
    return graph.burn_captions(graph.overlay_image(joined, LOGO, context, 0))


def part(frames: Any, first: int, end: int) -> Any:
    """Frames of a frames, counted from 0 again."""
    return frames.filter("trim", start_frame=first, end_frame=end).filter("setpts", "PTS-STARTPTS")


def hashes(tool: Tool, folder: Path, frames: Any) -> list[str]:
    """The hash of each frame that a graph gives."""
    made = ffmpeg.output(frames, "frames.md5", f="framemd5", **{"c:v": "rawvideo"}, fps_mode="passthrough")
    command = [tool.ffmpeg, "-nostdin", "-y", "-loglevel", "error", *made.get_args()]
    done = subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = (folder / "frames.md5").read_text().splitlines()
    return [line.rpartition(",")[2].strip() for line in lines if not line.startswith("#")]


async def make_sources(folder: Path) -> tuple[Source, ...]:
    """Make the sources, and probe them."""
    between_key_frames = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "12", "-bf", "2", "-qp", "5")
    media.clip(folder / "street.mp4", size=(200, 120), rate="30", seconds=2, encode=between_key_frames)
    still(folder / "portrait.png", "mandelbrot=s={w}x{h}", size=(180, 240))
    media.clip(folder / "fast.mp4", "testsrc=s={w}x{h}:r={rate}", size=(128, 128), rate="24", seconds=2.5)
    still(folder / "logo.png", "testsrc=s={w}x{h},format=rgba,colorchannelmixer=aa=0.8", size=(64, 48))
    found = []
    for place, name in enumerate(("street.mp4", "portrait.png", "fast.mp4", "logo.png")):
        (folder / name).rename(folder / graph.source_name(place))
        found.append(await probe_source(folder / graph.source_name(place)))
    (folder / graph.FONTS).symlink_to(FONTS)
    return tuple(found)


async def test_frames_of_segments_are_those_of_the_whole(tool: Tool, tmp_path: Path) -> None:
    context = GraphContext(CANVAS, await make_sources(tmp_path), 1, tool.max_pixels)
    (tmp_path / graph.CAPTIONS).write_text(script(0))
    expected = hashes(tool, tmp_path, whole_graph(context))
    assert len(expected) == 88
    assert len(set(expected)) > 70, "the frames differ"
    assert segment_hashes(tool, tmp_path, segments(), context) == expected


def segment_hashes(tool: Tool, folder: Path, specs: Sequence[Spec], context: GraphContext) -> list[str]:
    """The hashes of the frames of all segments, in order."""
    frames: list[str] = []
    for spec in specs:
        (folder / graph.CAPTIONS).write_text(spec.captions_ass)
        shown = hashes(tool, folder, graph.draw_segment(spec, context))
        assert len(shown) == spec.frame_count
        frames += shown
    return frames
