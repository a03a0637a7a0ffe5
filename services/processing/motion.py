"""Motion: pan and zoom over a still, without jitter.

A moving still is fitted to a canvas of 1.2 times the size, so that it has all its detail at the largest zoom. Each
frame is sampled from that canvas at 1/256 of a pixel. The position of a frame depends only on its number in the whole
motion, so that a motion can be cut into segments.
"""

from __future__ import annotations

from typing import Any

from services.processing.spec import Canvas, Motion, Point, Still

MAX_ZOOM = 1.2


def motion_canvas(canvas: Canvas) -> Canvas:
    """Returns the canvas that a moving still is fitted to; with its even size, at most a pixel off the shape."""
    width, height = (2 * round(MAX_ZOOM * size / 2) for size in (canvas.width, canvas.height))
    return Canvas(width, height, canvas.frames_per_second)


def animate(frames: Any, still: Still, focus: Point, canvas: Canvas) -> Any:
    """Returns the frames of a still, fitted to its `motion_canvas` and held, in motion on the canvas.

    A zoom keeps the focus in place, with equal steps from frame to frame. A pan keeps its height.
    """
    # `on` counts frames from 1. The first frame of a motion shows its start, and the last one its end.
    done = f"min(1,(on-1+{still.motion_first_frame})/{max(1, still.motion_frames - 1)})"
    match still.motion:
        case Motion.ZOOM_IN | Motion.ZOOM_OUT:
            part = done if still.motion is Motion.ZOOM_IN else f"(1-{done})"
            size = f"(1+{MAX_ZOOM - 1:.6f}*{part})"
            left, top = f"(1-1/{size})*{focus.x:.6f}", f"(1-1/{size})*{focus.y:.6f}"
        case _:
            size = f"{MAX_ZOOM}"
            part = done if still.motion is Motion.PAN_RIGHT else f"(1-{done})"
            left, top = f"{1 - 1 / MAX_ZOOM:.9f}*{part}", f"{(1 - 1 / MAX_ZOOM) * focus.y:.9f}"
    # The output of the filter has the size of its input, and is cropped afterwards. The corners are those of the output
    # in the input; pixels are sampled at their centres.
    x0, x1 = _corners("W", left, f"W/{size}/{canvas.width}")
    y0, y1 = _corners("H", top, f"H/{size}/{canvas.height}")
    corners = {"x0": x0, "y0": y0, "x1": x1, "y1": y0, "x2": x0, "y2": y1, "x3": x1, "y3": y1}
    frames = frames.filter("perspective", **corners, interpolation="cubic", eval="frame")
    return frames.filter("crop", canvas.width, canvas.height, 0, 0)


def _corners(length: str, start: str, step: str) -> tuple[str, str]:
    """The expressions of both ends of an edge of the output, in pixels of the input.

    `start` is where it begins, as a fraction of the input's edge; `step` is pixels of the input for one of the output.
    """
    first = f"{length}*{start}+{step}/2-0.5"
    return first, f"{first}+{length}*{step}"
