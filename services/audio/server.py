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
from services.audio.config import Config
from services.audio.espeak import Espeak, open_espeak
from services.audio.mix import Mixer
from services.audio.servicer import AudioServicer
from services.audio.speech_servicer import SpeechServicer
from services.media.ffmpeg import ffmpeg_version
from services.runtime.config import ConfigError
from services.runtime.server import Runtime


@asynccontextmanager
async def wire(config: Config, runtime: Runtime) -> AsyncIterator[None]:
    """Open espeak-ng and ffmpeg, and serve AudioService and SpeechService.

    Raises `ConfigError` when espeak-ng is not found.
    """
    runtime.max_calls = config.max_calls
    program = runtime.config.ffmpeg
    version = await ffmpeg_version(program)
    mixer = Mixer(program, version, timedelta(seconds=config.max_mix_seconds))
    providers = [await asyncio.to_thread(_open_espeak, config, runtime)]
    runtime.add(pb_grpc.add_AudioServiceServicer_to_server, AudioServicer(runtime, runtime.objects(), providers, mixer))
    content = content_grpc.ContentServiceStub(runtime.connect("content", "moneyprinter.content.v1.ContentService"))

    async def split_sentences(text: str, language: str, script_format: str) -> Sequence[str]:
        request = content_pb.WriteScriptRequest(
            title="A text", script=text, language=language.partition("-")[0].lower(), script_format=script_format
        )
        return (await content.WriteScript(request)).sentences

    public = SpeechServicer(runtime, providers, program, split_sentences)
    runtime.add(speech_grpc.add_SpeechServiceServicer_to_server, public)
    # The limit leaves capacity for jobs.
    methods = ("CreateSpeech", "TimeSpeech")
    paths = (f"/moneyprinter.audio.v1.SpeechService/{method}" for method in methods)
    runtime.limit(config.max_speech_calls, *paths, until_response=True)
    yield


def _open_espeak(config: Config, runtime: Runtime) -> Espeak:
    try:
        return open_espeak(config.espeak_library, config.espeak_data, config.words_per_minute, runtime.config.ffmpeg)
    except OSError as failure:
        raise ConfigError(
            f"espeak-ng is not found ({failure}); set MONEYPRINTER_AUDIO_ESPEAK_LIBRARY and "
            f"MONEYPRINTER_AUDIO_ESPEAK_DATA to its library and data folder"
        ) from None
