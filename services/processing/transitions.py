"""Transitions: turn one shot into the next over all frames of a segment.

Of `n` frames, frame `i` is `(i + 1) / (n + 1)` of the way. So neither the last frame of the first shot before them nor
the first frame of the second shot after them is shown twice, and all steps are equal.
"""

from __future__ import annotations

from typing import Any

import ffmpeg

from services.processing.spec import Canvas, Transition

_FADES = {Transition.FADE_BLACK, Transition.FADE_WHITE}

_XFADE = {
    Transition.CROSSFADE: "fade",
    Transition.SLIDE_LEFT: "slideleft",
    Transition.SLIDE_RIGHT: "slideright",
    Transition.SLIDE_UP: "slideup",
    Transition.SLIDE_DOWN: "slidedown",
    Transition.WIPE_LEFT: "wipeleft",
    Transition.WIPE_RIGHT: "wiperight",
    Transition.WIPE_UP: "wipeup",
    Transition.WIPE_DOWN: "wipedown",
}

# The final zoom of the first shot, and the part of the way from which the second shot appears. A larger zoom would show
# only few pixels of the shot, and at last a single colour.
_MAX_ZOOM, _APPEARANCE = 2.0, 0.4


def draw_transition(kind: Transition, first: Any, second: Any, frame_count: int, canvas: Canvas) -> Any:
    """Returns two shots of `frame_count` frames each as one transition; fewer frames when a shot has fewer."""
    if kind in _FADES:
        return _fade_through(kind, first, second, frame_count, canvas)
    # Stacked, both shots end with the shorter one; otherwise `xfade` would show the longer one alone.
    both = ffmpeg.filter([first, second], "vstack", shortest=1).split()
    first = both[0].filter("crop", "iw", "ih/2", 0, 0).filter("format", "yuv444p")
    second = both[1].filter("crop", "iw", "ih/2", 0, "ih/2").filter("format", "yuv444p")
    rate, steps, appearance = canvas.frames_per_second, frame_count + 1, 0.0
    if kind is Transition.ZOOM:
        first, appearance = _zoom_in(first, steps), _APPEARANCE
    joined = ffmpeg.filter(
        [first, second],
        "xfade",
        _XFADE.get(kind, "fade"),
        duration=f"{steps * (1 - appearance) / rate:.6f}",
        offset=f"{(steps * appearance - 1) / rate:.6f}",
    )
    return joined.filter("format", "yuv420p")


def _zoom_in(frames: Any, steps: int) -> Any:
    """A shot that zooms in with every frame, around its centre."""
    # `on` counts frames from 1. The corners are those of the visible part.
    cut = f"(1-1/(1+{_MAX_ZOOM - 1}*min(1,on/{steps})))/2"
    left, top, right, bottom = f"W*{cut}", f"H*{cut}", f"W*(1-{cut})", f"H*(1-{cut})"
    corners = {"x0": left, "y0": top, "x1": right, "y1": top, "x2": left, "y2": bottom, "x3": right, "y3": bottom}
    return frames.filter("perspective", **corners, interpolation="cubic", eval="frame")


def _fade_through(kind: Transition, first: Any, second: Any, frame_count: int, canvas: Canvas) -> Any:
    """The first shot fades to a colour until half-way, then the second one fades in from it."""
    rate = canvas.frames_per_second
    half, turn = (frame_count + 1) / 2 / rate, (frame_count + 1) // 2
    # A fade to white is the negative of a fade to black; within the limited range the inversion is lossless.
    inverted = {"y": "negval", "u": "negval", "v": "negval"}
    parts = []
    for frames, direction, start, span in (
        (first, "out", 0.0, {"end_frame": turn}),
        (second, "in", half, {"start_frame": turn}),
    ):
        # `fade` counts from 0, where the frame is not faded yet: that is the frame before the first one here.
        part = frames.filter("setpts", "N+1")
        if kind is Transition.FADE_WHITE:
            part = part.filter("lutyuv", **inverted)
        part = part.filter("fade", direction, start_time=f"{start:.6f}", duration=f"{half:.6f}")
        if kind is Transition.FADE_WHITE:
            part = part.filter("lutyuv", **inverted)
        parts.append(part.filter("trim", **span).filter("setpts", "PTS-STARTPTS"))
    joined = ffmpeg.concat(*parts, n=2, v=1, a=0)
    return joined.filter("settb", f"1/{rate}").filter("setpts", "N").filter("fps", fps=rate)
