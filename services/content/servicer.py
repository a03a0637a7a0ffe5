"""The edge of the content service: protobuf in, one call of the domain, protobuf out."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any, ParamSpec, TypeVar

from google.api import httpbody_pb2
from google.protobuf.duration_pb2 import Duration

from moneyprinter.content.v1 import content_service_pb2 as pb
from moneyprinter.content.v1 import content_service_pb2_grpc as pb_grpc
from moneyprinter.content.v1 import writing_service_pb2 as writing_pb
from moneyprinter.content.v1 import writing_service_pb2_grpc as writing_grpc
from moneyprinter.media.v1 import media_pb2
from moneyprinter.video.v1 import video_service_pb2 as video_pb
from services.content import captions, pieces, script, spread, subtitles
from services.content.fonts import Fonts
from services.content.looks import Canvas, Highlight, Look, Position, Style
from services.content.phrases import PHRASES
from services.content.titles import SIZE, Card

P = ParamSpec("P")
T = TypeVar("T")

# Captions of a long script take seconds of a processor. They have threads of their own, or they would keep the services
# that run in the same process from theirs, such as for passwords and files.
_WORKERS = ThreadPoolExecutor(2, "content")


async def _work(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return await asyncio.get_running_loop().run_in_executor(_WORKERS, partial(function, *args, **kwargs))


class ContentServicer(pb_grpc.ContentServiceServicer):
    """Scripts and captions."""

    def __init__(self, fonts: Fonts) -> None:
        self._fonts = fonts

    async def WriteScript(self, request: pb.WriteScriptRequest, context: Any) -> pb.WriteScriptResponse:
        text = request.script if request.HasField("script") else None
        written = await _work(script.write, request.title, text, request.language, request.script_format)
        notices = [_not_written(written.unwritten)] if written.unwritten else []
        return pb.WriteScriptResponse(sentences=written.sentences, writer=written.writer, notices=notices)

    async def MakeCaptions(self, request: pb.MakeCaptionsRequest, context: Any) -> pb.MakeCaptionsResponse:
        return await _work(self._made, request)

    def _made(self, request: pb.MakeCaptionsRequest) -> pb.MakeCaptionsResponse:
        canvas = Canvas(request.canvas.width, request.canvas.height, request.canvas.frames_per_second)
        look = Look.of(_style(request.style), canvas, self._fonts.chain(request.style.font))
        spoken = [[_word(word) for word in sentence.words] for sentence in request.sentences]
        made = subtitles.make(spoken, look, [self._card(card, request) for card in request.titles], request.language)
        return pb.MakeCaptionsResponse(
            cues=map(_cue, made.cues), srt=made.srt, ass=made.ass, vtt=made.vtt, missing_glyphs=made.missing_glyphs
        )

    def _card(self, card: pb.TitleCard, request: pb.MakeCaptionsRequest) -> Card:
        canvas = Canvas(request.canvas.width, request.canvas.height, request.canvas.frames_per_second)
        font = self._fonts.chain(card.style.font or request.style.font)
        look = Look.of(_title_style(card.style), canvas, font)
        return Card(card.text, card.start.ToTimedelta(), card.end.ToTimedelta(), look)


class WritingServicer(writing_grpc.WritingServiceServicer):
    """Writing by itself, for the public."""

    def __init__(self, fonts: Fonts) -> None:
        self._fonts = fonts

    async def CreateScript(
        self, request: writing_pb.CreateScriptRequest, context: Any
    ) -> writing_pb.CreateScriptResponse:
        language = request.language or script.language_of(request.topic)
        if language == "und":
            written = script.write(request.topic, None, language)
        else:
            written = script.compose(request.topic, language, request.length or script.LENGTH)
        return writing_pb.CreateScriptResponse(
            script=script.joined(written.sentences, language),
            sentences=written.sentences,
            language=language,
            writer=written.writer,
            notices=[_not_written(written.unwritten)] if written.unwritten else [],
        )

    async def CreateCaptions(
        self, request: writing_pb.CreateCaptionsRequest, context: Any
    ) -> AsyncIterator[writing_pb.CreateCaptionsResponse]:
        form = request.format or "srt"
        file = (await _work(self._file, request, form)).encode()
        await context.send_initial_metadata(
            (
                ("content-disposition", f'attachment; filename="captions.{form}"'),
                ("x-content-length", str(len(file))),
                ("x-content-sha256", hashlib.sha256(file).hexdigest()),
            )
        )
        for start in range(0, len(file), CHUNK_BYTES):
            body = httpbody_pb2.HttpBody(content_type=CONTENT_TYPES[form], data=file[start : start + CHUNK_BYTES])
            yield writing_pb.CreateCaptionsResponse(data=body)

    def _file(self, request: writing_pb.CreateCaptionsRequest, form: str) -> str:
        canvas = Canvas(request.width or 1920, request.height or 1080, FRAMES_PER_SECOND)
        look = Look.of(_named_style(request.style), canvas, self._fonts.chain(request.style.font))
        if request.script:
            cut = script.write("", request.script, request.language, request.script_format).sentences
            spoken = spread.spread(cut, timedelta(seconds=request.duration))
        else:
            spoken = [[_timed(word) for word in sentence.words] for sentence in request.sentences]
        return subtitles.file(form, subtitles.make(spoken, look, language=request.language))


LANGUAGE_NOT_WRITTEN = "LANGUAGE_NOT_WRITTEN"
"""The reason of a notice."""


def _not_written(language: str) -> media_pb2.Notice:
    message = (
        f"no scripts are written in the language {language!r}, so that the title is all that is spoken; send a script, "
        f"or take one of {', '.join(PHRASES)}"
    )
    return media_pb2.Notice(reason=LANGUAGE_NOT_WRITTEN, message=message)


CONTENT_TYPES = {"srt": "application/x-subrip", "vtt": "text/vtt", "ass": "text/x-ssa"}
# Small, so that a client that reads slowly is seen to read.
CHUNK_BYTES = 64 * 1024
# Captions change between frames of this rate.
FRAMES_PER_SECOND = 30

_NAMED_POSITIONS = {
    "": Position.CHOSEN,
    "bottom": Position.BOTTOM,
    "middle": Position.MIDDLE,
    "top": Position.TOP,
    "none": Position.NONE,
}
_NAMED_HIGHLIGHTS = {
    "": Highlight.NONE,
    "none": Highlight.NONE,
    "word": Highlight.WORD,
    "karaoke": Highlight.KARAOKE,
}
_POSITIONS = {
    pb.POSITION_UNSPECIFIED: Position.CHOSEN,
    pb.POSITION_BOTTOM: Position.BOTTOM,
    pb.POSITION_MIDDLE: Position.MIDDLE,
    pb.POSITION_TOP: Position.TOP,
    pb.POSITION_NONE: Position.NONE,
}
_HIGHLIGHTS = {
    pb.HIGHLIGHT_UNSPECIFIED: Highlight.NONE,
    pb.HIGHLIGHT_WORD: Highlight.WORD,
    pb.HIGHLIGHT_KARAOKE: Highlight.KARAOKE,
}


def _style(style: pb.CaptionStyle) -> Style:
    return _styled(style, _POSITIONS[style.position], _HIGHLIGHTS[style.highlight])


def _named_style(style: video_pb.Captions) -> Style:
    return _styled(style, _NAMED_POSITIONS[style.position], _NAMED_HIGHLIGHTS[style.highlight])


def _styled(style: pb.CaptionStyle | video_pb.Captions, position: Position, highlight: Highlight) -> Style:
    return Style(
        position=position,
        size=style.size,
        colour=style.colour,
        outline_colour=style.outline_colour,
        box_colour=style.box_colour,
        max_lines=style.max_lines,
        highlight=highlight,
        highlight_colour=style.highlight_colour,
        pop=style.pop,
        margin=style.margin,
        side_margin=style.side_margin,
        outline=style.outline if style.HasField("outline") else None,
        box_padding=style.box_padding,
    )


def _title_style(style: pb.TitleStyle) -> Style:
    return Style(
        position=_POSITIONS[style.position or pb.POSITION_MIDDLE],
        size=style.size or SIZE,
        colour=style.colour,
        outline_colour=style.outline_colour,
        box_colour=style.box_colour,
    )


def _word(word: media_pb2.Word) -> pieces.Word:
    return pieces.Word(word.text, word.start.ToTimedelta(), word.end.ToTimedelta())


def _timed(word: media_pb2.TimedWord) -> pieces.Word:
    return pieces.Word(word.text, timedelta(seconds=word.start), timedelta(seconds=word.end))


def _cue(cue: captions.Cue) -> media_pb2.Cue:
    start, end = Duration(), Duration()
    start.FromTimedelta(cue.start)
    end.FromTimedelta(cue.end)
    return media_pb2.Cue(start=start, end=end, text="\n".join(cue.lines))
