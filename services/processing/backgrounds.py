"""Backgrounds: draw animated backgrounds, coloured shapes that move slowly.

Everything is a function of the seed, the colours and the number of the frame, so that a background can be cut into
segments. Soft lights are computed for a few hundred points with 16 bits and scaled up, which is cheap and leaves no
bands; shapes with edges are drawn once for a segment, and only moved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import ffmpeg

from services.processing.spec import Background, Canvas

# The points along the longer side for which lights are computed. A light is at least as wide as four of them.
_GRID = 32
# A cubic B-spline: unlike the usual bicubic, its curvature has no steps, which would show as a grid.
_SPLINE = {"flags": "bicubic", "param0": 1, "param1": 0}
# Shapes with edges are drawn at this fraction of the canvas.
_SHRINK = 4


@dataclass(frozen=True)
class _Scene:
    """What a background is drawn from."""

    random: Random
    colours: Sequence[tuple[float, ...]]
    """Red, green and blue from 0 to 1: of the ground, then of the shapes."""
    canvas: Canvas
    first_frame: int
    use: str

    def source(self, description: str, name: str) -> Any:
        """A source of frames. ffmpeg-python merges equal filters; the names keep the sources of a graph apart."""
        return ffmpeg.input(description, f="lavfi").filter("metadata", "delete", key=f"{self.use}-{name}")

    def seconds(self, frame: str) -> str:
        """The expression of the time of a frame in the whole background."""
        return f"({frame}+{self.first_frame})/{self.canvas.frames_per_second}"

    @property
    def side(self) -> int:
        """The smaller side of the canvas in pixels."""
        return min(self.canvas.width, self.canvas.height)


def draw_background(background: Background, canvas: Canvas, use: str) -> Any:
    """Returns the frames of a background, without an end, in 8 bits and BT.709. `use` is unique in the graph."""
    colours = [_fractions(rgb) for rgb in background.colours]
    # No secret: the same seed gives the same picture.
    scene = _Scene(Random(background.seed), colours, canvas, background.first_frame, use)  # noqa: S311
    return _DESIGNS[background.seed % len(_DESIGNS)](scene)


def _draw_glow(scene: _Scene) -> Any:
    """Large soft lights that wander."""
    return _draw_lights(scene, strength=0.95, size=(0.34, 0.52))


def _draw_bokeh(scene: _Scene) -> Any:
    """Translucent discs of several sizes that rise over dim lights."""
    frames = _draw_lights(scene, strength=0.6, size=(0.4, 0.6))
    random = scene.random
    for number in range(9):
        size = 2 * round(scene.side * (0.07 + 0.035 * number) / 2)
        disc = _draw_shape(
            scene, number, size, size, _disc(size), random.choice(scene.colours[1:]), 0.13 + 0.02 * (8 - number)
        )
        # In a time of its own, a disc rises through the canvas and begins again below it.
        seconds, start = random.uniform(16, 30), random.random()
        sway, phase, across = random.uniform(0.02, 0.06), random.uniform(0, math.tau), random.random()
        done = f"mod({scene.seconds('n')}/{seconds:.3f}+{start:.4f},1)"
        x = f"W*({across:.4f}+{sway:.4f}*sin({math.tau / 11:.4f}*{scene.seconds('n')}+{phase:.4f}))-w/2"
        frames = frames.overlay(disc, x=x, y=f"H-{done}*(H+h)", eof_action="repeat")
    return frames


def _draw_waves(scene: _Scene) -> Any:
    """Layers of translucent waves that roll at different speeds under a soft light."""
    frames = _draw_lights(scene, strength=0.75, size=(0.35, 0.55))
    random, canvas = scene.random, scene.canvas
    for number in range(3):
        length = 2 * round(canvas.width * random.uniform(0.9, 1.5) / 2)
        height = 2 * round(canvas.height * (0.37 - 0.08 * number) / 2)
        colour = scene.colours[1 + number % (len(scene.colours) - 1)]
        wave = _draw_shape(scene, number, canvas.width + length, height, _wave(length, height, random), colour, 0.32)
        pixels_per_second = scene.side * random.uniform(0.05, 0.08) * (1 + 0.5 * number)
        moved = f"mod({random.randrange(length)}+{pixels_per_second:.3f}*{scene.seconds('n')},{length})"
        x = f"-{length}+{moved}" if number % 2 else f"-{moved}"
        heave = f"{height * 0.05:.2f}*sin({math.tau / 9:.4f}*{scene.seconds('n')}+{number})"
        frames = frames.overlay(wave, x=x, y=f"H-h*0.94+{heave}", eof_action="repeat")
    return frames


def _draw_bands(scene: _Scene) -> Any:
    """Broad, slanted bands of light that pass by."""
    frames = _draw_lights(scene, strength=0.7, size=(0.35, 0.55))
    random, canvas = scene.random, scene.canvas
    length = 2 * round(scene.side * random.uniform(0.9, 1.3) / 2)
    slant = random.choice((-1, 1)) * random.uniform(0.3, 0.6)
    shape = _bands(length, slant, random)
    bands = _draw_shape(scene, 0, canvas.width + length, canvas.height, shape, scene.colours[-1], 0.24)
    moved = f"mod({scene.side * random.uniform(0.05, 0.08):.3f}*{scene.seconds('n')},{length})"
    return frames.overlay(bands, x=f"-{length}+{moved}", y=0, eof_action="repeat")


# Successive seeds have different designs.
_DESIGNS: Sequence[Callable[[_Scene], Any]] = (_draw_glow, _draw_waves, _draw_bokeh, _draw_bands)


def _draw_lights(scene: _Scene, strength: float, size: tuple[float, float]) -> Any:
    """The ground with a wandering light of each further colour.

    `strength` is how much of its colour the middle of a light has, and `size` the least and largest radius as a
    fraction of the smaller side of the canvas.
    """
    canvas, random = scene.canvas, scene.random
    longer = max(canvas.width, canvas.height)
    width, height = (max(8, 2 * round(_GRID * side / longer / 2)) for side in (canvas.width, canvas.height))
    seconds = scene.seconds("N")
    weights = []
    for number in range(len(scene.colours) - 1):
        radius = random.uniform(*size) * scene.side
        x, y = (
            f"{side}*({random.uniform(0.2, 0.8):.4f}+{random.uniform(0.18, 0.32):.4f}"
            f"*sin({math.tau / random.uniform(9, 17):.4f}*{seconds}+{random.uniform(0, math.tau):.4f}))"
            for side in (canvas.width, canvas.height)
        )
        right = f"((X+0.5)*{canvas.width / width:.4f}-{x})/{radius:.2f}"
        down = f"((Y+0.5)*{canvas.height / height:.4f}-{y})/{radius:.2f}"
        weights.append(f"st(8,{right});st(9,{down});st({number},{strength}*exp(-ld(8)*ld(8)-ld(9)*ld(9)))")
    channels = {}
    for name, of in zip("rgb", zip(*scene.colours, strict=True), strict=True):
        mixed = f"{of[0]:.4f}"
        for number, level in enumerate(of[1:]):
            mixed = f"lerp({mixed},{level:.4f},ld({number}))"
        channels[name] = f"{';'.join(weights)};65535*({mixed})"
    rate = canvas.frames_per_second
    frames = scene.source(f"color=black:s={width}x{height}:r={rate},format=gbrp16", "lights").filter("geq", **channels)
    frames = frames.filter("scale", out_color_matrix="bt709", out_range="tv").filter("format", "yuv444p16")
    return frames.filter("scale", canvas.width, canvas.height, **_SPLINE).filter("format", "yuv420p")


def _draw_shape(
    scene: _Scene, name: int, width: int, height: int, alpha: str, colour: tuple[float, ...], opacity: float
) -> Any:
    """A single frame with a shape in a colour. `alpha` is an expression of its opacity, 0 to 1, at a pixel (X, Y)."""
    red, green, blue = (round(255 * level) for level in colour)
    small = [max(2, 2 * round(side / _SHRINK / 2)) for side in (width, height)]
    alpha = alpha.replace("X", f"(X*{width / small[0]:.6f})").replace("Y", f"(Y*{height / small[1]:.6f})")
    drawn = scene.source(f"color=black:s={small[0]}x{small[1]}:r={scene.canvas.frames_per_second}", f"shape{name}")
    drawn = drawn.filter("trim", end_frame=1).filter("format", "gbrap")
    drawn = drawn.filter("geq", r=str(red), g=str(green), b=str(blue), a=f"{255 * opacity:.2f}*clip({alpha},0,1)")
    drawn = drawn.filter("scale", width, height, flags="bicubic", out_color_matrix="bt709", out_range="tv")
    return drawn.filter("format", "yuva420p")


def _disc(size: int) -> str:
    """A disc with a brighter rim and a soft edge."""
    radius = size / 2
    distance = f"hypot(X-{radius},Y-{radius})/{radius}"
    return f"st(0,{distance});(0.55+0.45*pow(ld(0),3))*clip((1-ld(0))*{max(4.0, radius / 8):.2f},0,1)"


def _wave(length: int, height: int, random: Random) -> str:
    """All below the sum of two sines, which repeats after `length`; the crest is brighter than what is below it."""
    turns = math.tau / length
    crest = (
        f"{height}*(0.22+0.12*sin({turns:.8f}*X+{random.uniform(0, 6):.3f})"
        f"+0.06*sin({2 * turns:.8f}*X+{random.uniform(0, 6):.3f}))"
    )
    return f"st(0,Y-{crest});clip(ld(0)/{_SHRINK},0,1)*(0.55+0.45*exp(-ld(0)/{height * 0.25:.2f}))"


def _bands(length: int, slant: float, random: Random) -> str:
    """Slanted bands with soft edges, which repeat after `length`."""
    turns = math.tau / length
    place = f"{turns:.8f}*(X+{slant:.4f}*Y)+{random.uniform(0, 6):.3f}"
    return f"st(0,{place});0.5*pow(0.5+0.5*sin(ld(0)),6)+0.5*pow(0.5+0.5*sin(2*ld(0)+1),10)"


def _fractions(rgb: int) -> tuple[float, ...]:
    return tuple((rgb >> shift & 255) / 255 for shift in (16, 8, 0))
