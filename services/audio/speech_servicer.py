"""The edge of SpeechService, the public methods: protobuf in, one call of the domain, protobuf out."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from google.api import httpbody_pb2

from moneyprinter.audio.v1 import speech_service_pb2 as pb
from moneyprinter.audio.v1 import speech_service_pb2_grpc as pb_grpc
from services.audio import export, mastering, speech
from services.audio.costs import is_charged, leave_out_costly
from services.audio.fallback import describe_fallback, find_candidates, speak_first
from services.audio.messages import from_lexicon, from_pacing, to_notices, to_timed_sentences
from services.audio.providers.registry import SpeechProviders
from services.audio.samples import CONTENT_TYPE, VoiceSamples
from services.audio.voice_selection import Text, VoiceSelection, select_voice
from services.providers.cost_limits import CostLimits
from services.runtime import identity
from services.runtime.server import Runtime

# Small, so that a slow client still shows progress between two chunks.
CHUNK_BYTES = 64 * 1024

SplitSentences = Callable[[str, str, str], Awaitable[Sequence[str]]]
"""Splits a text of a language and a format into sentences, in the same way as the script of a video."""


class SpeechServicer(pb_grpc.SpeechServiceServicer):
    """Speech without a video.

    Args:
        runtime: The runtime of the service.
        providers: The providers of speech, in order of preference.
        ffmpeg: The ffmpeg program.
        split_sentences: Splits a text into sentences.
        samples: The samples of voices.
        costs: What providers may charge for the calls of an account.
    """

    def __init__(
        self,
        runtime: Runtime,
        providers: SpeechProviders,
        ffmpeg: Path,
        split_sentences: SplitSentences,
        samples: VoiceSamples,
        costs: CostLimits,
    ) -> None:
        self._runtime = runtime
        self._providers = providers
        self._ffmpeg = ffmpeg
        self._split_sentences = split_sentences
        self._samples = samples
        self._costs = costs

    async def ListVoices(self, request: pb.ListVoicesRequest, context: Any) -> pb.ListVoicesResponse:
        providers = await self._providers.current(identity.user().id)
        voices = (
            pb.Voice(
                name=voice.name,
                language=voice.language,
                provider=provider.name,
                quality=voice.quality.value,
                quality_note=voice.note,
                gender=voice.gender,
                style=voice.style,
                has_sample=self._samples.is_allowed(provider),
            )
            for provider, voice in speech.list_voices(providers, request.language, request.gender, request.provider)
        )
        return pb.ListVoicesResponse(voices=voices)

    async def GetVoiceSample(
        self, request: pb.GetVoiceSampleRequest, context: Any
    ) -> AsyncIterator[pb.GetVoiceSampleResponse]:
        provider, voice = speech.find_voice(await self._providers.current(identity.user().id), request.voice)
        async with self._runtime.scratch() as folder:
            sample = await self._samples.make(provider, voice, folder, identity.user().id)
        digest = hashlib.sha256(sample).hexdigest()
        tag = f'"{digest}"'
        conditions = str(dict(context.invocation_metadata()).get("if-none-match", "")).split(",")
        if tag in (condition.strip().removeprefix("W/") for condition in conditions):
            await context.send_initial_metadata((("etag", tag), ("x-http-code", "304")))
            return
        size = ("x-content-length", str(len(sample)))
        await context.send_initial_metadata((("etag", tag), size, ("x-content-sha256", digest)))
        for start in range(0, len(sample), CHUNK_BYTES):
            chunk = sample[start : start + CHUNK_BYTES]
            yield pb.GetVoiceSampleResponse(data=httpbody_pb2.HttpBody(content_type=CONTENT_TYPE, data=chunk))

    async def CreateSpeech(
        self, request: pb.CreateSpeechRequest, context: Any
    ) -> AsyncIterator[pb.CreateSpeechResponse]:
        async with self._runtime.scratch() as folder:
            wav = folder / "speech.wav"
            spoken, selection = await self._speak(request, wav)
            samples = round(spoken.duration / timedelta(seconds=1) * mastering.RATE)
            format_name, target_lufs = request.format or "wav", request.loudness or export.LOUDNESS_LUFS
            chain = mastering.choose_chain(request.voice_chain, selection.provider.name)
            exported = await export.export_speech(self._ffmpeg, wav, format_name, target_lufs, samples, chain)
            headers = await asyncio.to_thread(_file_headers, exported, format_name)
            await context.send_initial_metadata((*headers, *_voice_headers(selection)))
            with exported.open("rb") as file:
                while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                    body = httpbody_pb2.HttpBody(content_type=export.FORMATS[format_name].content_type, data=chunk)
                    yield pb.CreateSpeechResponse(data=body)

    async def TimeSpeech(self, request: pb.TimeSpeechRequest, context: Any) -> pb.TimeSpeechResponse:
        async with self._runtime.scratch() as folder:
            spoken, selection = await self._speak(request, folder / "speech.wav")
        # In a thread: there may be 20,000 words.
        sentences = await asyncio.to_thread(to_timed_sentences, spoken)
        return pb.TimeSpeechResponse(
            duration=spoken.duration / timedelta(seconds=1),
            sentences=sentences,
            provider=selection.provider.name,
            voice=selection.voice.name,
            language=selection.voice.language,
            quality=selection.voice.quality.value,
            notices=to_notices(selection.notices),
        )

    async def _speak(
        self, request: pb.CreateSpeechRequest | pb.TimeSpeechRequest, target: Path
    ) -> tuple[speech.SpokenText, VoiceSelection]:
        texts = [Text("text", request.text)]
        providers = await self._providers.current(identity.user().id)
        selection = await asyncio.to_thread(select_voice, providers, request.voice, texts)
        sentences = await self._split_sentences(request.text, selection.voice.language, request.script_format)
        found = await asyncio.to_thread(find_candidates, providers, selection.voice.name, sentences)

        async def speak(provider: speech.SpeechProvider, voice: speech.Voice) -> speech.SpokenText:
            return await speech.speak_to_file(
                provider,
                voice,
                sentences,
                target,
                pacing=from_pacing(request),
                lexicon=from_lexicon(request),
                program=self._ffmpeg,
            )

        charged = {each.name for each in found if is_charged(each.provider)}
        units = {"characters": sum(map(len, sentences))}
        async with self._costs.reserve(identity.user().id, charged, units) as spending:
            candidates, skipped = leave_out_costly(found, sentences, spending.budget)
            made = await speak_first(candidates, speak)
            if is_charged(made.provider.provider):
                spending.cost = self._costs.count_cost(made.provider.name, {"characters": made.result.characters})
        made = replace(made, skipped=(*skipped, *made.skipped))
        notices = (*selection.notices, *describe_fallback(made.provider, made.skipped))
        return made.result, VoiceSelection(made.provider.provider, made.provider.voice, notices)


def _file_headers(path: Path, format_name: str) -> tuple[tuple[str, str], ...]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return (
        ("content-disposition", f'attachment; filename="speech.{format_name}"'),
        ("x-content-length", str(path.stat().st_size)),
        ("x-content-sha256", digest),
    )


def _voice_headers(selection: VoiceSelection) -> tuple[tuple[str, str], ...]:
    return (
        ("x-voice", selection.voice.name),
        ("x-voice-quality", selection.voice.quality.value),
        ("x-notices", ", ".join(notice.reason for notice in selection.notices)),
    )
