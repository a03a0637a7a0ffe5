"""ContentService, called as the orchestrator calls it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pysubs2
import pytest
from google.protobuf.duration_pb2 import Duration

from moneyprinter import errors
from moneyprinter.content.v1 import content_service_pb2 as pb
from moneyprinter.content.v1 import content_service_pb2_grpc as pb_grpc
from moneyprinter.media.v1 import media_pb2
from services.content.config import Config
from services.runtime.config import ConfigError
from tests.content.drawing import FOLDER, FOLDERS
from tests.mesh import Mesh


@pytest.fixture
async def content(mesh: Mesh) -> pb_grpc.ContentServiceAsyncStub:
    await mesh.start("content", Config())
    return mesh.stub(pb_grpc.ContentServiceStub)


def word(text: str, start: float, end: float) -> media_pb2.Word:
    begins, ends = Duration(), Duration()
    begins.FromTimedelta(timedelta(seconds=start))
    ends.FromTimedelta(timedelta(seconds=end))
    return media_pb2.Word(text=text, start=begins, end=ends)


PORTRAIT = media_pb2.Canvas(width=270, height=480, frames_per_second=30)


async def test_the_callers_script_comes_back_as_sentences(content: pb_grpc.ContentServiceAsyncStub) -> None:
    written = await content.WriteScript(pb.WriteScriptRequest(title="Rain", script="It rains. It pours!"))
    assert (list(written.sentences), written.writer) == (["It rains.", "It pours!"], "caller")


async def test_without_a_script_a_template_is_used(content: pb_grpc.ContentServiceAsyncStub) -> None:
    written = await content.WriteScript(pb.WriteScriptRequest(title="Rain"))
    assert (written.sentences[0], written.writer) == ("Rain.", "plain-template")


async def test_a_script_has_scenes_with_search_terms(content: pb_grpc.ContentServiceAsyncStub) -> None:
    own = pb.WriteScriptRequest(title="Rain", script="Clouds gather. Rivers rise.", scene_count=2)
    written = await content.WriteScript(own)
    assert [list(scene.sentences) for scene in written.scenes] == [["Clouds gather."], ["Rivers rise."]]
    assert written.scenes[0].search_terms[:1] == ["Clouds"] and written.scenes[0].title == "Rain"
    template = await content.WriteScript(pb.WriteScriptRequest(title="Regen im Wald", language="de", seconds=20))
    assert [sentence for scene in template.scenes for sentence in scene.sentences] == list(template.sentences)
    assert (template.language, template.scenes[0].search_language) == ("de", "de")
    assert template.scenes[0].search_terms == ["Regen Wald", "Wald", "Regen"] and not template.notices


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (pb.WriteScriptRequest(title="Rain", seconds=30, words=60), "REQUEST_INVALID"),
        (pb.WriteScriptRequest(title="Rain", scene_count=101), "REQUEST_INVALID"),
        (pb.WriteScriptRequest(title="Rain", seconds=float("nan")), "REQUEST_INVALID"),
        (pb.WriteScriptRequest(title="Rain", script=" ... "), "SCRIPT_EMPTY"),
        (pb.WriteScriptRequest(title="?"), "SCRIPT_EMPTY"),
        (pb.WriteScriptRequest(title="Rain", script=""), "REQUEST_INVALID"),
        (pb.WriteScriptRequest(title="Rain", script="x" * 20_001), "REQUEST_INVALID"),
        (pb.WriteScriptRequest(title=""), "REQUEST_INVALID"),
    ],
)
async def test_a_bad_script_is_refused(
    content: pb_grpc.ContentServiceAsyncStub, request_: pb.WriteScriptRequest, reason: str
) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        await content.WriteScript(request_)
    assert refused.value.reason == reason


async def test_captions_are_returned_as_cues_and_files(content: pb_grpc.ContentServiceAsyncStub) -> None:
    sentence = pb.Sentence(words=[word("Hello,", 0.15, 0.6), word("world.", 0.6, 1.1)])
    made = await content.MakeCaptions(pb.MakeCaptionsRequest(sentences=[sentence], canvas=PORTRAIT))
    (cue,) = made.cues
    assert (cue.start.ToTimedelta(), cue.end.ToTimedelta()) == (timedelta(seconds=0.15), timedelta(seconds=1.1))
    assert cue.text == "Hello, world."
    # The ASS script changes in the middle between two frames.
    for text, times in ((made.srt, (150, 1100)), (made.ass, (120, 1080))):
        (event,) = pysubs2.SSAFile.from_string(text)
        assert (event.start, event.end, event.plaintext) == (*times, "Hello, world.")
    assert "PlayResX: 270" in made.ass and "Manrope ExtraBold" in made.ass


@pytest.fixture
async def measured(mesh: Mesh) -> pb_grpc.ContentServiceAsyncStub:
    """The content service with the fonts of the embedded platform."""
    await mesh.start("content", Config(fonts=tuple(FOLDERS)))
    return mesh.stub(pb_grpc.ContentServiceStub)


async def test_a_style_is_applied_and_missing_glyphs_are_reported(mesh: Mesh) -> None:
    await mesh.start("content", Config(fonts=(FOLDER,)))
    content = mesh.stub(pb_grpc.ContentServiceStub)
    sentence = pb.Sentence(words=[word("Hello", 0.1, 0.6), word("你好,", 0.6, 1.0), word("<all>", 1.0, 1.5)])
    style = pb.CaptionStyle(
        position=pb.POSITION_TOP,
        size=0.08,
        colour="#102030",
        outline_colour="#405060",
        box_colour="#708090",
        max_lines=1,
        highlight=pb.HIGHLIGHT_WORD,
        highlight_colour="#a0b0c0",
        pop=True,
    )
    made = await content.MakeCaptions(pb.MakeCaptionsRequest(sentences=[sentence], canvas=PORTRAIT, style=style))
    assert made.missing_glyphs == "你好"
    assert "你好" in made.cues[0].text and "你好" in made.srt and "你" not in made.ass
    assert made.vtt.startswith("WEBVTT\n\n") and "&lt;all&gt;" in made.vtt
    drawn = pysubs2.SSAFile.from_string(made.ass)
    default = drawn.styles["Default"]
    assert (default.alignment, default.fontsize) == (pysubs2.Alignment.TOP_CENTER, 21.6)
    assert (default.primarycolor, default.outlinecolor) == (pysubs2.Color(16, 32, 48), pysubs2.Color(64, 80, 96))
    assert any("&H908070&" in event.text for event in drawn) and any("&HC0B0A0&" in event.text for event in drawn)


@pytest.mark.parametrize(
    "style",
    [
        pb.CaptionStyle(margin=0.51),
        pb.CaptionStyle(side_margin=-0.1),
        pb.CaptionStyle(outline=0.3),
        pb.CaptionStyle(box_padding=2.1),
        pb.CaptionStyle(colour="red"),
        pb.CaptionStyle(box_colour="#FFF}{"),
        pb.CaptionStyle(size=0.31),
        pb.CaptionStyle(max_lines=5),
        pb.CaptionStyle(position=9),  # type: ignore[arg-type]
    ],
)
async def test_an_invalid_style_is_refused(content: pb_grpc.ContentServiceAsyncStub, style: pb.CaptionStyle) -> None:
    sentence = pb.Sentence(words=[word("a", 0.0, 1.0)])
    with pytest.raises(errors.InvalidArgument) as refused:
        await content.MakeCaptions(pb.MakeCaptionsRequest(sentences=[sentence], canvas=PORTRAIT, style=style))
    assert refused.value.reason == "REQUEST_INVALID"


@pytest.mark.parametrize(
    ("folder", "problem"), [("none", "is no folder"), (".", "CAPTION_FONT: there is no font 'Manrope ExtraBold'")]
)
async def test_missing_fonts_prevent_the_start(mesh: Mesh, tmp_path: Path, folder: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        await mesh.start("content", Config(fonts=(tmp_path / folder,)))


async def test_words_out_of_order_are_refused(content: pb_grpc.ContentServiceAsyncStub) -> None:
    sentence = pb.Sentence(words=[word("a", 1.0, 2.0), word("b", 0.0, 1.0)])
    with pytest.raises(errors.InvalidArgument) as refused:
        await content.MakeCaptions(pb.MakeCaptionsRequest(sentences=[sentence], canvas=PORTRAIT))
    assert refused.value.reason == "REQUEST_INVALID"


def title(text: str, start: float, end: float, **style: Any) -> pb.TitleCard:
    begins, ends = Duration(), Duration()
    begins.FromTimedelta(timedelta(seconds=start))
    ends.FromTimedelta(timedelta(seconds=end))
    return pb.TitleCard(text=text, start=begins, end=ends, style=pb.TitleStyle(**style))


async def test_title_cards_are_drawn_in_the_same_script(measured: pb_grpc.ContentServiceAsyncStub) -> None:
    request = pb.MakeCaptionsRequest(
        sentences=[pb.Sentence(words=[word("Hello", 0.1, 0.6)])],
        canvas=PORTRAIT,
        style=pb.CaptionStyle(font="Manrope Bold", position=pb.POSITION_MIDDLE),
        titles=[
            title("A title", 0.2, 1.0, colour="#112233", outline_colour="#445566", box_colour="#778899", size=0.2),
            title("另一个", 2.0, 3.0, position=pb.POSITION_TOP, font="NotoSansCJKjp-Bold"),
        ],
        language="zh",
    )
    made = await measured.MakeCaptions(request)
    drawn = pysubs2.SSAFile.from_string(made.ass)
    assert set(drawn.styles) == {"Default", "Title"} and drawn.styles["Default"].fontname == "Manrope Bold"
    assert drawn.info["Language"] == "zh"
    titles = [event for event in drawn if event.style == "Title"]
    assert {event.plaintext.strip() for event in titles} >= {"A title", "另一个"}
    assert any("&H332211&" in event.text and "&H665544&" in event.text and "54" in event.text for event in titles)
    assert any("&H998877&" in event.text for event in titles)
    assert any(r"\fnNotoSansCJKjp-Bold" in event.text for event in titles)
    assert "title" not in made.srt and made.missing_glyphs == "" and len(made.cues) == 1


async def test_titles_work_without_words_and_without_drawn_captions(measured: pb_grpc.ContentServiceAsyncStub) -> None:
    hidden = pb.MakeCaptionsRequest(
        sentences=[pb.Sentence(words=[word("Hello", 0.1, 0.6)])],
        canvas=PORTRAIT,
        style=pb.CaptionStyle(position=pb.POSITION_NONE),
    )
    made = await measured.MakeCaptions(hidden)
    assert "Hello" in made.srt and "Dialogue" not in made.ass
    alone = await measured.MakeCaptions(pb.MakeCaptionsRequest(canvas=PORTRAIT, titles=[title("Alone", 0, 1)]))
    assert "Alone" in alone.ass and not alone.cues and alone.srt == ""


async def test_a_style_has_its_margins_font_and_rim(measured: pb_grpc.ContentServiceAsyncStub) -> None:
    sentence = pb.Sentence(words=[word("Hello", 0.1, 0.6)])
    styles = {}
    for outline in (None, 0.0, 0.1):
        style = pb.CaptionStyle(font="manrope medium", margin=0.25, side_margin=0.1, size=0.1, outline=outline)
        made = await measured.MakeCaptions(pb.MakeCaptionsRequest(sentences=[sentence], canvas=PORTRAIT, style=style))
        styles[outline] = pysubs2.SSAFile.from_string(made.ass).styles["Default"]
    assert {outline: style.outline for outline, style in styles.items()} == {None: 2.3, 0.0: 0.0, 0.1: 2.7}
    assert (styles[None].fontname, styles[None].marginv, styles[None].marginl) == ("Manrope Medium", 120, 27)


@pytest.mark.parametrize(
    "request_",
    [
        pb.MakeCaptionsRequest(canvas=PORTRAIT, style=pb.CaptionStyle(font="Comic Sans")),
        pb.MakeCaptionsRequest(canvas=PORTRAIT, style=pb.CaptionStyle(font="../../etc/passwd")),
        pb.MakeCaptionsRequest(canvas=PORTRAIT, titles=[title("x", 0, 1, font="Comic Sans")]),
    ],
)
async def test_an_unknown_font_is_refused_by_the_service(
    measured: pb_grpc.ContentServiceAsyncStub, request_: pb.MakeCaptionsRequest
) -> None:
    listed = r"there are: Manrope Bold, .*Noto Sans Khmer Regular.* and \d+ more"
    with pytest.raises(errors.InvalidArgument, match=listed) as refused:
        await measured.MakeCaptions(request_)
    assert refused.value.reason == "FONT_UNKNOWN"


@pytest.mark.parametrize(
    "request_",
    [
        pb.MakeCaptionsRequest(canvas=PORTRAIT, titles=[title("x", 1, 1)]),
        pb.MakeCaptionsRequest(canvas=PORTRAIT, titles=[title("x", -1, 1)]),
        pb.MakeCaptionsRequest(canvas=PORTRAIT, titles=[title("", 0, 1)]),
        pb.MakeCaptionsRequest(canvas=PORTRAIT, titles=[title("x" * 301, 0, 1)]),
        pb.MakeCaptionsRequest(canvas=PORTRAIT, titles=[title("x", 0, 1, position=pb.POSITION_NONE)]),
        pb.MakeCaptionsRequest(canvas=PORTRAIT, titles=[title("x", 0, 1)] * 5001),
        pb.MakeCaptionsRequest(canvas=PORTRAIT, style=pb.CaptionStyle(font="Manrope,99\nDialogue: x")),
        pb.MakeCaptionsRequest(canvas=PORTRAIT, titles=[title("x", 0, 1, font=r"Manrope}{\p1")]),
        pb.MakeCaptionsRequest(canvas=PORTRAIT, language="Chinese"),
    ],
)
async def test_an_invalid_title_language_or_font_is_refused(
    content: pb_grpc.ContentServiceAsyncStub, request_: pb.MakeCaptionsRequest
) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        await content.MakeCaptions(request_)
    assert refused.value.reason == "REQUEST_INVALID"
