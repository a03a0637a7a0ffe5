"""Motion: move over a still picture, without a tremble.

A still that moves is fitted to a canvas of 1.2 times the size, so that all of it is there when it is nearest.
Each frame is sampled from that at 1/256 of a pixel. Where a frame is in the motion depends on nothing but its
number in the whole of it, so that a motion can be cut into segments.
"""

from __future__ import annotations

from typing import Any

from services.processing.spec import Canvas, Motion, Point, Still

NEAREST = 1.2


def larger(canvas: Canvas) -> Canvas:
    """What a still that moves is fitted to; at most a pixel off the shape of the canvas, for its size is even."""
    width, height = (2 * round(NEAREST * size / 2) for size in (canvas.width, canvas.height))
    return Canvas(width, height, canvas.frames_per_second)


def moved(picture: Any, still: Still, focus: Point, canvas: Canvas) -> Any:
    """A still that was fitted to the larger canvas and is held, in motion on the canvas.

    A zoom keeps the focus where it is, and goes an equal part of the way each frame. A pan keeps its height.
    """
    # `on` counts frames from 1. The first frame of a motion shows its begin and the last one its end.
    done = f"min(1,(on-1+{still.motion_first_frame})/{max(1, still.motion_frames - 1)})"
    match still.motion:
        case Motion.ZOOM_IN | Motion.ZOOM_OUT:
            part = done if still.motion is Motion.ZOOM_IN else f"(1-{done})"
            size = f"(1+{NEAREST - 1:.6f}*{part})"
            left, top = f"(1-1/{size})*{focus.x:.6f}", f"(1-1/{size})*{focus.y:.6f}"
        case _:
            size = f"{NEAREST}"
            part = done if still.motion is Motion.PAN_RIGHT else f"(1-{done})"
            left, top = f"{1 - 1 / NEAREST:.9f}*{part}", f"{(1 - 1 / NEAREST) * focus.y:.9f}"
    # The filter's own size is that of its input, so that a part of what it draws is cut off again. The corners say
    # where in the input the output's are; pixels are sampled in their middle.
    x0, x1 = _corners("W", left, f"W/{size}/{canvas.width}")
    y0, y1 = _corners("H", top, f"H/{size}/{canvas.height}")
    corners = {"x0": x0, "y0": y0, "x1": x1, "y1": y0, "x2": x0, "y2": y1, "x3": x1, "y3": y1}
    picture = picture.filter("perspective", **corners, interpolation="cubic", eval="frame")
    return picture.filter("crop", canvas.width, canvas.height, 0, 0)


def _corners(length: str, start: str, step: str) -> tuple[str, str]:
    """Where an edge of the output begins and ends: `start` is a part of it, `step` pixels of the input a pixel."""
    first = f"{length}*{start}+{step}/2-0.5"
    return first, f"{first}+{length}*{step}"
