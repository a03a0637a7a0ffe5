"""Interest: the point of interest in the pictures of a clip, which a crop keeps inside the frame.

Skin colours weigh most, then motion, then detail. When nothing stands out, the point is the middle. Small copies of
the pictures are sufficient, and take a few milliseconds.

Runs in the probe child; imports nothing of the platform.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import av

# The longer side of the small copies, in pixels.
SIDE = 48
# A larger area of skin colours is background, a smaller one is noise; fractions of the picture.
MAX_SKIN, MIN_SKIN = 0.35, 0.004
# The weights of skin and of motion relative to detail.
SKIN_WEIGHT, MOTION_WEIGHT = 4.0, 1.5
# A point stands out when its interest is this many times the mean.
MIN_CONTRAST = 1.6
# The loss of interest at the edges of a picture relative to its middle.
EDGE_LOSS = 0.35

Grid = list[list[float]]


def find_focus(frames: Sequence[av.VideoFrame]) -> tuple[float, float]:
    """The point of interest of pictures of one size, as fractions of width and height from the top left."""
    pictures = [_planes(frame) for frame in frames]
    height, width = len(pictures[0][0]), len(pictures[0][0][0])
    interest = _normalize(_mean([_detail(luma) for luma, _, _ in pictures]))
    skin = _mean([_skin(*planes) for planes in pictures])
    if MIN_SKIN <= sum(map(sum, skin)) / (width * height) <= MAX_SKIN:
        interest = _add(interest, _normalize(skin), SKIN_WEIGHT)
    if len(pictures) > 1:
        motion = _mean([_difference(one, other) for (one, _, _), (other, _, _) in pairwise(pictures)])
        interest = _add(interest, _normalize(motion), MOTION_WEIGHT)
    return _peak(_grid(width, height, lambda x, y: interest[y][x] * _centrality(x, y, width, height)))


def _planes(frame: av.VideoFrame) -> tuple[Grid, Grid, Grid]:
    """A small copy of a picture: luma, and both chroma planes."""
    scale = SIDE / max(frame.width, frame.height)
    width, height = max(2, round(frame.width * scale)), max(2, round(frame.height * scale))
    small = frame.reformat(width, height, format="yuv444p", interpolation="AREA")
    planes = []
    for plane in small.planes:
        data, line = bytes(plane), plane.line_size
        planes.append([[float(value) for value in data[row * line : row * line + width]] for row in range(height)])
    return planes[0], planes[1], planes[2]


def _grid(width: int, height: int, value: Callable[[int, int], float]) -> Grid:
    return [[value(x, y) for x in range(width)] for y in range(height)]


def _detail(luma: Grid) -> Grid:
    """The local contrast of the luma at each point."""
    height, width = len(luma), len(luma[0])

    def change(x: int, y: int) -> float:
        right, below = luma[y][min(x + 1, width - 1)], luma[min(y + 1, height - 1)][x]
        return abs(luma[y][x] - right) + abs(luma[y][x] - below)

    return _grid(width, height, change)


def _skin(luma: Grid, blue: Grid, red: Grid) -> Grid:
    """1 where a colour is that of light or dark skin (Chai and Ngan, 1999), else 0."""

    def is_skin(x: int, y: int) -> float:
        return float(luma[y][x] > 40 and 77 <= blue[y][x] <= 125 and 136 <= red[y][x] <= 173)

    return _grid(len(luma[0]), len(luma), is_skin)


def _difference(one: Grid, other: Grid) -> Grid:
    return [[abs(a - b) for a, b in zip(*rows, strict=True)] for rows in zip(one, other, strict=True)]


def _mean(grids: Sequence[Grid]) -> Grid:
    return [[sum(column) / len(grids) for column in zip(*rows, strict=True)] for rows in zip(*grids, strict=True)]


def _normalize(grid: Grid) -> Grid:
    """Scale a grid to a mean of 1; to 0 when its mean is almost 0."""
    mean = sum(map(sum, grid)) / (len(grid) * len(grid[0]))
    scale = 1 / mean if mean > 0.01 else 0.0
    return [[value * scale for value in row] for row in grid]


def _add(grid: Grid, other: Grid, weight: float) -> Grid:
    return [[a + weight * b for a, b in zip(*rows, strict=True)] for rows in zip(grid, other, strict=True)]


def _centrality(x: int, y: int, width: int, height: int) -> float:
    across, down = abs(2 * (x + 0.5) / width - 1), abs(2 * (y + 0.5) / height - 1)
    return 1 - EDGE_LOSS * max(across, down) ** 2


def _peak(grid: Grid) -> tuple[float, float]:
    """The centre of gravity of the interest around the most interesting point."""
    height, width = len(grid), len(grid[0])
    reach = max(1, min(width, height) // 5)
    mean = sum(map(sum, grid)) / (width * height)

    def around(x: int, y: int) -> list[tuple[int, int]]:
        columns = range(max(0, x - reach), min(width, x + reach + 1))
        return [(a, b) for b in range(max(0, y - reach), min(height, y + reach + 1)) for a in columns]

    places = [(x, y) for y in range(0, height, 2) for x in range(0, width, 2)]
    best = max(places, key=lambda place: sum(grid[b][a] for a, b in around(*place)))
    near = around(*best)
    weight = sum(grid[b][a] for a, b in near)
    if not weight or weight / ((2 * reach + 1) ** 2) < MIN_CONTRAST * mean:
        return 0.5, 0.5
    x = sum((a + 0.5) * grid[b][a] for a, b in near) / weight / width
    y = sum((b + 0.5) * grid[b][a] for a, b in near) / weight / height
    return round(x, 4), round(y, 4)
