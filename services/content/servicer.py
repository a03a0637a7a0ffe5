"""The edge of ContentService: protobuf in, one call of the domain, protobuf out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moneyprinter.content.v1 import content_service_pb2 as pb
from moneyprinter.content.v1 import content_service_pb2_grpc as pb_grpc
from services.content.captions.subtitles import make_subtitles
from services.content.captions.title_cards import TitleCard
from services.content.fonts.fallback import FontLibrary
from services.content.footage.pool import CachedSource, FootagePool
from services.content.layout.style import Canvas, ResolvedStyle
from services.content.messages import (
    from_cue,
    from_flags,
    from_notices,
    from_scenes,
    from_tokens,
    to_options,
    to_scenes,
    to_style,
    to_title_style,
    to_word,
)
from services.content.moderation.checks import TextChecks
from services.content.moderation.moderation import PATIENT_SECONDS, FieldText
from services.content.moderation.script_texts import request_texts, script_texts
from services.content.scripts.languages import UNKNOWN_LANGUAGE
from services.content.scripts.scenes import Scene
from services.content.scripts.script_templates import LANGUAGE_ALIASES
from services.content.scripts.writing import Script, complete_script, write_script
from services.content.threads import run_in_thread
from services.content.writers.pool import WriterPool, check_key
from services.content.writers.prompts import ScriptTask
from services.content.writers.script_writing import write_about
from services.content.writers.translation import require_writer, translate_scenes
from services.providers.credentials import Use
from services.providers.states import check_own_key, describe_providers
from services.providers.usage import Budget

MAX_TITLE = 200
"""The longest title of a video."""
# The audit log records what WriteScript finds as a check of texts too.
_CHECK_TEXTS = "/moneyprinter.content.v1.ContentService/CheckTexts"


class ContentServicer(pb_grpc.ContentServiceServicer):
    """Scripts and captions of jobs."""

    def __init__(
        self,
        fonts: FontLibrary,
        checks: TextChecks,
        pool: WriterPool,
        footage: FootagePool,
        prices: Mapping[str, float],
    ) -> None:
        self._fonts = fonts
        self._checks = checks
        self._pool = pool
        self._footage = footage
        self._prices = prices

    async def WriteScript(self, request: pb.WriteScriptRequest, context: Any) -> pb.WriteScriptResponse:
        # The texts of the request were checked when the job was created.
        texts = request_texts(to_options(request), title=request.title, script=request.script)
        before = [each.field for each in texts]
        flags = await self._checks.check(texts, _CHECK_TEXTS, flagged_before=before, provider_seconds=PATIENT_SECONDS)
        script = await self._write_script(request)
        flags += await self._checks.check(script_texts(script), _CHECK_TEXTS, provider_seconds=PATIENT_SECONDS)
        return pb.WriteScriptResponse(
            sentences=script.sentences,
            writer=script.writer,
            notices=[*from_notices(script.notices), *from_flags(flags)],
            scenes=from_scenes(script.scenes),
            language="" if script.language == UNKNOWN_LANGUAGE else script.language,
            usage=from_tokens(script.tokens, self._prices),
        )

    async def _write_script(self, request: pb.WriteScriptRequest) -> Script:
        options = to_options(request)
        words = options.count_words(request.language)

        def compose(text: str | None = None) -> Script:
            script = write_script(request.title, text, request.language, request.script_format, words)
            return complete_script(script, request.title, options)

        if request.HasField("script"):
            return await run_in_thread(compose, request.script)
        language = LANGUAGE_ALIASES.get(request.language, request.language) or "en"
        task = ScriptTask(request.title, language, options)
        return await write_about(self._pool, task, request.account_id, compose, self._budget(request))

    def _budget(self, request: pb.WriteScriptRequest | pb.TranslateScenesRequest) -> Budget:
        return Budget(request.max_cost if request.HasField("max_cost") else None, self._prices)

    async def TranslateScenes(self, request: pb.TranslateScenesRequest, context: Any) -> pb.TranslateScenesResponse:
        await require_writer(self._pool, request.account_id)
        if not (request.scenes or request.title):
            return pb.TranslateScenesResponse()
        # The title is translated together with the scenes, as a part of their context.
        title = Scene((request.title,), (), "")
        (named, *scenes), translation = await translate_scenes(
            self._pool, (title, *to_scenes(request.scenes)), request.language, request.account_id, self._budget(request)
        )
        texts = [FieldText("script", "\n".join(translation.texts))]
        flags = await self._checks.check(texts, _CHECK_TEXTS, provider_seconds=PATIENT_SECONDS)
        return pb.TranslateScenesResponse(
            scenes=from_scenes(scenes),
            title=named.sentences[0][:MAX_TITLE],
            writer=translation.writer,
            notices=[*from_notices(translation.notices), *from_flags(flags)],
            usage=from_tokens(translation.tokens, self._prices),
        )

    async def DescribeProviders(
        self, request: pb.DescribeProvidersRequest, context: Any
    ) -> pb.DescribeProvidersResponse:
        writers = await self._pool.accounts.find(request.account_id, is_fresh=bool(request.check))
        sources = await self._footage.accounts.find(request.account_id)
        await check_own_key(writers, request.check, check_key)
        await check_own_key(sources, request.check, CachedSource.check_key)
        states = describe_providers(writers, Use.WRITING, self._pool.providers.order)
        return pb.DescribeProvidersResponse(
            providers=[*states, *describe_providers(sources, Use.FOOTAGE, self._footage.providers.order)]
        )

    async def CheckTexts(self, request: pb.CheckTextsRequest, context: Any) -> pb.CheckTextsResponse:
        texts = [FieldText(each.field, each.text) for each in request.texts]
        flags = await self._checks.check(texts, _CHECK_TEXTS, account_id=request.account_id)
        return pb.CheckTextsResponse(notices=from_flags(flags))

    async def MakeCaptions(self, request: pb.MakeCaptionsRequest, context: Any) -> pb.MakeCaptionsResponse:
        fields = {f"titles[{index}].text": card.text for index, card in enumerate(request.titles)}
        texts = [FieldText(field, text) for field, text in fields.items()]
        await self._checks.check(texts, _CHECK_TEXTS, flagged_before=fields, provider_seconds=PATIENT_SECONDS)
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
