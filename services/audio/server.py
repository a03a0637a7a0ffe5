"""The wiring of the audio service."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from importlib.metadata import PackageNotFoundError

import structlog

from moneyprinter.audio.v1 import audio_service_pb2_grpc as pb_grpc
from moneyprinter.audio.v1 import speech_service_pb2_grpc as speech_grpc
from moneyprinter.config.v1.config_service_pb2_grpc import ConfigServiceStub
from moneyprinter.content.v1 import content_service_pb2 as content_pb
from moneyprinter.content.v1 import content_service_pb2_grpc as content_grpc
from moneyprinter.errors import InvalidArgument
from moneyprinter.orchestrator.v1.orchestrator_service_pb2_grpc import OrchestratorServiceStub
from moneyprinter.user.v1 import authority_service_pb2_grpc as authority_grpc
from services.audio.alignment.aligner import Aligner
from services.audio.config import Config
from services.audio.espeak import Espeak, open_espeak
from services.audio.expanded_speech import ExpandedSpeech
from services.audio.kokoro.provider import Kokoro, open_kokoro
from services.audio.kokoro.synthesizer import SynthesizerSettings
from services.audio.mix import Mixer
from services.audio.providers.registry import Settings, SpeechProviders
from services.audio.samples import VoiceSamples
from services.audio.servicer import AudioServicer
from services.audio.speech import SpeechProvider
from services.audio.speech_servicer import SpeechServicer
from services.media import language_detection
from services.media.ffmpeg import ffmpeg_version
from services.providers.account_keys import AccountKeys
from services.providers.cost_limits import CostLimits
from services.runtime.config import ConfigError
from services.runtime.secrets import SecretClient
from services.runtime.server import Runtime

log = structlog.get_logger()


# After the start of the platform, which it would slow.
_LOAD_LANGUAGES_AFTER_SECONDS = 5.0


async def _load_languages() -> None:
    """Load the model of languages, so that the first request whose language it shows does not wait for it."""
    await asyncio.sleep(_LOAD_LANGUAGES_AFTER_SECONDS)
    await asyncio.to_thread(language_detection.load_model)


@asynccontextmanager
async def wire(config: Config, runtime: Runtime) -> AsyncIterator[None]:
    """Open espeak-ng and ffmpeg, and serve AudioService and SpeechService.

    Raises `ConfigError` when espeak-ng is not found.
    """
    runtime.max_calls = config.max_calls
    program = runtime.config.ffmpeg
    version = await ffmpeg_version(program)
    mixer = Mixer(program, version, timedelta(seconds=config.max_mix_seconds))
    espeak = ExpandedSpeech(await asyncio.to_thread(_open_espeak, config, runtime))
    kokoro = await asyncio.to_thread(_open_kokoro, config, runtime) if config.kokoro_model else None
    offline: list[SpeechProvider] = [*([ExpandedSpeech(kokoro)] if kokoro else []), espeak]
    settings = Settings(config.speech_order, program, config.provider_timeout_seconds, Aligner(espeak, program))
    secrets = SecretClient(ConfigServiceStub(runtime.connect("config", "moneyprinter.config.v1.ConfigService")))
    authority = authority_grpc.AuthorityServiceStub(runtime.connect("user", "moneyprinter.user.v1.AuthorityService"))
    providers = SpeechProviders(offline, secrets, config.providers_file, settings, AccountKeys(authority))
    runtime.check("providers", providers.check)
    # espeak-ng has word times, and takes a hundredth of the time of a neural voice.
    aligner = Aligner(espeak, program)
    servicer = AudioServicer(runtime, runtime.objects(), providers, mixer, config.provider_prices, aligner)
    runtime.add(pb_grpc.add_AudioServiceServicer_to_server, servicer)
    content = content_grpc.ContentServiceStub(runtime.connect("content", "moneyprinter.content.v1.ContentService"))

    async def split_sentences(text: str, language: str, script_format: str) -> Sequence[str]:
        request = content_pb.WriteScriptRequest(
            title="A text", script=text, language=language.partition("-")[0].lower(), script_format=script_format
        )
        try:
            return (await content.WriteScript(request)).sentences
        except InvalidArgument as refused:
            raise _name_field(refused, "script", "text") from refused

    orchestrator = OrchestratorServiceStub(
        runtime.connect("orchestrator", "moneyprinter.orchestrator.v1.OrchestratorService")
    )
    costs = CostLimits(orchestrator, config.provider_prices)
    free = {provider.name for provider in offline}
    samples = VoiceSamples(runtime.objects(), program, free, costs, allows_others=config.provider_samples)
    public = SpeechServicer(runtime, providers, program, split_sentences, samples, costs)
    runtime.add(speech_grpc.add_SpeechServiceServicer_to_server, public)
    # The limit leaves capacity for jobs.
    methods = ("CreateSpeech", "TimeSpeech")
    paths = (f"/moneyprinter.audio.v1.SpeechService/{method}" for method in methods)
    runtime.limit(config.max_speech_calls, *paths, until_response=True)
    try:
        async with (
            aclosing(providers),
            runtime.background(providers.run(), "keys of providers"),
            runtime.background(_load_languages(), "model of languages"),
        ):
            yield
    finally:
        if kokoro:
            await kokoro.synthesizer.stop()


def _name_field(refused: InvalidArgument, theirs: str, ours: str) -> InvalidArgument:
    """Returns an error of another service about a text, with the name that its field has in the caller's request."""
    about = f"{theirs}: "
    message = f"{ours}: {refused.message.removeprefix(about)}" if refused.message.startswith(about) else refused.message
    violations = [replace(each, field=ours) if each.field == theirs else each for each in refused.violations]
    return InvalidArgument(message, reason=refused.reason, violations=violations)


def _open_espeak(config: Config, runtime: Runtime) -> Espeak:
    try:
        return open_espeak(config.espeak_library, config.espeak_data, config.words_per_minute, runtime.config.ffmpeg)
    except OSError as failure:
        raise ConfigError(
            f"espeak-ng is not found ({failure}); set MONEYPRINTER_AUDIO_ESPEAK_LIBRARY and "
            f"MONEYPRINTER_AUDIO_ESPEAK_DATA to its library and data folder"
        ) from None


def _open_kokoro(config: Config, runtime: Runtime) -> Kokoro | None:
    """Open the neural voice; None when its model or ONNX Runtime is missing, so that espeak-ng speaks alone."""
    settings = SynthesizerSettings(
        model=config.kokoro_model,
        cache=config.kokoro_cache,
        threads=min(config.kokoro_threads, os.cpu_count() or 1),
        memory_bytes=config.kokoro_memory_bytes,
        idle_seconds=config.kokoro_idle_seconds,
    )
    try:
        return open_kokoro(
            settings, config.espeak_library, config.espeak_data, config.words_per_minute, runtime.config.ffmpeg
        )
    except (OSError, PackageNotFoundError) as failure:
        log.warning("the neural voice is not available; espeak-ng speaks", cause=str(failure))
        return None
