"""Isolated processes import nothing of the platform: their copies of the allow-lists equal those of the library."""

from __future__ import annotations

from pathlib import Path

from services.media.formats import CLIP_FORMATS, SEGMENT_FORMATS, UPLOADED_SOUND_FORMATS, own_file
from services.rendering import previews_child
from services.validation import probe_child, sound_child


def test_the_probe_child_opens_the_formats_that_renderers_open() -> None:
    assert probe_child.FORMATS == CLIP_FORMATS
    assert sound_child.SOUND_FORMATS == UPLOADED_SOUND_FORMATS


def test_the_child_that_takes_pictures_opens_segments_only() -> None:
    assert own_file(SEGMENT_FORMATS) == previews_child.OPTIONS


def test_no_format_list_is_spelt_out_elsewhere() -> None:
    services = Path(__file__).parents[2] / "services"
    copies = {services / "validation/probe_child.py", services / "rendering/previews_child.py"}
    for path in set(services.rglob("*.py")) - copies - {services / "media/formats.py"}:
        assert "matroska," not in path.read_text(), path
