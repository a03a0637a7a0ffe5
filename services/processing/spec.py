"""Spec: what a segment shows, and how it is encoded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from fractions import Fraction

from moneyprinter.errors import InvalidArgument
from services.media.encoding import Codec, Quality

SLOWEST, FASTEST = 0.25, 8.0


class Fit(Enum):
    """How a source fills the canvas."""

    COVER = "cover"
    """Scaled until the canvas is full; what hangs over is cut off."""
    CONTAIN = "contain"
    """Scaled until all of it is seen; the rest is black."""
    BLUR = "blur"
    """Scaled until all of it is seen, over a blurred, darker copy that fills the canvas."""
    STRETCH = "stretch"
    """Scaled to the canvas, whatever its shape."""


class Motion(Enum):
    """How a still picture moves."""

    ZOOM_IN = "zoom in"
    ZOOM_OUT = "zoom out"
    PAN_RIGHT = "pan right"
    PAN_LEFT = "pan left"


class Transition(Enum):
    """How one shot turns into the next. The second comes from the side that it does not go to."""

    CROSSFADE = "crossfade"
    FADE_BLACK = "fade black"
    FADE_WHITE = "fade white"
    SLIDE_LEFT = "slide left"
    SLIDE_RIGHT = "slide right"
    SLIDE_UP = "slide up"
    SLIDE_DOWN = "slide down"
    WIPE_LEFT = "wipe left"
    WIPE_RIGHT = "wipe right"
    WIPE_UP = "wipe up"
    WIPE_DOWN = "wipe down"
    ZOOM = "zoom"


@dataclass(frozen=True)
class Canvas:
    """What a segment is drawn on: even size in pixels, constant frames a second."""

    width: int
    height: int
    frames_per_second: int

    @property
    def pixels(self) -> int:
        return self.width * self.height


@dataclass(frozen=True)
class Size:
    """Another size of the same pictures, in even pixels."""

    width: int
    height: int


@dataclass(frozen=True)
class Point:
    """A point of a picture: parts of its width and height, from the top left."""

    x: float
    y: float


MIDDLE = Point(0.5, 0.5)


@dataclass(frozen=True)
class Clip:
    """A part of a video."""

    source: int
    """Which source it is, from 0."""
    start: timedelta = timedelta(0)
    """Where in the source its first frame is."""
    speed: Fraction = Fraction(1)


@dataclass(frozen=True)
class Still:
    """A picture."""

    source: int
    """Which source it is, from 0."""
    motion: Motion | None = None
    motion_frames: int = 1
    """How many frames the whole of the motion takes."""
    motion_first_frame: int = 0
    """Where in the motion the first frame is."""


@dataclass(frozen=True)
class Colour:
    """A colour, `0xrrggbb`, or a slope of two that moves."""

    rgb: int
    second_rgb: int | None = None
    motion_frames: int = 1
    """How many frames the whole of the motion takes."""
    motion_first_frame: int = 0
    """Where in the motion the first frame is."""


@dataclass(frozen=True)
class Shot:
    """What is shown without a cut."""

    shows: Clip | Still | Colour
    fit: Fit = Fit.COVER
    focus: Point = MIDDLE
    """What stays in sight when something is cut off."""
    zoom: float = 1.0
    """How near a source that fills the canvas is shown: at 2, half of its width and height."""


@dataclass(frozen=True)
class Overlay:
    """A picture laid over the video."""

    source: int
    """Which source it is, from 0."""
    centre: Point
    """Where its middle is; it is moved as far as it takes to be seen whole."""
    width: float
    """A part of the canvas's; less when it would be higher than the canvas."""
    opacity: float
    first_frame: int
    frame_count: int
    margin: float = 0.0
    """How far its edges are at least from those of the canvas, as a part of the canvas's smaller side."""
    start: timedelta = timedelta(0)
    """Of what moves: where in it its first frame is."""


@dataclass(frozen=True)
class Spec:
    """What a segment shows: one shot, or two with a transition over all of its frames."""

    shots: tuple[Shot, ...]
    frame_count: int
    canvas: Canvas
    quality: Quality
    transition: Transition | None = None
    overlays: tuple[Overlay, ...] = ()
    captions_ass: str = ""
    """An ASS script whose times count from the first frame; empty: none."""
    renditions: tuple[Size, ...] = ()
    """Sizes in which the same pictures are encoded too."""
    codec: Codec = Codec.H264

    @property
    def seconds(self) -> float:
        """How long the segment is."""
        return self.frame_count / self.canvas.frames_per_second


def speed(times: float) -> Fraction:
    """How fast a clip runs, to a thousandth. Raises InvalidArgument with the reason REQUEST_INVALID."""
    if not SLOWEST <= times <= FASTEST:
        why = f"a clip runs at {SLOWEST:g} to {FASTEST:g} times its speed, not at {times:g}"
        raise InvalidArgument(why, reason="REQUEST_INVALID")
    return Fraction(times).limit_denominator(1000)
