"""Drawing: what an ASS script looks like, by the real ffmpeg."""

from __future__ import annotations

from datetime import timedelta
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.content import fonts
from services.content.fonts import Font
from services.content.pieces import Word
from services.runtime import children
from tests.mesh import ffmpeg_program

Frames = NDArray[np.uint8]
Mask = NDArray[np.bool_]

FONT = "Manrope ExtraBold"
FOLDER = Path(str(resources.files("font_manrope") / "files"))
DEJAVU = Path("/usr/share/fonts/truetype/dejavu")


def manrope() -> tuple[Font, ...]:
    return fonts.load(FOLDER, FONT)


def spoken(text: str, start: float = 0.2, each: float = 0.2, gap: float = 0.0) -> list[Word]:
    """The words of a text, one after the other."""
    words = []
    for part in text.split():
        words.append(Word(part, timedelta(seconds=start), timedelta(seconds=start + each)))
        start += each + gap
    return words


async def draw(
    script: str,
    folder: Path,
    size: tuple[int, int] = (320, 180),
    rate: int = 50,
    seconds: float = 1.0,
    at_hand: Path = FOLDER,
) -> Frames:
    """The frames of a script on black, as frames x rows x columns x RGB."""
    (folder / "captions.ass").write_text(script, encoding="utf-8")
    if not (folder / "fonts").exists():
        (folder / "fonts").symlink_to(at_hand)
    source = f"color=black:s={size[0]}x{size[1]}:r={rate}:d={seconds}"
    pictures = await children.run(
        [
            *(ffmpeg_program(), "-loglevel", "error", "-f", "lavfi", "-i", source),
            *("-vf", "format=rgb24,ass=captions.ass:fontsdir=fonts", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"),
        ],
        folder=folder,
    )
    return np.frombuffer(pictures, np.uint8).reshape(-1, size[1], size[0], 3)


def like(frames: Frames, colour: str, near: int = 60) -> Mask:
    """Where a colour `#rrggbb` is."""
    wanted = np.array([int(colour[n : n + 2], 16) for n in (1, 3, 5)])
    found: Mask = np.abs(frames.astype(int) - wanted).max(axis=-1) <= near
    return found


def bounds(mask: Mask) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is marked in a picture."""
    rows, columns = np.nonzero(mask)
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


def bands(mask: Mask) -> int:
    """How many rows of letters, or of anything, are marked above each other."""
    filled = mask.any(axis=1).astype(int)
    return int((np.diff(np.concatenate([[0], filled])) == 1).sum())
