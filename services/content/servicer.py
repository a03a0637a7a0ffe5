"""The edge of ContentService: protobuf in, one call of the domain, protobuf out."""

from __future__ import annotations

from typing import Any

from moneyprinter.content.v1 import content_service_pb2 as pb
from moneyprinter.content.v1 import content_service_pb2_grpc as pb_grpc
from services.content.captions.subtitles import make_subtitles
from services.content.captions.title_cards import TitleCard
from services.content.fonts.fallback import FontLibrary
from services.content.layout.style import Canvas, ResolvedStyle
from services.content.messages import (
    from_cue,
    from_notices,
    from_scenes,
    to_options,
    to_style,
    to_title_style,
    to_word,
)
from services.content.scripts.languages import UNKNOWN_LANGUAGE
from services.content.scripts.writing import Script, complete_script, write_script
from services.content.threads import run_in_thread


class ContentServicer(pb_grpc.ContentServiceServicer):
    """Scripts and captions of jobs."""

    def __init__(self, fonts: FontLibrary) -> None:
        self._fonts = fonts

    async def WriteScript(self, request: pb.WriteScriptRequest, context: Any) -> pb.WriteScriptResponse:
        script = await run_in_thread(self._write_script, request)
        return pb.WriteScriptResponse(
            sentences=script.sentences,
            writer=script.writer,
            notices=from_notices(script.notices),
            scenes=from_scenes(script.scenes),
            language="" if script.language == UNKNOWN_LANGUAGE else script.language,
        )

    def _write_script(self, request: pb.WriteScriptRequest) -> Script:
        text = request.script if request.HasField("script") else None
        options = to_options(request)
        script = write_script(
            request.title, text, request.language, request.script_format, options.count_words(request.language)
        )
        return complete_script(script, request.title, options)

    async def MakeCaptions(self, request: pb.MakeCaptionsRequest, context: Any) -> pb.MakeCaptionsResponse:
        return await run_in_thread(self._make_captions, request)

    def _make_captions(self, request: pb.MakeCaptionsRequest) -> pb.MakeCaptionsResponse:
        canvas = Canvas(request.canvas.width, request.canvas.height, request.canvas.frames_per_second)
        style = ResolvedStyle.resolve(to_style(request.style), canvas, self._fonts.resolve(request.style.font))
        sentences = [[to_word(word) for word in sentence.words] for sentence in request.sentences]
        cards = [self._title_card(card, canvas, request.style.font) for card in request.titles]
        made = make_subtitles(sentences, style, cards, request.language)
        return pb.MakeCaptionsResponse(
            cues=map(from_cue, made.cues), srt=made.srt, ass=made.ass, vtt=made.vtt, missing_glyphs=made.missing_glyphs
        )

    def _title_card(self, card: pb.TitleCard, canvas: Canvas, caption_font: str) -> TitleCard:
        font = self._fonts.resolve(card.style.font or caption_font)
        style = ResolvedStyle.resolve(to_title_style(card.style), canvas, font)
        return TitleCard(card.text, card.start.ToTimedelta(), card.end.ToTimedelta(), style)
