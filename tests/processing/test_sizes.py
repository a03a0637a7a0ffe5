"""Every codec encodes the smallest and the most extreme sizes, with captions and with renditions."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.media.encoding import Codec, Quality
from services.processing.render import Tool
from services.processing.spec import Canvas, Colour, Shot, Size, Spec
from tests import media
from tests.media.drawing import captions, render_clips

SIZES = [(16, 16), (18, 16), (8192, 16), (16, 8192), (4240, 20), (1920, 32), (312, 820)]


@pytest.mark.parametrize("codec", list(Codec))
@pytest.mark.parametrize("size", SIZES)
async def test_every_codec_encodes_every_size(tool: Tool, tmp_path: Path, codec: Codec, size: tuple[int, int]) -> None:
    spec = Spec(
        (Shot(Colour(0x336699)),),
        3,
        Canvas(*size, 30),
        Quality.DRAFT,
        codec=codec,
        captions_ass=captions(start="0:00:00.00"),
        renditions=(Size(16, 16),),
    )
    made = media.probe(await render_clips(tool, tmp_path / "work", (), spec))
    assert (made.width, made.height, made.frames) == (*size, 3)
    other = media.probe(tmp_path / "work" / "segment-1.mp4")
    assert (other.width, other.height, other.frames) == (16, 16, 3)
