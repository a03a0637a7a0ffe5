"""Drawing: render ASS scripts with the real ffmpeg, and measure the frames."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.content.captions.subtitles import make_subtitles
from services.content.fonts.faces import FontFolder
from services.content.fonts.fallback import FontFallback, FontSource, find_face
from services.content.layout.line_breaking import Word
from services.content.layout.style import Canvas, CaptionStyle, ResolvedStyle
from services.embedded import binaries
from services.processing.fonts import Fonts
from services.runtime import children
from tests.mesh import ffmpeg_program

Frames = NDArray[np.uint8]
Mask = NDArray[np.bool_]

FONT = "Manrope ExtraBold"
FOLDERS = binaries.font_folders()
"""The font folders of the embedded platform."""
FOLDER = FOLDERS[0]
FILES = Fonts(FOLDERS)
AT_HAND: list[FontSource] = [FontFolder(folder) for folder in FOLDERS]


def chain(font: str = FONT, at_hand: Sequence[FontSource] = AT_HAND) -> FontFallback:
    """A font of the embedded platform with its substitutes."""
    return FontFallback(find_face(font, at_hand), at_hand)


MANROPE = chain(at_hand=AT_HAND[:1])
"""Manrope without fonts of other folders."""
ALL = chain()


def resolve_style(
    style: CaptionStyle, size: tuple[int, int], font: str | FontFallback = ALL, rate: int = 50
) -> ResolvedStyle:
    """Resolve a style on a canvas of `size` pixels and `rate` frames per second."""
    return ResolvedStyle.resolve(style, Canvas(*size, rate), font)


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
    at_hand: Fonts = FILES,
    behind: str = "black",
) -> Frames:
    """Draw a script on a plain colour, with the fonts that it names. Returns frames x rows x columns x RGB."""
    (folder / "captions.ass").write_text(script, encoding="utf-8")
    (folder / "fonts.conf").write_text("<fontconfig></fontconfig>")
    shutil.rmtree(folder / "fonts", ignore_errors=True)
    (folder / "fonts").mkdir()
    for number, path in enumerate(at_hand.files(script)):
        (folder / "fonts" / f"{number}{path.suffix}").symlink_to(path)
    source = f"color={behind}:s={size[0]}x{size[1]}:r={rate}:d={seconds}"
    pictures = await children.run(
        [
            *(ffmpeg_program(), "-loglevel", "error", "-f", "lavfi", "-i", source),
            *("-vf", "format=rgb24,ass=captions.ass:fontsdir=fonts", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"),
        ],
        folder=folder,
        environment={"FONTCONFIG_FILE": str(folder / "fonts.conf")},
    )
    return np.frombuffer(pictures, np.uint8).reshape(-1, size[1], size[0], 3)


async def still(
    style: CaptionStyle, text: str, folder: Path, size: tuple[int, int], font: str | FontFallback = ALL
) -> Frames:
    """The first frame of a caption, drawn at one frame per second."""
    words = [Word(part, timedelta(seconds=n), timedelta(seconds=n + 1)) for n, part in enumerate(text.split())]
    frames = await draw(make_subtitles([words], resolve_style(style, size, font, 1)).ass, folder, size, rate=1)
    picture: Frames = frames[0]
    return picture


def like(frames: Frames, colour: str, near: int = 60) -> Mask:
    """The pixels of about the colour `#rrggbb`."""
    target = np.array([int(colour[n : n + 2], 16) for n in (1, 3, 5)])
    found: Mask = np.abs(frames.astype(int) - target).max(axis=-1) <= near
    return found


def bounds(mask: Mask) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the marked pixels."""
    rows, columns = np.nonzero(mask)
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


def bands(mask: Mask) -> int:
    """The number of horizontal bands of marked pixels, such as lines of letters."""
    filled = mask.any(axis=1).astype(int)
    return int((np.diff(np.concatenate([[0], filled])) == 1).sum())
