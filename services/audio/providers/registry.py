"""Registry: the providers of speech in their order, rebuilt when their credentials change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from services.audio.alignment.aligner import Aligner
from services.audio.providers import azure, elevenlabs, google, openai
from services.audio.providers.engine import Engine
from services.audio.providers.remote import RemoteSpeech
from services.audio.providers.voice_mapping import FEMALE, RemoteVoice, describe_name
from services.audio.speech import SpeechProvider, SpokenText, Voice
from services.providers.breaker import CLOSED
from services.providers.client import Authenticate, ProviderClient, authenticate_bearer
from services.providers.credentials import CredentialMonitor, Credentials
from services.providers.failures import ProviderFailure
from services.providers.keys import KeyRing
from services.runtime.config import ConfigError
from services.runtime.progress import OnProgress, ignore_progress
from services.runtime.secrets import SecretClient
from services.runtime.tasks import cancel

log = structlog.get_logger()

USE = "speech"
_MAX_RESPONSE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Settings:
    """How external providers of speech are called."""

    order: Sequence[str]
    """The names of providers, the preferred ones first. Others come after them, those without a network last."""
    ffmpeg: Path
    timeout_seconds: float
    """The limit of each call."""
    aligner: Aligner | None = None
    """Finds the words in the sound of providers that return no word times."""


@dataclass(frozen=True)
class MappedSpeech:
    """A provider without a network, which also has a substitute for each voice of the external providers."""

    provider: SpeechProvider
    known_voices: Callable[[], Sequence[RemoteVoice]]

    @property
    def name(self) -> str:
        return self.provider.name

    @property
    def version(self) -> str:
        return self.provider.version

    def voice(self, name: str, language: str = "") -> Voice | None:
        """The voice of a name, else one of its language and gender."""
        if voice := self.provider.voice(name, language):
            return voice
        if not (wanted := describe_name(name, self.known_voices(), language)):
            return None
        # The names of Google's voices show a gender, and providers without a network have substitutes for them.
        named = f"{wanted.language}-Wavenet-{'A' if wanted.gender == FEMALE else 'B'}"
        found = (self.provider.voice(named) if wanted.gender else None) or self.provider.voice(wanted.language)
        return found and Voice(name, found.language, found.setting, found.quality, found.note, is_substitute=True)

    def examples(self) -> Sequence[str]:
        return self.provider.examples()

    def voices(self) -> Sequence[Voice]:
        return self.provider.voices()

    async def speak(
        self, sentences: Sequence[str], voice: Voice, target: Path, on_progress: OnProgress = ignore_progress
    ) -> SpokenText:
        """Speak sentences. Raises what the provider raises."""
        return await self.provider.speak(sentences, voice, target, on_progress)


class SpeechProviders:
    """All providers of speech. Without credentials, these are the ones without a network.

    Args:
        offline: The providers without a network, in order of preference.
        secrets: The secrets of this service.
        file: A file with credentials, which is read where there is no secret; None: no file.
        settings: How external providers are called.
    """

    def __init__(
        self, offline: Sequence[SpeechProvider], secrets: SecretClient, file: Path | None, settings: Settings
    ) -> None:
        self._offline = offline
        self._settings = settings
        self._engines: dict[str, Engine] = {}
        self._credentials: dict[str, Credentials] = {}
        self._retired: list[ProviderClient] = []
        self._checks: set[asyncio.Task[None]] = set()
        self._monitor = CredentialMonitor(secrets, "audio", file, self.apply)
        self._providers: Sequence[SpeechProvider] = tuple(offline)

    async def current(self) -> Sequence[SpeechProvider]:
        """Return the providers in order of preference, once the credentials have been read."""
        await self._monitor.wait_ready()
        return self._providers

    async def run(self) -> None:
        """Read the credentials at intervals, until cancelled."""
        await self._monitor.run()

    async def aclose(self) -> None:
        """Close all connections."""
        for check in self._checks:
            await cancel(check)
        for client in (*self._retired, *(engine.client for engine in self._engines.values())):
            await client.aclose()

    def open_breakers(self) -> Mapping[str, str]:
        """Return the providers that are not called for now, with the reasons."""
        breakers = {name: engine.client.breaker for name, engine in self._engines.items()}
        return {name: breaker.reason for name, breaker in breakers.items() if breaker.state != CLOSED}

    async def check(self) -> None:
        """Raise `ProviderFailure` when a provider is not called for now."""
        for engine in self._engines.values():
            breaker = engine.client.breaker
            if breaker.state != CLOSED and breaker.kind:
                raise ProviderFailure(breaker.provider, breaker.kind, breaker.reason, breaker.wait)

    async def apply(self, credentials: Mapping[str, Credentials]) -> None:
        """Use new credentials from now on. Narrations in progress end with the old ones."""
        engines: dict[str, Engine] = {}
        for name, own in credentials.items():
            try:
                engine = self._update(name, own) or _open_engine(name, own, self._settings)
            except ConfigError as failure:
                log.error("provider of speech not usable", provider=name, error=str(failure))
                continue
            if engine is not None:
                engines[name] = engine
                if self._credentials.get(name) != own:
                    self._start_check(name, engine)
        self._retired += [engine.client for name, engine in self._engines.items() if engines.get(name) is not engine]
        self._engines, self._credentials = engines, dict(credentials)
        self._providers = tuple(self._arrange())

    def _update(self, name: str, new: Credentials) -> Engine | None:
        """The present engine of a provider, with its new keys; None when the address or an option differs."""
        engine, old = self._engines.get(name), self._credentials.get(name)
        if engine is None or old is None or (old.base_url, old.options) != (new.base_url, new.options):
            return None
        if bool(old.keys) != bool(new.keys):
            return None
        if engine.client.keys is not None and engine.client.keys.replace(new.keys):
            engine.client.breaker.reset()
        return engine

    def _arrange(self) -> Iterator[SpeechProvider]:
        if not self._engines:
            yield from self._offline
            return
        providers: dict[str, SpeechProvider] = {}
        for name, engine in self._engines.items():
            providers[name] = RemoteSpeech(
                name, engine, self._settings.ffmpeg, self._known_voices, self._settings.aligner
            )
        for provider in self._offline:
            providers[provider.name] = MappedSpeech(provider, self._known_voices)
        listed = [name for name in self._settings.order if name in providers]
        yield from (providers[name] for name in dict.fromkeys((*listed, *providers)))

    def _known_voices(self) -> list[RemoteVoice]:
        """The voices of all external providers, also of those without credentials."""
        present = [voice for engine in self._engines.values() for voice in engine.voices]
        return [*present, *openai.VOICES, *azure.VOICES, *google.VOICES]

    def _start_check(self, name: str, engine: Engine) -> None:
        check = asyncio.create_task(_check(name, engine), name=f"check {name}")
        self._checks.add(check)
        check.add_done_callback(self._checks.discard)


async def _check(name: str, engine: Engine) -> None:
    """Check the key of a provider with one cheap call, and log the result. A wrong key opens the breaker."""
    try:
        voices = await engine.fetch_voices()
    except ProviderFailure as failure:
        log.warning("provider of speech does not work", provider=name, kind=failure.kind.value, reason=failure.message)
    else:
        log.info("provider of speech works", provider=name, voices=len(voices))


def _open_engine(name: str, credentials: Credentials, settings: Settings) -> Engine | None:
    """Open the adapter of a provider; None when it is no provider of speech, or has no key.

    Raises `ConfigError` when an option is wrong.
    """
    uses, options = credentials.options.get("uses", [USE]), credentials.options
    if not isinstance(uses, list) or USE not in uses:
        return None
    protocol = name if name in ("openai", "google", "azure", "elevenlabs") else options.get("speech_protocol")
    if protocol not in ("openai", "google", "azure", "elevenlabs"):
        return None
    # A compatible server on a private network may need no key.
    is_open = protocol == "openai" and credentials.base_url and not credentials.keys
    if not credentials.keys and not is_open:
        return None

    def connect(default: str, authenticate: Authenticate) -> ProviderClient:
        return ProviderClient(
            name,
            credentials.base_url or default,
            None if is_open else KeyRing(name, credentials.keys),
            authenticate,
            timeout_seconds=settings.timeout_seconds,
            max_response_bytes=_MAX_RESPONSE_BYTES,
        )

    if protocol == "google":
        return google.GoogleEngine(connect(google.BASE_URL, google.authenticate))
    if protocol == "azure":
        return azure.AzureEngine(connect(azure.read_address(credentials), azure.authenticate))
    if protocol == "elevenlabs":
        client = connect(elevenlabs.BASE_URL, elevenlabs.authenticate)
        return elevenlabs.ElevenLabsEngine(client, _read_model(options, elevenlabs.MODEL))
    client = connect(openai.BASE_URL, authenticate_bearer)
    return openai.OpenAiEngine(client, _read_model(options, openai.MODEL), openai.read_voices(credentials))


def _read_model(options: Mapping[str, object], default: str) -> str:
    model = options.get("speech_model", default)
    if not isinstance(model, str) or not 0 < len(model) <= 100:
        raise ConfigError("speech_model is not the name of a model")
    return model
