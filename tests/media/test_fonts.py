"""Fonts: captions are drawn with the fonts that they name, and with no others."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from services.media.encoding import Quality
from services.processing import graph, render
from services.processing.fonts import Fonts
from services.processing.render import Tool
from services.processing.spec import Canvas, Colour, Fit, Shot, Spec
from tests import media
from tests.media.drawing import CHINESE, FONTS, SCRIPTS, captions, render_clips

ALL = Fonts([FONTS, SCRIPTS, CHINESE])


def with_fonts(tool: Tool, fonts: Fonts) -> Tool:
    return Tool(tool.ffmpeg, tool.version, tool.threads, tool.max_pixels, tool.limits, fonts)


async def render_frame(tool: Tool, text: str, folder: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    script = captions(text, start="0:00:00.00")
    spec = Spec((Shot(Colour(0), Fit.COVER),), 2, Canvas(320, 180, 10), Quality.DRAFT, captions_ass=script)
    return np.array(list(media.pictures(await render_clips(tool, folder, [], spec)))[1])


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("Hello", ["Manrope-ExtraBold.ttf"]),
        (r"Hello {\fnNotoSansCJKjp-Bold\fs20}你", ["Manrope-ExtraBold.ttf", "NotoSansCJKjp-Bold.otf"]),
        (r"{\b1\fnnoto sans thai regular}ส{\fn}x", ["Manrope-ExtraBold.ttf", "NotoSansThai[wght].ttf"]),
    ],
)
async def test_only_the_named_fonts_are_in_the_folder(tool: Tool, text: str, files: list[str], tmp_path: Path) -> None:
    assert sorted(path.name for path in ALL.files(captions(text))) == files
    await render_frame(with_fonts(tool, ALL), text, tmp_path / "work")
    linked = (tmp_path / "work" / graph.FONTS).iterdir()
    assert sorted(path.resolve().name for path in linked) == files
    assert (tmp_path / "work" / render.FONTCONFIG_FILE).exists()


def test_a_family_name_selects_all_its_fonts() -> None:
    names = {path.name for path in ALL.files("Style: Default,Manrope,20")}
    assert names == {"Manrope-Regular.ttf", "Manrope-Bold.ttf"}


async def test_text_in_a_named_font_is_not_drawn_in_another(tool: Tool, tmp_path: Path) -> None:
    text = r"{\fnNotoSansCJKjp-Bold}你好"
    shown = await render_frame(with_fonts(tool, ALL), text, tmp_path / "all")
    system = await render_frame(with_fonts(tool, Fonts([FONTS])), text, tmp_path / "system")
    assert (shown > 128).sum() > 300
    assert not np.array_equal(shown, system)
    # A font that is in no folder is left to the system.
    assert not (tmp_path / "system" / render.FONTCONFIG_FILE).exists()


def test_the_hash_covers_the_current_content_of_the_named_fonts(tmp_path: Path) -> None:
    shutil.copy(FONTS / "Manrope-Bold.ttf", tmp_path / "one.ttf")
    fonts, script = Fonts([tmp_path, FONTS]), "Style: Default,Manrope Bold,20"
    before = fonts.sha256(script)
    assert before == Fonts([FONTS]).sha256(script) != fonts.sha256("Style: Default,Manrope Light,20")
    shutil.copy(FONTS / "Manrope-Light.ttf", tmp_path / "one.ttf")
    assert fonts.sha256(script) != before
    assert fonts.sha256("") == fonts.sha256("Style: Default,Nobody,20") == ""


def test_unreadable_font_files_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "a.ttf").write_bytes(b"no font")
    (tmp_path / "b.otf").mkdir()
    (tmp_path / "c.ttf").symlink_to(tmp_path / "nowhere")
    (tmp_path / "d.ttf").write_bytes((FONTS / "Manrope-Bold.ttf").read_bytes()[:30_000])
    assert Fonts([tmp_path, FONTS]).files("Style: Default,Manrope Bold,20") == (FONTS / "Manrope-Bold.ttf",)
