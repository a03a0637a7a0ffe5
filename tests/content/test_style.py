"""Style: requested margins, outlines, boxes and fonts, and no drawing outside the canvas."""

from __future__ import annotations

import random
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.content.captions.subtitles import make_subtitles
from services.content.layout.line_breaking import Word
from services.content.layout.style import CaptionStyle, Highlight, Position
from services.content.layout.typesetting import place_block, typeset_lines
from tests.content.drawing import ALL, bands, bounds, chain, draw, like, resolve_style, spoken, still
from tests.content.test_fonts import WRITTEN

BLUE, WHITE, GREEN, RED = "#2040c0", "#ffffff", "#20c040", "#c02020"
WIDE, TALL = (320, 180), (180, 320)


@pytest.mark.parametrize("size", [WIDE, TALL])
@pytest.mark.parametrize("margin", [0.02, 0.2, 0.4])
async def test_a_caption_has_the_requested_margin(size: tuple[int, int], margin: float, tmp_path: Path) -> None:
    for position in (Position.BOTTOM, Position.TOP, Position.DEFAULT):
        style = CaptionStyle(position, 0.1, box_colour=BLUE, margin=margin)
        _, top, _, bottom = bounds(like(await still(style, "gÁp", tmp_path, size), BLUE))
        away = top if position is Position.TOP else size[1] - 1 - bottom
        assert abs(away - margin * size[1]) <= 1.5
        # Without a box, the margin is that of the line.
        style = CaptionStyle(position, 0.1, colour=GREEN, margin=margin)
        _, top, _, bottom = bounds(like(await still(style, "gÁp", tmp_path, size), GREEN))
        away = top if position is Position.TOP else size[1] - 1 - bottom
        assert -1 <= away - margin * size[1] <= 0.06 * size[1]


@pytest.mark.parametrize("side", [0.05, 0.2, 0.35])
@pytest.mark.parametrize("boxed", [False, True])
async def test_lines_keep_the_requested_side_margin(side: float, boxed: bool, tmp_path: Path) -> None:
    style = CaptionStyle(size=0.09, box_colour=BLUE if boxed else "", side_margin=side, max_lines=4)
    text = "several words that fill some lines to the brim of it"
    picture = await still(style, text, tmp_path, WIDE)
    left, _, right, _ = bounds(picture.max(axis=2) > 60)
    assert left >= side * WIDE[0] - 1.5 and right <= (1 - side) * WIDE[0] + 1.5
    # Lines use the width, up to the maximum number of columns.
    assert right - left > (0.6 if side > 0.1 else 0.4) * (1 - 2 * side) * WIDE[0]


async def test_the_outline_has_the_requested_width(tmp_path: Path) -> None:
    heights = {}
    for outline in (None, 0.0, 0.05, 0.085, 0.2):
        style = CaptionStyle(Position.MIDDLE, 0.3, GREEN, RED, outline=outline)
        picture = await still(style, "HH", tmp_path, WIDE)
        _, top, _, bottom = bounds(like(picture, GREEN) | like(picture, RED))
        heights[outline] = bottom - top + 1
        assert like(picture, RED, 30).any() == (outline != 0)
    assert heights[None] == heights[0.085]
    assert heights[0.05] - heights[0.0] == pytest.approx(2 * 0.05 * 0.3 * 180, abs=1.5)
    assert heights[0.2] - heights[0.0] == pytest.approx(2 * 0.2 * 0.3 * 180, abs=1.5)


async def test_a_box_has_the_requested_padding(tmp_path: Path) -> None:
    sizes = {}
    for padding in (0.0, 0.35, 1.0):
        style = CaptionStyle(Position.MIDDLE, 0.2, box_colour=BLUE, box_padding=padding)
        left, top, right, bottom = bounds(like(await still(style, "Hi", tmp_path, WIDE), BLUE, 8))
        sizes[padding] = (right - left, bottom - top)
    assert sizes[0.0] == sizes[0.35]
    assert sizes[1.0][0] - sizes[0.35][0] == pytest.approx(2 * 0.65 * 36, abs=2)
    assert sizes[1.0][1] - sizes[0.35][1] == pytest.approx(2 * 0.65 * 36 * 0.12 / 0.35, abs=2)


async def test_all_fonts_are_drawn_in_the_same_size(tmp_path: Path) -> None:
    heights = []
    for font in ("Manrope ExtraBold", "Manrope Light", "Noto Sans Arabic Regular", "NotoSansCJKjp-Bold", "Noto Sans"):
        picture = await still(CaptionStyle(size=0.3), "HHH", tmp_path, WIDE, chain(font))
        _, top, _, bottom = bounds(like(picture, WHITE))
        heights.append(bottom - top + 1)
    assert max(heights) - min(heights) <= 3
    light, heavy = [
        like(await still(CaptionStyle(size=0.3), "HHH", tmp_path, WIDE, chain(font)), WHITE).sum()
        for font in ("Manrope Light", "Manrope ExtraBold")
    ]
    assert light < 0.7 * heavy


@pytest.mark.parametrize("name", WRITTEN)
async def test_every_script_is_drawn_inside_its_box(name: str, tmp_path: Path) -> None:
    text = f"{WRITTEN[name]} {WRITTEN[name]}".replace("。", "")  # which ends a line with a blank
    style = CaptionStyle(Position.MIDDLE, 0.16, box_colour=BLUE, max_lines=2)
    picture = await still(style, text, tmp_path, (480, 270))
    box, ink = bounds(like(picture, BLUE)), bounds(like(picture, WHITE))
    assert box[0] < ink[0] and box[1] < ink[1] and ink[2] < box[2] and ink[3] < box[3]
    # The space beside the letters is the padding of the box.
    room = 0.35 * 0.16 * 270
    assert abs(ink[0] - box[0] - room) < 0.5 * room + 2 and abs(box[2] - ink[2] - room) < 0.5 * room + 2


async def test_the_lines_of_tall_letters_do_not_touch(tmp_path: Path) -> None:
    marks = "x\u0301\u0302\u0303\u0301\u0302"
    for text in (f"{marks} " * 3 + "gjpq " * 3, "ប្រ្តី្ល ស្ត្រី ខ្ញុំ " * 2, "ཀྵྨྱྀ " * 4, "ที่ปี่ ญู ฎุ ปู่ " * 2):
        resolved = resolve_style(
            CaptionStyle(Position.MIDDLE, 0.15, max_lines=2, side_margin=0.2, outline=0.0), (480, 270), ALL, 1
        )
        words = [Word(part, timedelta(seconds=n), timedelta(seconds=n + 1)) for n, part in enumerate(text.split())]
        fitted = resolved.fit_words([words])
        for cue in make_subtitles([words], resolved).cues:
            lines = typeset_lines(cue.spoken, fitted)
            if len(lines) > 1:
                block = place_block(lines, fitted)
                upper, lower = (
                    baseline + sign * reach * fitted.em * block.scale
                    for baseline, sign, reach in (
                        (block.baselines[0], 1, lines[0].extent.below),
                        (block.baselines[1], -1, lines[1].extent.above),
                    )
                )
                assert upper <= lower + 0.01
    picture = await still(
        CaptionStyle(Position.MIDDLE, 0.15, outline=0.0, side_margin=0.3), "gÇŞ ĄŢŅ", tmp_path, (240, 270)
    )
    assert bands(like(picture, WHITE, 120)) >= 2


LETTERS = st.one_of(
    st.sampled_from(
        [*WRITTEN.values(), "W" * 30, "x\u0301\u0302\u0303\u0323\u0331" * 4, "Ậ̣g " * 3, "\u202eevil", "{\\an9}"]
    ),
    st.text(min_size=1, max_size=40),
)
STYLES = st.builds(
    CaptionStyle,
    position=st.sampled_from(sorted(set(Position) - {Position.NONE}, key=lambda position: position.value)),
    size=st.sampled_from([0.0, 0.02, 0.15, 0.3]),
    colour=st.just(GREEN),
    box_colour=st.sampled_from(["", BLUE]),
    max_lines=st.integers(0, 4),
    highlight=st.sampled_from(Highlight),
    pop=st.booleans(),
    margin=st.sampled_from([0.0, 0.001, 0.1, 0.5]),
    side_margin=st.sampled_from([0.0, 0.001, 0.2, 0.4]),
    outline=st.sampled_from([None, 0.0, 0.2]),
    box_padding=st.sampled_from([0.0, 0.1, 2.0]),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=LETTERS, style=STYLES, size=st.sampled_from([(160, 90), (90, 160), (128, 128)]))
async def test_nothing_is_drawn_off_the_canvas(
    text: str, style: CaptionStyle, size: tuple[int, int], tmp_path: Path
) -> None:
    words = spoken(text, 0.0, 0.1) or spoken("x", 0.0)
    words[-1] = Word(words[-1].text, words[-1].start, words[-1].start + timedelta(seconds=0.6))
    script = make_subtitles([words], resolve_style(style, size, ALL, 20)).ass
    for frame in await draw(script, tmp_path, size, 20, words[-1].end.total_seconds(), behind="0x808080"):
        edge = np.concatenate([frame[0], frame[-1], frame[:, 0], frame[:, -1]]).astype(int)
        assert np.abs(edge - frame.astype(int)[0, 0]).max() <= 12, "something reaches the edge"
        assert abs(int(frame[0, 0, 1]) - 128) < 6


@pytest.mark.parametrize(
    "text",
    [
        # A script has at most 20,000 characters.
        *("字" * 20_000, "a" * 20_000, "!" * 20_000, "a" + "\u0301" * 20_000, "สวัสดี" * 3_000, "مرحبا" * 4_000),
        *("👩\u200d" * 10_000, "".join(random.Random(3).choices(" abc.,中。你\u0301ทก", k=20_000))),
        # No font shows these: they have no width.
        *("😀" * 20_000, "😀 " * 10_000, "\U00020123" * 20_000, "\U00020123 " * 10_000, "\ue000 " * 10_000),
    ],
    ids=[
        *("han", "letters", "signs", "marks", "thai", "arabic", "emoji", "mixed"),
        *("emoji alone", "emoji parted", "rare han", "rare han parted", "private parted"),
    ],
)
def test_an_endless_text_is_drawn_in_time(text: str) -> None:
    parts, each = text.split(), 30_000 / len(text.split())
    words = [Word(part, timedelta(seconds=n * each), timedelta(seconds=(n + 1) * each)) for n, part in enumerate(parts)]
    began = time.process_time()
    make_subtitles([words], resolve_style(CaptionStyle(box_colour=BLUE), TALL))
    assert time.process_time() - began < 15
