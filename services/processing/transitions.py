"""Transitions: turn one shot into the next over all the frames of a segment.

Of `n` frames, frame `i` is `(i + 1) / (n + 1)` of the way: neither the first shot's last frame before them nor
the second one's first frame after them is shown twice, and all steps are equal.
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

# A zoom brings the first shot so much nearer; the second appears from this part of the way on. Nearer than that, little
# of the picture would be left, and at last a single colour.
_NEAREST, _APPEARS = 2.0, 0.4


def transition(kind: Transition, first: Any, second: Any, frames: int, canvas: Canvas) -> Any:
    """Two shots of so many frames, as one; fewer frames when one of them has fewer."""
    if kind in _FADES:
        return _through(kind, first, second, frames, canvas)
    # When one of the shots ends too early, both must, or the other one would go on alone.
    both = ffmpeg.filter([first, second], "vstack", shortest=1).split()
    first = both[0].filter("crop", "iw", "ih/2", 0, 0).filter("format", "yuv444p")
    second = both[1].filter("crop", "iw", "ih/2", 0, "ih/2").filter("format", "yuv444p")
    rate, steps, appears = canvas.frames_per_second, frames + 1, 0.0
    if kind is Transition.ZOOM:
        first, appears = _nearer(first, steps), _APPEARS
    joined = ffmpeg.filter(
        [first, second],
        "xfade",
        _XFADE.get(kind, "fade"),
        duration=f"{steps * (1 - appears) / rate:.6f}",
        offset=f"{(steps * appears - 1) / rate:.6f}",
    )
    return joined.filter("format", "yuv420p")


def _nearer(picture: Any, steps: int) -> Any:
    """A shot that comes nearer with every frame, its middle staying where it is."""
    # `on` counts frames from 1. What is left of the picture lies between the corners.
    cut = f"(1-1/(1+{_NEAREST - 1}*min(1,on/{steps})))/2"
    left, top, right, bottom = f"W*{cut}", f"H*{cut}", f"W*(1-{cut})", f"H*(1-{cut})"
    corners = {"x0": left, "y0": top, "x1": right, "y1": top, "x2": left, "y2": bottom, "x3": right, "y3": bottom}
    return picture.filter("perspective", **corners, interpolation="cubic", eval="frame")


def _through(kind: Transition, first: Any, second: Any, frames: int, canvas: Canvas) -> Any:
    """The first goes to a colour until half-way, then the second comes out of it."""
    rate = canvas.frames_per_second
    half, turn = (frames + 1) / 2 / rate, (frames + 1) // 2
    # A negative that fades to black is a picture that fades to white; within the limited range nothing is lost.
    inverted = {"y": "negval", "u": "negval", "v": "negval"}
    parts = []
    for picture, way, start, span in (
        (first, "out", 0.0, {"end_frame": turn}),
        (second, "in", half, {"start_frame": turn}),
    ):
        # The filter counts from 0; the frame before the first is the one that is not faded.
        part = picture.filter("setpts", "N+1")
        if kind is Transition.FADE_WHITE:
            part = part.filter("lutyuv", **inverted)
        part = part.filter("fade", way, start_time=f"{start:.6f}", duration=f"{half:.6f}")
        if kind is Transition.FADE_WHITE:
            part = part.filter("lutyuv", **inverted)
        parts.append(part.filter("trim", **span).filter("setpts", "PTS-STARTPTS"))
    joined = ffmpeg.concat(*parts, n=2, v=1, a=0)
    return joined.filter("settb", f"1/{rate}").filter("setpts", "N").filter("fps", fps=rate)
