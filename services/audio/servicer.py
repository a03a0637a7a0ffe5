"""The edge of AudioService: protobuf in, one call of the domain, protobuf out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from moneyprinter.audio.v1 import audio_service_pb2 as pb
from moneyprinter.audio.v1 import audio_service_pb2_grpc as pb_grpc
from services.audio import preview, recordings, speech
from services.audio.alignment.aligner import Aligner
from services.audio.costs import leave_out_costly
from services.audio.draft_voice import select_draft_voice
from services.audio.fallback import find_candidates, speak_first
from services.audio.messages import (
    from_lexicon,
    from_mix_request,
    from_pacing,
    to_mix,
    to_mix_progress,
    to_notices,
    to_recording,
    to_recording_progress,
    to_speech,
    to_speech_progress,
)
from services.audio.mix import Mixer
from services.audio.providers.registry import SpeechProviders
from services.audio.voice_selection import Text, select_voice
from services.providers.usage import Budget
from services.runtime.objects import Objects
from services.runtime.progress import OnProgress, stream_progress
from services.runtime.server import Runtime


class AudioServicer(pb_grpc.AudioServiceServicer):
    """Speech and music of jobs."""

    def __init__(
        self,
        runtime: Runtime,
        objects: Objects,
        providers: SpeechProviders,
        mixer: Mixer,
        prices: Mapping[str, float],
        aligner: Aligner,
    ) -> None:
        self._runtime = runtime
        self._objects = objects
        self._providers = providers
        self._mixer = mixer
        self._prices = prices
        self._aligner = aligner

    async def GetVoice(self, request: pb.GetVoiceRequest, context: Any) -> pb.GetVoiceResponse:
        texts = [Text(text.field, text.text) for text in request.texts]
        title = Text("title", request.title) if request.title else None
        select = select_draft_voice if request.draft else select_voice
        providers = await self._providers.current(request.account_id)
        selection = await asyncio.to_thread(select, providers, request.name, texts, title)
        return pb.GetVoiceResponse(
            name=selection.voice.name,
            language=selection.voice.language,
            provider=selection.provider.name,
            quality=selection.voice.quality.value,
            notices=to_notices(selection.notices),
        )

    async def Synthesize(self, request: pb.SynthesizeRequest, context: Any) -> AsyncIterator[pb.SynthesizeResponse]:
        providers = await self._providers.current(request.account_id)
        found = await asyncio.to_thread(find_candidates, providers, request.voice, request.sentences)
        budget = Budget(request.max_cost if request.HasField("max_cost") else None, self._prices)
        candidates, skipped = leave_out_costly(found, request.sentences, budget)

        async def synthesize(on_progress: OnProgress) -> pb.SynthesizeResponse:
            async with self._runtime.scratch() as folder:

                async def speak(provider: speech.SpeechProvider, voice: speech.Voice) -> speech.Speech:
                    return await speech.synthesize(
                        provider,
                        voice,
                        self._objects,
                        request.sentences,
                        folder,
                        on_progress,
                        pacing=from_pacing(request),
                        lexicon=from_lexicon(request),
                        program=self._mixer.ffmpeg,
                    )

                made = await speak_first(candidates, speak)
                made = replace(made, skipped=(*skipped, *made.skipped))
                return await asyncio.to_thread(to_speech, made, self._prices)

        async with aclosing(stream_progress(synthesize, to_speech_progress)) as responses:
            async for response in responses:
                yield response

    async def AlignRecording(
        self, request: pb.AlignRecordingRequest, context: Any
    ) -> AsyncIterator[pb.AlignRecordingResponse]:
        recording = recordings.Recording(
            request.recording, request.recording.sha256, tuple(request.sentences), request.language
        )

        async def align(on_progress: OnProgress) -> pb.AlignRecordingResponse:
            async with self._runtime.scratch() as folder:
                made = await recordings.align_recording(
                    self._aligner, self._mixer.ffmpeg, self._objects, recording, folder, on_progress
                )
                return await asyncio.to_thread(to_recording, made)

        async with aclosing(stream_progress(align, to_recording_progress)) as responses:
            async for response in responses:
                yield response

    async def Mix(self, request: pb.MixRequest, context: Any) -> AsyncIterator[pb.MixResponse]:
        mix_request = from_mix_request(request)

        async def mix(on_progress: OnProgress) -> pb.MixResponse:
            async with self._runtime.scratch() as folder:
                return to_mix(await self._mixer.mix(self._objects, mix_request, folder, on_progress))

        async with aclosing(stream_progress(mix, to_mix_progress)) as responses:
            async for response in responses:
                yield response

    async def EncodePreview(self, request: pb.EncodePreviewRequest, context: Any) -> pb.EncodePreviewResponse:
        async with self._runtime.scratch() as folder:
            made = await preview.encode_preview(
                self._mixer.ffmpeg, self._mixer.ffmpeg_version, self._objects, request.audio, folder
            )
        return pb.EncodePreviewResponse(audio=made.audio, header_bytes=made.header_bytes)

    async def DescribeSpeechProviders(
        self, request: pb.DescribeSpeechProvidersRequest, context: Any
    ) -> pb.DescribeSpeechProvidersResponse:
        states = await self._providers.describe(request.account_id, request.check)
        return pb.DescribeSpeechProvidersResponse(providers=states)
