"""Graph: the ffmpeg filters that turn sources into the frames of a segment.

Functions over streams of ffmpeg-python. Each returns one stream of frames in the encoder's format (`yuv420p`, BT.709,
square pixels, numbered from 0). So a segment and a whole video consist of the same parts, and show the same frames. No
text of users gets into the graph: all files have fixed names in the folder that ffmpeg runs in.
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
from services.processing.backgrounds import draw_background
from services.processing.preparation import (
    convert_to_bt709,
    input_options,
    normalise_size,
    prepare_frames,
    rotate_upright,
    shift_times,
)
from services.processing.source import Source
from services.processing.spec import (
    Background,
    Canvas,
    Clip,
    Colour,
    Fit,
    Motion,
    Overlay,
    Point,
    Shot,
    Size,
    Spec,
    Still,
)

CAPTIONS, FONTS = "captions.ass", "fonts"

# How long the last frame of a clip is held beyond its measured end: a container may claim a little more than it holds.
HOLD_SECONDS = 2

# For upscaling, lanczos looks better than bicubic and took 1 % more time of a whole render.
SCALER = "lanczos"
# lanczos cannot scale to less than a fortieth at once. Larger frames are first scaled to `SHRINK_TO` times the size.
MAX_SHRINK, SHRINK_TO, AREA_SHRINK = 32, 8, 200

# A source with a shorter side is cropped in 4:4:4: a crop in 4:2:0 is in pairs of pixels, and may leave none.
TINY_SIDE = 64

# The background behind frames that do not fill the canvas: blurred at an eighth of its size, which costs little.
BLUR_SHRINK, BLUR_SIGMA, BLUR_BRIGHTNESS = 8, 3, 0.7


@dataclass(frozen=True)
class GraphContext:
    """What all shots of a graph share."""

    canvas: Canvas
    sources: tuple[Source, ...]
    """The sources, in files named by `source_name`."""
    threads: int
    """The threads of each decoder."""
    max_pixels: int
    """The largest frame of a video, width times height."""


def source_name(index: int) -> str:
    """Returns the file name of a source."""
    return f"source{index}"


def draw_segment(spec: Spec, context: GraphContext) -> Any:
    """Returns the frames of a segment."""
    frames, *following = [draw_shot(one, spec.frame_count, context, place) for place, one in enumerate(spec.shots)]
    if spec.transition:
        frames = transitions.draw_transition(spec.transition, frames, following[0], spec.frame_count, context.canvas)
    for place, overlay in enumerate(spec.overlays):
        frames = overlay_image(frames, overlay, context, place)
    # A filter may drop the colour properties. All segments must declare the same ones, or they cannot be joined.
    return _declare_colours(burn_captions(frames) if spec.captions_ass else frames)


def scale_to_sizes(frames: Any, others: Sequence[Size]) -> list[Any]:
    """Returns the frames as they are, and then in each of the other sizes."""
    if not others:
        return [frames]
    parts = frames.filter_multi_output("split", 1 + len(others))
    scaled = [
        _declare_colours(
            parts[place].filter("scale", size.width, size.height, flags=SCALER).filter("format", "yuv420p")
        )
        for place, size in enumerate(others, 1)
    ]
    return [parts[0], *scaled]


def draw_shot(shot: Shot, frame_count: int, context: GraphContext, place: int) -> Any:
    """Returns `frame_count` frames of a shot, or fewer when its clip ends before. `place` is unique among the shots."""
    canvas = context.canvas
    match shot.shows:
        case Clip() as clip:
            source = context.sources[clip.source]
            start, hold = _hold_range(clip, source, canvas)
            frames = prepare_frames(_open_source(clip.source, f"shot{place}", context, start), source)
            frames = _fit(_cut_clip(frames, clip, hold, frame_count, canvas), shot, source, canvas)
        case Still() as still:
            source = context.sources[still.source]
            frames = prepare_frames(
                _open_source(still.source, f"shot{place}", context).filter("trim", end_frame=1), source
            )
            if still.motion:
                frames = _fit(frames, shot, source, motion.motion_canvas(canvas))
                frames = motion.animate(_hold_frame(frames, frame_count, canvas), still, shot.focus, canvas)
            else:
                frames = _hold_frame(_fit(frames, shot, source, canvas), frame_count, canvas)
        case Colour(rgb, None):
            plain = ffmpeg.input(f"color=0x{rgb:06x}:s={canvas.width}x{canvas.height}", f="lavfi")
            plain = _mark_use(plain, f"shot{place}").filter("trim", end_frame=1).filter("format", "gbrp")
            frames = _hold_frame(_convert_rgb(plain), frame_count, canvas)
        case Background() as background:
            frames = _renumber(draw_background(background, canvas, f"shot{place}"), canvas)
            frames = _declare_colours(frames).filter("trim", end_frame=frame_count)
        case Colour() as gradient:
            frames = _convert_rgb(_mark_use(_draw_gradient(gradient, motion.motion_canvas(canvas)), f"shot{place}"))
            panned = Still(0, Motion.PAN_RIGHT, gradient.motion_frames, gradient.motion_first_frame)
            frames = motion.animate(_hold_frame(frames, frame_count, canvas), panned, shot.focus, canvas)
    return frames


def overlay_image(frames: Any, overlay: Overlay, context: GraphContext, place: int) -> Any:
    """Returns the frames with an overlay over some of them. `place` is unique among the overlays of the graph."""
    canvas = context.canvas
    width = max(2, 2 * round(canvas.width * overlay.width / 2))
    source = context.sources[overlay.source]
    image = _open_overlay(overlay, source, context, place).filter("format", "gbrap")
    # Transparent pixels have colours too, which must not bleed into visible ones when the image is scaled.
    image = _prescale(image.filter("premultiply", inplace=1), source, width, canvas.height)
    w, h = f"max(2,min({width},2*floor({canvas.height}*dar/2)))", f"max(2,min({canvas.height},2*round({width}/dar/2)))"
    image = image.filter("scale", w, h, flags=SCALER).filter("setsar", 1).filter("unpremultiply", inplace=1)
    image = image.filter("lutrgb", a=f"val*{overlay.opacity:.6f}")
    image = image.filter("scale", out_color_matrix="bt709", out_range="tv").filter("format", "yuva420p")
    last = overlay.first_frame + overlay.frame_count - 1
    margin = 2 * round(overlay.margin * min(canvas.width, canvas.height) / 2)
    return frames.overlay(
        image,
        x=_overlay_position("W", "w", overlay.centre.x, margin),
        y=_overlay_position("H", "h", overlay.centre.y, margin),
        eval="init",
        enable=f"between(n,{overlay.first_frame},{last})",
    )


def _open_overlay(overlay: Overlay, source: Source, context: GraphContext, place: int) -> Any:
    """The image of an overlay: a single frame, or the frames of a video at their ticks of the canvas."""
    rate, use = context.canvas.frames_per_second, f"overlay{place}"
    if source.still:
        return rotate_upright(
            normalise_size(_open_source(overlay.source, use, context).filter("trim", end_frame=1), source), source
        )
    end = overlay.start.total_seconds() + overlay.frame_count / rate
    looped = end > (source.picture_end or source.seconds)
    image = _open_source(overlay.source, use, context, overlay.start, looped=looped)
    image = rotate_upright(normalise_size(image, source), source).filter("fps", fps=rate, start_time=0)
    image = image.filter("tpad", stop_mode="clone", stop=-1).filter("trim", end_frame=overlay.frame_count)
    return image.filter("settb", f"1/{rate}").filter("setpts", f"N+{overlay.first_frame}")


def _overlay_position(whole: str, size: str, centre: float, margin: int) -> str:
    """The expression of an overlay's left or top edge.

    Its centre is as near to `centre` as the margin allows. An overlay that leaves no margin is centred.
    """
    room = f"({whole}-{size})"
    wanted = f"{whole}*{centre:.6f}-{size}/2"
    return f"if(lt({room},{2 * margin}),{room}/2,max({margin},min({room}-{margin},{wanted})))"


def burn_captions(frames: Any) -> Any:
    """Returns the frames with the captions of the script `CAPTIONS`, in the fonts of the folder `FONTS`."""
    return frames.filter("ass", CAPTIONS, fontsdir=FONTS)


def _open_source(
    source: int, use: str, context: GraphContext, start: timedelta = timedelta(0), *, looped: bool = False
) -> Any:
    options = input_options(context.sources[source], start, context.max_pixels, looped=looped)
    track = f"v:{context.sources[source].track}"
    frames = _mark_use(ffmpeg.input(source_name(source), threads=context.threads, **options)[track], use)
    return shift_times(frames, context.sources[source], start, looped=looped)


def _mark_use(frames: Any, use: str) -> Any:
    """The same frames. ffmpeg-python merges equal filters; this one keeps two uses of a source apart."""
    return frames.filter("metadata", "delete", key=use)


def _hold_range(clip: Clip, source: Source, canvas: Canvas) -> tuple[timedelta, float]:
    """The start of the part of a clip that is read, and how long its last frame is held, in seconds of the clip."""
    if not 0 < source.picture_end < source.seconds or clip.start.total_seconds() > source.seconds:
        return clip.start, HOLD_SECONDS
    tick = float(clip.speed) / canvas.frames_per_second
    # Read from a time after its last frame, a clip would yield no frame to hold.
    start = min(clip.start, max(timedelta(0), timedelta(seconds=source.picture_end - tick)))
    return start, HOLD_SECONDS + source.seconds - source.picture_end


def _cut_clip(frames: Any, clip: Clip, hold_seconds: float, frame_count: int, canvas: Canvas) -> Any:
    """`frame_count` frames of a clip: those on screen at each tick of the canvas. The last one is held for a while."""
    rate = canvas.frames_per_second
    # Before scaling, so that dropped frames are not scaled. In the clip's own time, which is exact.
    frames = frames.filter("fps", fps=str(rate / clip.speed), start_time=0)
    if clip.speed != 1:
        frames = _renumber(frames, canvas)
    frames = frames.filter("tpad", stop_mode="clone", stop=ceil(hold_seconds * rate / clip.speed))
    return frames.filter("trim", end_frame=frame_count)


def _hold_frame(frames: Any, frame_count: int, canvas: Canvas) -> Any:
    """One frame, repeated `frame_count` times."""
    frames = _renumber(frames.filter("tpad", stop_mode="clone", stop=-1), canvas)
    return frames.filter("trim", end_frame=frame_count)


def _renumber(frames: Any, canvas: Canvas) -> Any:
    """The same frames, one at each tick of the canvas."""
    rate = canvas.frames_per_second
    return frames.filter("settb", f"1/{rate}").filter("setpts", "N").filter("fps", fps=rate)


def _fit(frames: Any, shot: Shot, source: Source, canvas: Canvas) -> Any:
    width, height = canvas.width, canvas.height
    match shot.fit:
        case Fit.COVER:
            # Cropped before scaling, so that hidden pixels are not scaled.
            if min(source.width, source.height) < TINY_SIDE:
                frames = frames.filter("format", "yuv444p|yuv444p10|gbrp|gbrp10")
            frames = _scale(_crop_to_canvas(frames, canvas, shot.focus, shot.zoom), width, height, source)
        case Fit.STRETCH:
            frames = _scale(_prescale(frames, source, width, height), width, height, source)
        case Fit.CONTAIN:
            frames = _scale_inside(frames, source, canvas).filter(
                "pad", width, height, "(ow-iw)/2", "(oh-ih)/2", "black"
            )
        case Fit.BLUR:
            parts = _scale_inside(frames, source, canvas).filter("setsar", 1).split()
            background = _crop_to_canvas(parts[0], canvas, shot.focus)
            background = background.filter("scale", ceil(width / BLUR_SHRINK), ceil(height / BLUR_SHRINK), flags="area")
            background = background.filter("gblur", BLUR_SIGMA).filter(
                "lutyuv",
                y=f"16+(val-16)*{BLUR_BRIGHTNESS}",
                u=f"128+(val-128)*{BLUR_BRIGHTNESS}",
                v=f"128+(val-128)*{BLUR_BRIGHTNESS}",
            )
            background = background.filter("scale", width, height, flags="bicubic").filter("setsar", 1)
            # At even offsets, so that chroma is not shifted against luma.
            frames = background.overlay(parts[1], x="2*floor((W-w)/4)", y="2*floor((H-h)/4)", eval="init")
    return _declare_colours(frames)


def _crop_to_canvas(frames: Any, canvas: Canvas, focus: Point, zoom: float = 1.0) -> Any:
    """The largest part of the frames that has the shape of the canvas, or a part `zoom` times smaller.

    `sar` is the aspect ratio of a pixel.
    """
    return frames.filter(
        "crop",
        w=f"max(min(iw,2),min(iw,ih*{canvas.width}/{canvas.height}/sar)/{zoom:.6f})",
        h=f"max(min(ih,2),min(ih,iw*sar*{canvas.height}/{canvas.width})/{zoom:.6f})",
        x=f"max(0,min(iw-ow,iw*{focus.x:.6f}-ow/2))",
        y=f"max(0,min(ih-oh,ih*{focus.y:.6f}-oh/2))",
    )


def _scale_inside(frames: Any, source: Source, canvas: Canvas) -> Any:
    w = f"max(2,min({canvas.width},2*round({canvas.height}*dar/2)))"
    h = f"max(2,min({canvas.height},2*round({canvas.width}/dar/2)))"
    return _scale(_prescale(frames, source, canvas.width, canvas.height), w, h, source)


def _prescale(frames: Any, source: Source, width: int, height: int) -> Any:
    """The frames of a source, made smaller first when they are far larger than the box that they are scaled into."""
    columns, rows = (source.height, source.width) if source.rotation % 180 else (source.width, source.height)
    ratio = max(columns / width, rows / height)
    if ratio <= MAX_SHRINK:
        return frames
    flags = "area" if ratio / SHRINK_TO <= AREA_SHRINK else "neighbor"
    return frames.filter("scale", f"min(iw,{SHRINK_TO * width})", f"min(ih,{SHRINK_TO * height})", flags=flags)


def _scale(frames: Any, width: int | str, height: int | str, source: Source) -> Any:
    options = {"flags": SCALER}
    if not source.wide_gamut:
        options |= {"out_color_matrix": "bt709", "out_range": "tv"}
    return convert_to_bt709(frames.filter("scale", width, height, **options), source)


def _draw_gradient(colour: Colour, canvas: Canvas) -> Any:
    """One frame with a gradient of two colours, from the top left to the bottom right corner."""
    width, height = canvas.width, canvas.height
    corners = f"x0=0:y0=0:x1={width - 1}:y1={height - 1}"
    colours = f"c0=0x{colour.rgb:06x}:c1=0x{colour.second_rgb:06x}:nb_colors=2"
    drawn = ffmpeg.input(f"gradients=s={width}x{height}:{colours}:{corners}:speed=0.00001", f="lavfi")
    return drawn.filter("trim", end_frame=1).filter("format", "gbrp")


def _convert_rgb(frames: Any) -> Any:
    return _declare_colours(
        frames.filter("scale", out_color_matrix="bt709", out_range="tv").filter("format", "yuv420p")
    )


def _declare_colours(frames: Any) -> Any:
    return frames.filter("setsar", 1).filter("setparams", **BT709)
