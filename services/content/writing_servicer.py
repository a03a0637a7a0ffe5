"""The edge of WritingService, the public methods: protobuf in, one call of the domain, protobuf out."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import Any

from google.api import httpbody_pb2

from moneyprinter.content.v1 import writing_service_pb2 as pb
from moneyprinter.content.v1 import writing_service_pb2_grpc as pb_grpc
from services.content.captions.subtitles import make_subtitles, subtitle_file
from services.content.captions.word_timing import estimate_word_times
from services.content.fonts.fallback import FontLibrary
from services.content.layout.style import Canvas, ResolvedStyle
from services.content.messages import (
    from_flags,
    from_notices,
    from_scenes,
    to_options,
    to_public_style,
    to_scenes,
    to_timed_word,
)
from services.content.moderation.checks import TextChecks
from services.content.moderation.moderation import PATIENT_SECONDS, FieldText
from services.content.moderation.script_texts import request_texts, script_texts
from services.content.scripts.languages import UNKNOWN_LANGUAGE, detect_language, identify_language
from services.content.scripts.script_templates import TEMPLATES
from services.content.scripts.writing import (
    DEFAULT_LENGTH,
    Script,
    TokenCount,
    complete_script,
    compose_script,
    fit_length,
    join_sentences,
    write_script,
)
from services.content.threads import run_in_thread
from services.content.writers.pool import WriterPool
from services.content.writers.prompts import ScriptTask
from services.content.writers.script_writing import write_about
from services.content.writers.social import PLATFORMS, add_credits, describe_video
from services.content.writers.translation import translate_captions, translate_scenes, translate_texts
from services.providers.cost_limits import CostLimits, Spending
from services.runtime import identity

CONTENT_TYPES = {"srt": "application/x-subrip", "vtt": "text/vtt", "ass": "text/x-ssa"}
# Small, so that a slow client still shows progress between two chunks.
CHUNK_BYTES = 64 * 1024
# The frame rate of the canvas: captions change between two of its frames.
FRAMES_PER_SECOND = 30
# The most tokens that are reserved for a text; a longer one may charge no more than they cost.
_MOST_TOKENS = {"input_tokens": 30_000, "output_tokens": 30_000}

_CREATE_SCRIPT = "/moneyprinter.content.v1.WritingService/CreateScript"
_TRANSLATE_SCRIPT = "/moneyprinter.content.v1.WritingService/TranslateScript"
_CREATE_METADATA = "/moneyprinter.content.v1.WritingService/CreateMetadata"


class WritingServicer(pb_grpc.WritingServiceServicer):
    """Scripts and captions without a video."""

    def __init__(self, fonts: FontLibrary, checks: TextChecks, pool: WriterPool, costs: CostLimits) -> None:
        self._fonts = fonts
        self._checks = checks
        self._pool = pool
        self._costs = costs

    async def CreateScript(self, request: pb.CreateScriptRequest, context: Any) -> pb.CreateScriptResponse:
        texts = request_texts(to_options(request), topic=request.topic)
        flags = await self._checks.check(texts, _CREATE_SCRIPT, provider_seconds=PATIENT_SECONDS)
        script = await self._write_script(request)
        flags += await self._checks.check(script_texts(script), _CREATE_SCRIPT, provider_seconds=PATIENT_SECONDS)
        return pb.CreateScriptResponse(
            script=join_sentences(script.sentences, script.language),
            sentences=script.sentences,
            language=script.language,
            writer=script.writer,
            notices=[*from_notices(script.notices), *from_flags(flags)],
            scenes=from_scenes(script.scenes),
        )

    async def _write_script(self, request: pb.CreateScriptRequest) -> Script:
        language = request.language or await run_in_thread(detect_language, request.topic)
        account_id = identity.user().id
        has_writer = bool(await self._pool.find_names(account_id))
        if not (request.language or has_writer or language in (*TEMPLATES, UNKNOWN_LANGUAGE)):
            # Without a writer there are the templates alone.
            language = "en"
        task = ScriptTask(request.topic, language, to_options(request), request.length)
        compose = partial(self._compose, request, language, has_writer=has_writer)
        async with self._reserve(account_id) as spending:
            script = await write_about(self._pool, task, account_id, compose, spending.budget)
            spending.cost = self._count_cost(script.tokens)
        return script

    @asynccontextmanager
    async def _reserve(self, account_id: str) -> AsyncIterator[Spending]:
        """Reserve what writers may charge for a text. Raises what `CostLimits.reserve` raises."""
        found = await self._pool.accounts.find(account_id)
        charged = [name for name, writer in found.adapters.items() if writer.client.keys and name not in found.own]
        async with self._costs.reserve(account_id, charged, _MOST_TOKENS) as spending:
            yield spending

    def _count_cost(self, tokens: Sequence[TokenCount]) -> float:
        """What the deployment pays for tokens."""
        return sum(
            self._costs.count_cost(each.provider, {each.unit: each.amount}) for each in tokens if each.is_charged
        )

    def _compose(self, request: pb.CreateScriptRequest, language: str, *, has_writer: bool) -> Script:
        """The template script."""
        options = to_options(request)
        words = options.count_words(language)
        if language == UNKNOWN_LANGUAGE or (language not in TEMPLATES and has_writer):
            # A writer could have written it: the language is not at fault.
            script = write_script(request.topic, None, language)
        elif words:
            script = compose_script(request.topic, language, fit_length(request.topic, language, words))
        else:
            script = compose_script(request.topic, language, request.length or DEFAULT_LENGTH)
        return complete_script(script, request.topic, options)

    async def TranslateScript(self, request: pb.TranslateScriptRequest, context: Any) -> pb.TranslateScriptResponse:
        scenes = to_scenes(request.scenes)
        given = request.script or request.captions or " ".join(text for scene in scenes for text in scene.sentences)
        flags = await self._checks.check(
            [FieldText("script", given)], _TRANSLATE_SCRIPT, provider_seconds=PATIENT_SECONDS
        )
        account, language = identity.user().id, request.language
        made = pb.TranslateScriptResponse(language=language)
        async with self._reserve(account) as spending:
            budget = spending.budget
            if request.captions:
                made.captions, translation = await translate_captions(
                    self._pool, request.captions, language, account, budget
                )
            elif scenes:
                scenes, translation = await translate_scenes(self._pool, scenes, language, account, budget)
                made.scenes.extend(from_scenes(scenes))
                made.sentences.extend(sentence for scene in scenes for sentence in scene.sentences)
            else:
                sentences = (await run_in_thread(write_script, "", request.script)).sentences
                translation = await translate_texts(self._pool, sentences, language, account, budget)
                made.sentences.extend(translation.texts)
            spending.cost = self._count_cost(translation.tokens)
        flags += await self._checks.check(
            [FieldText("script", "\n".join(translation.texts))], _TRANSLATE_SCRIPT, provider_seconds=PATIENT_SECONDS
        )
        made.script = join_sentences(made.sentences, language)
        made.writer = translation.writer
        made.notices.extend([*from_notices(translation.notices), *from_flags(flags)])
        return made

    async def CreateMetadata(self, request: pb.CreateMetadataRequest, context: Any) -> pb.CreateMetadataResponse:
        texts = {"script": request.script, "title": request.title, "credits": "\n".join(request.credits)}
        flags = await self._checks.check(
            [FieldText(*text) for text in texts.items() if text[1]], _CREATE_METADATA, provider_seconds=PATIENT_SECONDS
        )
        language = request.language or await run_in_thread(identify_language, request.script)
        account_id, platforms = identity.user().id, request.platforms or tuple(PLATFORMS)
        async with self._reserve(account_id) as spending:
            metadata = await describe_video(
                self._pool, request.script, request.title, language, platforms, account_id, spending.budget
            )
            spending.cost = self._count_cost(metadata.tokens)
        shown = "\n".join(f"{text.title}\n{text.description}\n{text.hashtags}" for text in metadata.texts)
        flags += await self._checks.check(
            [FieldText("platforms", shown)], _CREATE_METADATA, provider_seconds=PATIENT_SECONDS
        )
        return pb.CreateMetadataResponse(
            platforms=[
                pb.PlatformMetadata(**asdict(text)) for text in add_credits(metadata.texts, list(request.credits))
            ],
            language="" if language == UNKNOWN_LANGUAGE else language,
            writer=metadata.writer,
            notices=[*from_notices(metadata.notices), *from_flags(flags)],
        )

    async def CreateCaptions(
        self, request: pb.CreateCaptionsRequest, context: Any
    ) -> AsyncIterator[pb.CreateCaptionsResponse]:
        format_name = request.format or "srt"
        file = (await run_in_thread(self._make_file, request, format_name)).encode()
        await context.send_initial_metadata(
            (
                ("content-disposition", f'attachment; filename="captions.{format_name}"'),
                ("x-content-length", str(len(file))),
                ("x-content-sha256", hashlib.sha256(file).hexdigest()),
            )
        )
        for start in range(0, len(file), CHUNK_BYTES):
            chunk = file[start : start + CHUNK_BYTES]
            body = httpbody_pb2.HttpBody(content_type=CONTENT_TYPES[format_name], data=chunk)
            yield pb.CreateCaptionsResponse(data=body)

    def _make_file(self, request: pb.CreateCaptionsRequest, format_name: str) -> str:
        canvas = Canvas(request.width or 1920, request.height or 1080, FRAMES_PER_SECOND)
        style = ResolvedStyle.resolve(to_public_style(request.style), canvas, self._fonts.resolve(request.style.font))
        if request.script:
            sentences = write_script("", request.script, request.language, request.script_format).sentences
            timed = estimate_word_times(sentences, timedelta(seconds=request.duration))
        else:
            timed = [[to_timed_word(word) for word in sentence.words] for sentence in request.sentences]
        return subtitle_file(format_name, make_subtitles(timed, style, language=request.language))
