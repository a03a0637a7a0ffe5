"""Spec: the content of a segment, and its encoding."""

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
    """Scaled until it fills the canvas, and cropped."""
    CONTAIN = "contain"
    """Scaled to fit into the canvas; the rest is black."""
    BLUR = "blur"
    """Scaled to fit into the canvas, over a blurred, darker copy that fills it."""
    STRETCH = "stretch"
    """Scaled to the size of the canvas, in any shape."""


class Motion(Enum):
    """The motion of a still."""

    ZOOM_IN = "zoom in"
    ZOOM_OUT = "zoom out"
    PAN_RIGHT = "pan right"
    PAN_LEFT = "pan left"


class Transition(Enum):
    """How one shot turns into the next. The name has the direction in which the second shot moves."""

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
    """The canvas of a segment: an even size in pixels, and a constant frame rate."""

    width: int
    height: int
    frames_per_second: int

    @property
    def pixels(self) -> int:
        return self.width * self.height


@dataclass(frozen=True)
class Size:
    """A size in pixels; both sides are even."""

    width: int
    height: int


@dataclass(frozen=True)
class Point:
    """A point of a frame, as fractions of its width and height from the top left."""

    x: float
    y: float


MIDDLE = Point(0.5, 0.5)


@dataclass(frozen=True)
class Clip:
    """A part of a video."""

    source: int
    """The index of the source."""
    start: timedelta = timedelta(0)
    """The time of its first frame in the source."""
    speed: Fraction = Fraction(1)


@dataclass(frozen=True)
class Still:
    """A still picture."""

    source: int
    """The index of the source."""
    motion: Motion | None = None
    motion_frames: int = 1
    """The frames of the whole motion, which may span several segments."""
    motion_first_frame: int = 0
    """The number of the first frame in the motion."""


@dataclass(frozen=True)
class Colour:
    """A colour (`0xrrggbb`), or a moving gradient of two colours."""

    rgb: int
    second_rgb: int | None = None
    motion_frames: int = 1
    """The frames of the whole motion, which may span several segments."""
    motion_first_frame: int = 0
    """The number of the first frame in the motion."""


@dataclass(frozen=True)
class Background:
    """An animated background."""

    seed: int
    """The number from which design, positions and speeds are derived."""
    colours: tuple[int, ...]
    """Colours (`0xrrggbb`): that of the ground, then those of the shapes."""
    first_frame: int = 0
    """The number of the first frame in the whole background, which may span several segments."""


@dataclass(frozen=True)
class Shot:
    """The content between two cuts."""

    shows: Clip | Still | Colour | Background
    fit: Fit = Fit.COVER
    focus: Point = MIDDLE
    """The point that stays visible when the frame is cropped."""
    zoom: float = 1.0
    """The magnification of a source that fills the canvas: at 2, half of its width and height is visible."""


@dataclass(frozen=True)
class Overlay:
    """An image over the video."""

    source: int
    """The index of the source."""
    centre: Point
    """The position of its centre; moved as far as needed to show the whole image."""
    width: float
    """A fraction of the width of the canvas; reduced when it would be higher than the canvas."""
    opacity: float
    first_frame: int
    frame_count: int
    margin: float = 0.0
    """The least distance to the edges of the canvas, as a fraction of the canvas's smaller side."""
    start: timedelta = timedelta(0)
    """Of a video: the time of its first frame in the source."""


@dataclass(frozen=True)
class Spec:
    """The content of a segment: one shot, or two with a transition over all frames."""

    shots: tuple[Shot, ...]
    frame_count: int
    canvas: Canvas
    quality: Quality
    transition: Transition | None = None
    overlays: tuple[Overlay, ...] = ()
    captions_ass: str = ""
    """An ASS script with times from the first frame on; empty: none."""
    renditions: tuple[Size, ...] = ()
    """Further sizes of the same frames."""
    codec: Codec = Codec.H264

    @property
    def seconds(self) -> float:
        """The duration of the segment."""
        return self.frame_count / self.canvas.frames_per_second


def check_speed(speed: float) -> Fraction:
    """Returns the speed of a clip as a fraction, 1 being its own speed.

    Raises `InvalidArgument` with the reason REQUEST_INVALID outside of `SLOWEST` to `FASTEST`.
    """
    if not SLOWEST <= speed <= FASTEST:
        why = f"a clip runs at {SLOWEST:g} to {FASTEST:g} times its speed, not at {speed:g}"
        raise InvalidArgument(why, reason="REQUEST_INVALID")
    return Fraction(speed).limit_denominator(1000)
