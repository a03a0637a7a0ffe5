"""Graph: what ffmpeg's filters do to turn sources into the pictures of a segment.

Functions over streams of ffmpeg-python. Each gives one stream of frames as the encoder takes them (`yuv420p`,
BT.709, square pixels, numbered from 0), so that a segment and a whole video are built of the same parts, and
show the same pictures. No text of a user's gets here: all files have fixed names in the folder that ffmpeg
runs in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import Any

import ffmpeg

from services.media.encoding import BT709
from services.processing import motion, transitions
from services.processing.preparation import delayed, opening, prepare, settle, steady, upright
from services.processing.source import Source
from services.processing.spec import Canvas, Clip, Colour, Fit, Motion, Overlay, Point, Shot, Size, Spec, Still

CAPTIONS, FONTS = "captions.ass", "fonts"

# A clip's container may claim a little more than it holds; so long its last picture stands, beyond what was measured.
HOLD_SECONDS = 2

# For upscaling, lanczos looks better than bicubic and took 1 % more time of a whole render.
SCALER = "lanczos"
# It cannot make a picture smaller than to a fortieth at once; what is larger is shrunk to so many times its size first.
MAX_SHRINK, SHRINK_TO, AREA_SHRINK = 32, 8, 200

# A source with a shorter side is cut in whole pixels; in 4:2:0 it could be cut in pairs of them only, to nothing.
TINY_SIDE = 64

# What is behind a picture that does not fill the canvas: blurred at an eighth of its size, which costs next to nothing.
BLUR_SHRINK, BLUR_SIGMA, BLUR_BRIGHTNESS = 8, 3, 0.7


@dataclass(frozen=True)
class Stage:
    """What every shot is drawn with."""

    canvas: Canvas
    sources: tuple[Source, ...]
    """What is known of the sources; they lie in files named by `source_name`."""
    threads: int
    """Of each decoder."""
    max_pixels: int


def source_name(place: int) -> str:
    """The file of a source."""
    return f"source{place}"


def segment(spec: Spec, stage: Stage) -> Any:
    """All that a segment shows."""
    picture, *following = [shot(one, spec.frame_count, stage, place) for place, one in enumerate(spec.shots)]
    if spec.transition:
        picture = transitions.transition(spec.transition, picture, following[0], spec.frame_count, stage.canvas)
    for place, overlay in enumerate(spec.overlays):
        picture = overlaid(picture, overlay, stage, place)
    # A filter may forget what the colours are; all segments must say the same, or they cannot be joined.
    return _described(captioned(picture) if spec.captions_ass else picture)


def sizes(picture: Any, others: Sequence[Size]) -> list[Any]:
    """A picture as it is, and in other sizes."""
    if not others:
        return [picture]
    parts = picture.filter_multi_output("split", 1 + len(others))
    scaled = [
        _described(parts[place].filter("scale", size.width, size.height, flags=SCALER).filter("format", "yuv420p"))
        for place, size in enumerate(others, 1)
    ]
    return [parts[0], *scaled]


def shot(shot: Shot, frames: int, stage: Stage, place: int) -> Any:
    """A shot of so many frames; fewer when its clip ends before. No other shot of the graph has its `place`."""
    canvas = stage.canvas
    match shot.shows:
        case Clip() as clip:
            source = stage.sources[clip.source]
            start, hold = _standing(clip, source, canvas)
            picture = prepare(_read(clip.source, f"shot{place}", stage, start), source)
            picture = _fitted(_timed(picture, clip, hold, frames, canvas), shot, source, canvas)
        case Still() as still:
            source = stage.sources[still.source]
            picture = prepare(_read(still.source, f"shot{place}", stage).filter("trim", end_frame=1), source)
            if still.motion:
                picture = _fitted(picture, shot, source, motion.larger(canvas))
                picture = motion.moved(_held(picture, frames, canvas), still, shot.focus, canvas)
            else:
                picture = _held(_fitted(picture, shot, source, canvas), frames, canvas)
        case Colour(rgb, None):
            plain = ffmpeg.input(f"color=0x{rgb:06x}:s={canvas.width}x{canvas.height}", f="lavfi")
            plain = _named(plain, f"shot{place}").filter("trim", end_frame=1).filter("format", "gbrp")
            picture = _held(_coded(plain), frames, canvas)
        case Colour() as slope:
            picture = _coded(_named(_slope(slope, motion.larger(canvas)), f"shot{place}"))
            panned = Still(0, Motion.PAN_RIGHT, slope.motion_frames, slope.motion_first_frame)
            picture = motion.moved(_held(picture, frames, canvas), panned, shot.focus, canvas)
    return picture


def overlaid(picture: Any, overlay: Overlay, stage: Stage, place: int) -> Any:
    """A picture with another one over it, from one frame to another. No other overlay of the graph has its `place`."""
    canvas = stage.canvas
    width = max(2, 2 * round(canvas.width * overlay.width / 2))
    source = stage.sources[overlay.source]
    image = _laid(overlay, source, stage, place).filter("format", "gbrap")
    # What is transparent has a colour too; it must not run into what is seen when the picture is scaled.
    image = _shrunk(image.filter("premultiply", inplace=1), source, width, canvas.height)
    w, h = f"max(2,min({width},2*floor({canvas.height}*dar/2)))", f"max(2,min({canvas.height},2*round({width}/dar/2)))"
    image = image.filter("scale", w, h, flags=SCALER).filter("setsar", 1).filter("unpremultiply", inplace=1)
    image = image.filter("lutrgb", a=f"val*{overlay.opacity:.6f}")
    image = image.filter("scale", out_color_matrix="bt709", out_range="tv").filter("format", "yuva420p")
    last = overlay.first_frame + overlay.frame_count - 1
    margin = 2 * round(overlay.margin * min(canvas.width, canvas.height) / 2)
    return picture.overlay(
        image,
        x=_placed("W", "w", overlay.centre.x, margin),
        y=_placed("H", "h", overlay.centre.y, margin),
        eval="init",
        enable=f"between(n,{overlay.first_frame},{last})",
    )


def _laid(overlay: Overlay, source: Source, stage: Stage, place: int) -> Any:
    """What is laid over: a single frame, or those of what moves, at the ticks of the canvas at which they are shown."""
    rate, use = stage.canvas.frames_per_second, f"overlay{place}"
    if source.still:
        return upright(steady(_read(overlay.source, use, stage).filter("trim", end_frame=1), source), source)
    ends = overlay.start.total_seconds() + overlay.frame_count / rate
    again = ends > (source.picture_end or source.seconds)
    image = _read(overlay.source, use, stage, overlay.start, again=again)
    image = upright(steady(image, source), source).filter("fps", fps=rate, start_time=0)
    image = image.filter("tpad", stop_mode="clone", stop=-1).filter("trim", end_frame=overlay.frame_count)
    return image.filter("settb", f"1/{rate}").filter("setpts", f"N+{overlay.first_frame}")


def _placed(whole: str, part: str, centre: float, margin: int) -> str:
    """Where an overlay begins: its middle as near to `centre` as the margin allows; in the middle when it is large."""
    room = f"({whole}-{part})"
    wanted = f"{whole}*{centre:.6f}-{part}/2"
    return f"if(lt({room},{2 * margin}),{room}/2,max({margin},min({room}-{margin},{wanted})))"


def captioned(picture: Any) -> Any:
    """A picture with the captions of the script beside it."""
    return picture.filter("ass", CAPTIONS, fontsdir=FONTS)


def _read(source: int, use: str, stage: Stage, start: timedelta = timedelta(0), *, again: bool = False) -> Any:
    options = opening(stage.sources[source], start, stage.max_pixels, again=again)
    track = f"v:{stage.sources[source].track}"
    picture = _named(ffmpeg.input(source_name(source), threads=stage.threads, **options)[track], use)
    return delayed(picture, stage.sources[source], start, again=again)


def _named(picture: Any, use: str) -> Any:
    """The same pictures. ffmpeg-python takes equal filters for one; what is read twice is told apart by this one."""
    return picture.filter("metadata", "delete", key=use)


def _standing(clip: Clip, source: Source, canvas: Canvas) -> tuple[timedelta, float]:
    """From where on a clip is read, and for how many of its seconds its last picture stands."""
    if not 0 < source.picture_end < source.seconds or clip.start.total_seconds() > source.seconds:
        return clip.start, HOLD_SECONDS
    tick = float(clip.speed) / canvas.frames_per_second
    # Read from where its last picture stands already, a clip would give no frame: its last picture has ended there.
    start = min(clip.start, max(timedelta(0), timedelta(seconds=source.picture_end - tick)))
    return start, HOLD_SECONDS + source.seconds - source.picture_end


def _timed(picture: Any, clip: Clip, hold_seconds: float, frames: int, canvas: Canvas) -> Any:
    """So many frames of a clip: what is on screen at each frame of the canvas. Its last one is held for a while."""
    rate = canvas.frames_per_second
    # Before anything is scaled, for what is left out need not be. Counted in the clip's own time, which is exact.
    picture = picture.filter("fps", fps=str(rate / clip.speed), start_time=0)
    if clip.speed != 1:
        picture = _numbered(picture, canvas)
    picture = picture.filter("tpad", stop_mode="clone", stop=ceil(hold_seconds * rate / clip.speed))
    return picture.filter("trim", end_frame=frames)


def _held(picture: Any, frames: int, canvas: Canvas) -> Any:
    """One frame, so many times."""
    picture = _numbered(picture.filter("tpad", stop_mode="clone", stop=-1), canvas)
    return picture.filter("trim", end_frame=frames)


def _numbered(picture: Any, canvas: Canvas) -> Any:
    """The same frames, one at each tick of the canvas."""
    rate = canvas.frames_per_second
    return picture.filter("settb", f"1/{rate}").filter("setpts", "N").filter("fps", fps=rate)


def _fitted(picture: Any, shot: Shot, source: Source, canvas: Canvas) -> Any:
    width, height = canvas.width, canvas.height
    match shot.fit:
        case Fit.COVER:
            # Cut before scaling, so that nothing is scaled in vain.
            if min(source.width, source.height) < TINY_SIDE:
                picture = picture.filter("format", "yuv444p|yuv444p10|gbrp|gbrp10")
            picture = _scaled(_covering(picture, canvas, shot.focus, shot.zoom), width, height, source)
        case Fit.STRETCH:
            picture = _scaled(_shrunk(picture, source, width, height), width, height, source)
        case Fit.CONTAIN:
            picture = _contained(picture, source, canvas).filter(
                "pad", width, height, "(ow-iw)/2", "(oh-ih)/2", "black"
            )
        case Fit.BLUR:
            parts = _contained(picture, source, canvas).filter("setsar", 1).split()
            behind = _covering(parts[0], canvas, shot.focus)
            behind = behind.filter("scale", ceil(width / BLUR_SHRINK), ceil(height / BLUR_SHRINK), flags="area")
            behind = behind.filter("gblur", BLUR_SIGMA).filter(
                "lutyuv",
                y=f"16+(val-16)*{BLUR_BRIGHTNESS}",
                u=f"128+(val-128)*{BLUR_BRIGHTNESS}",
                v=f"128+(val-128)*{BLUR_BRIGHTNESS}",
            )
            behind = behind.filter("scale", width, height, flags="bicubic").filter("setsar", 1)
            # At even places, so that its colours are not shifted against its light.
            picture = behind.overlay(parts[1], x="2*floor((W-w)/4)", y="2*floor((H-h)/4)", eval="init")
    return _described(picture)


def _covering(picture: Any, canvas: Canvas, focus: Point, zoom: float = 1.0) -> Any:
    """The largest part of a picture that has the shape of the canvas, or `zoom` times nearer.

    `sar` is the shape of a pixel.
    """
    return picture.filter(
        "crop",
        w=f"max(min(iw,2),min(iw,ih*{canvas.width}/{canvas.height}/sar)/{zoom:.6f})",
        h=f"max(min(ih,2),min(ih,iw*sar*{canvas.height}/{canvas.width})/{zoom:.6f})",
        x=f"max(0,min(iw-ow,iw*{focus.x:.6f}-ow/2))",
        y=f"max(0,min(ih-oh,ih*{focus.y:.6f}-oh/2))",
    )


def _contained(picture: Any, source: Source, canvas: Canvas) -> Any:
    w = f"max(2,min({canvas.width},2*round({canvas.height}*dar/2)))"
    h = f"max(2,min({canvas.height},2*round({canvas.width}/dar/2)))"
    return _scaled(_shrunk(picture, source, canvas.width, canvas.height), w, h, source)


def _shrunk(picture: Any, source: Source, width: int, height: int) -> Any:
    """A source's picture, made smaller when it is far larger than a box that it is to be scaled into."""
    across, down = (source.height, source.width) if source.rotation % 180 else (source.width, source.height)
    ratio = max(across / width, down / height)
    if ratio <= MAX_SHRINK:
        return picture
    flags = "area" if ratio / SHRINK_TO <= AREA_SHRINK else "neighbor"
    return picture.filter("scale", f"min(iw,{SHRINK_TO * width})", f"min(ih,{SHRINK_TO * height})", flags=flags)


def _scaled(picture: Any, width: int | str, height: int | str, source: Source) -> Any:
    options = {"flags": SCALER}
    if not source.wide_gamut:
        options |= {"out_color_matrix": "bt709", "out_range": "tv"}
    return settle(picture.filter("scale", width, height, **options), source)


def _slope(colour: Colour, canvas: Canvas) -> Any:
    """One picture of two colours, from the top left corner to the bottom right one."""
    width, height = canvas.width, canvas.height
    corners = f"x0=0:y0=0:x1={width - 1}:y1={height - 1}"
    colours = f"c0=0x{colour.rgb:06x}:c1=0x{colour.second_rgb:06x}:nb_colors=2"
    drawn = ffmpeg.input(f"gradients=s={width}x{height}:{colours}:{corners}:speed=0.00001", f="lavfi")
    return drawn.filter("trim", end_frame=1).filter("format", "gbrp")


def _coded(picture: Any) -> Any:
    return _described(picture.filter("scale", out_color_matrix="bt709", out_range="tv").filter("format", "yuv420p"))


def _described(picture: Any) -> Any:
    return picture.filter("setsar", 1).filter("setparams", **BT709)
