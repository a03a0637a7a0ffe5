"""The edge of the content service: protobuf in, one call of the domain, protobuf out."""

from __future__ import annotations

import asyncio
from typing import Any

from google.protobuf.duration_pb2 import Duration

from moneyprinter.content.v1 import content_service_pb2 as pb
from moneyprinter.content.v1 import content_service_pb2_grpc as pb_grpc
from moneyprinter.media.v1 import media_pb2
from services.content import captions, pieces, script, subtitles
from services.content.fonts import Fonts
from services.content.looks import Canvas, Highlight, Look, Position, Style
from services.content.titles import SIZE, Card


class ContentServicer(pb_grpc.ContentServiceServicer):
    """Scripts and captions."""

    def __init__(self, fonts: Fonts) -> None:
        self._fonts = fonts

    async def WriteScript(self, request: pb.WriteScriptRequest, context: Any) -> pb.WriteScriptResponse:
        text = request.script if request.HasField("script") else None
        written = await asyncio.to_thread(script.write, request.title, text)
        return pb.WriteScriptResponse(sentences=written.sentences, writer=written.writer)

    async def MakeCaptions(self, request: pb.MakeCaptionsRequest, context: Any) -> pb.MakeCaptionsResponse:
        made = await asyncio.to_thread(self._made, request)
        return pb.MakeCaptionsResponse(
            cues=map(_cue, made.cues), srt=made.srt, ass=made.ass, vtt=made.vtt, missing_glyphs=made.missing_glyphs
        )

    def _made(self, request: pb.MakeCaptionsRequest) -> subtitles.Subtitles:
        canvas = Canvas(request.canvas.width, request.canvas.height, request.canvas.frames_per_second)
        look = Look.of(_style(request.style), canvas, self._fonts.chain(request.style.font))
        spoken = [[_word(word) for word in sentence.words] for sentence in request.sentences]
        return subtitles.make(spoken, look, [self._card(card, request) for card in request.titles], request.language)

    def _card(self, card: pb.TitleCard, request: pb.MakeCaptionsRequest) -> Card:
        canvas = Canvas(request.canvas.width, request.canvas.height, request.canvas.frames_per_second)
        font = self._fonts.chain(card.style.font or request.style.font)
        look = Look.of(_title_style(card.style), canvas, font)
        return Card(card.text, card.start.ToTimedelta(), card.end.ToTimedelta(), look)


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
    return Style(
        position=_POSITIONS[style.position],
        size=style.size,
        colour=style.colour,
        outline_colour=style.outline_colour,
        box_colour=style.box_colour,
        max_lines=style.max_lines,
        highlight=_HIGHLIGHTS[style.highlight],
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


def _cue(cue: captions.Cue) -> media_pb2.Cue:
    start, end = Duration(), Duration()
    start.FromTimedelta(cue.start)
    end.FromTimedelta(cue.end)
    return media_pb2.Cue(start=start, end=end, text="\n".join(cue.lines))
