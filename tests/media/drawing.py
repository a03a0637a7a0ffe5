"""Drawing: render segments without the processing service, and make their sources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from services.embedded import binaries
from services.processing import command, graph
from services.processing.fonts import Fonts
from services.processing.render import Tool, render
from services.processing.spec import Spec
from services.runtime import children
from tests import media
from tests.mesh import ffmpeg_program
from tests.sources import probe_source

FONTS, SCRIPTS, CHINESE = binaries.font_folders()
"""The font folders of the platform: for captions, for other scripts, for East Asia."""


def make_tool() -> Tool:
    """ffmpeg with one thread and the platform's font."""
    return Tool(
        ffmpeg=ffmpeg_program(),
        version="test",
        threads=1,
        max_pixels=4096 * 2304,
        limits=children.Limits(),
        fonts=Fonts([FONTS]),
    )


@pytest.fixture
def tool() -> Tool:
    """ffmpeg with one thread and the platform's font."""
    return make_tool()


def captions(text: str = "Hello world", start: str = "0:00:00.50", end: str = "0:00:01.00") -> str:
    """An ASS script with one line in yellow, as the content service writes it."""
    return (
        "[Script Info]\nScriptType: v4.00+\nPlayResX: 320\nPlayResY: 180\n\n[V4+ Styles]\n"
        "Format: Name, Fontname, Fontsize, PrimaryColour, OutlineColour, BackColour, Bold, Italic, "
        "BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding\n"
        "Style: Default,Manrope ExtraBold,28,&H0000FFFF,&H00000000,&H00000000,0,0,1,2,0,2,10,10,16,1\n\n[Events]\n"
        "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
        f"Dialogue: 0,{start},{end},Default,,0,0,0,,{text}\n"
    )


async def render_clips(tool: Tool, folder: Path, sources: Sequence[Path], wanted: Spec) -> Path:
    """Render a segment of these sources in a new folder. Returns its file."""
    folder.mkdir()
    probed = []
    for place, source in enumerate(sources):
        file = folder / graph.source_name(place)
        file.symlink_to(source)
        probed.append(await probe_source(file))
    await render(wanted, probed, folder, tool)
    return folder / command.SEGMENT


def still(path: Path, picture: str, *, size: tuple[int, int] = (320, 180)) -> Path:
    """Make a picture file of the format of its suffix; `picture` is a filter chain of ffmpeg."""
    media.ffmpeg("-f", "lavfi", "-i", picture.format(w=size[0], h=size[1], rate=25), "-frames:v", "1", path)
    return path
