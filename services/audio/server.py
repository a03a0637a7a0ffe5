"""The wiring of the audio service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from moneyprinter.audio.v1 import audio_service_pb2_grpc as pb_grpc
from moneyprinter.audio.v1 import speech_service_pb2_grpc as speech_grpc
from moneyprinter.content.v1 import content_service_pb2 as content_pb
from moneyprinter.content.v1 import content_service_pb2_grpc as content_grpc
from services.audio import mix
from services.audio.config import Config
from services.audio.espeak import Espeak, open_espeak
from services.audio.servicer import AudioServicer, SpeechServicer
from services.media.ffmpeg import ffmpeg_version
from services.runtime.config import ConfigError
from services.runtime.server import Runtime


@asynccontextmanager
async def wire(config: Config, runtime: Runtime) -> AsyncIterator[None]:
    """Find espeak-ng and ffmpeg, and serve."""
    runtime.max_calls = config.max_calls
    program = runtime.config.ffmpeg
    version = await ffmpeg_version(program)
    desk = mix.Desk(program, version, timedelta(seconds=config.longest_mix_seconds))
    speakers = [await asyncio.to_thread(_espeak, config, runtime)]
    runtime.add(pb_grpc.add_AudioServiceServicer_to_server, AudioServicer(runtime, runtime.objects(), speakers, desk))
    writer = content_grpc.ContentServiceStub(runtime.connect("content", "moneyprinter.content.v1.ContentService"))

    async def sentences(text: str, language: str, script_format: str) -> Sequence[str]:
        request = content_pb.WriteScriptRequest(
            title="A text", script=text, language=language.partition("-")[0].lower(), script_format=script_format
        )
        return (await writer.WriteScript(request)).sentences

    public = SpeechServicer(runtime, speakers, desk, sentences)
    runtime.add(speech_grpc.add_SpeechServiceServicer_to_server, public)
    # Who only wants to hear something leaves room for the jobs.
    methods = ("CreateSpeech", "TimeSpeech")
    paths = (f"/moneyprinter.audio.v1.SpeechService/{method}" for method in methods)
    runtime.limit(config.speeches, *paths, until_response=True)
    yield


def _espeak(config: Config, runtime: Runtime) -> Espeak:
    try:
        return open_espeak(config.espeak_library, config.espeak_data, config.words_per_minute, runtime.config.ffmpeg)
    except OSError as failure:
        raise ConfigError(
            f"espeak-ng is not found ({failure}); set MONEYPRINTER_AUDIO_ESPEAK_LIBRARY and "
            f"MONEYPRINTER_AUDIO_ESPEAK_DATA to its library and data folder"
        ) from None
