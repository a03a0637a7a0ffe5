"""Registry: the providers of speech in their order, rebuilt when their credentials change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from moneyprinter.media.v1 import media_pb2
from services.audio.alignment.aligner import Aligner
from services.audio.providers import azure, elevenlabs, google, openai
from services.audio.providers.engine import Engine
from services.audio.providers.remote import RemoteSpeech
from services.audio.providers.voice_mapping import FEMALE, RemoteVoice, describe_name
from services.audio.speech import SpeechProvider, SpokenText, Voice
from services.providers.account_keys import AccountKeys, AccountPools
from services.providers.client import Authenticate, ProviderClient, authenticate_bearer
from services.providers.credentials import CredentialMonitor, Credentials, Use
from services.providers.keys import KeyRing
from services.providers.pool import ProviderPool
from services.providers.states import UNNEEDED, check_own_key, describe_providers
from services.runtime.config import ConfigError
from services.runtime.progress import OnProgress, ignore_progress
from services.runtime.secrets import SecretClient

PROTOCOLS = ("openai", "google", "azure", "elevenlabs")
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
        account_keys: The keys of accounts; None: accounts have none.
    """

    def __init__(
        self,
        offline: Sequence[SpeechProvider],
        secrets: SecretClient,
        file: Path | None,
        settings: Settings,
        account_keys: AccountKeys | None = None,
    ) -> None:
        self._offline = offline
        self._settings = settings
        open_engine = partial(_open_engine, settings=settings)
        open_pool = partial(ProviderPool, Use.SPEECH, open_engine, settings.order, _check_key)
        self.pool: ProviderPool[Engine] = open_pool()
        self._accounts = AccountPools(self.pool, partial(open_pool, is_shared=False), account_keys)
        self._monitor = CredentialMonitor(secrets, "audio", file, self.pool.replace)

    async def current(self, account_id: str = "") -> Sequence[SpeechProvider]:
        """Return the providers for the calls of an account, in order of preference.

        Waits until the credentials of the deployment have been read. Without an account, only those are used.
        """
        await self._monitor.wait_ready()
        found = await self._accounts.find(account_id)
        return self._arrange(found.adapters, found.own)

    async def describe(self, account_id: str, check: str = "") -> list[media_pb2.ProviderState]:
        """Return the states of the providers for an account.

        `check` is a provider that is called first, with the key of the account; empty: none.
        """
        await self._monitor.wait_ready()
        found = await self._accounts.find(account_id, is_fresh=bool(check))
        await check_own_key(found, check, _check_key)
        offline = (media_pb2.ProviderState(provider=each.name, use=Use.SPEECH, key=UNNEEDED) for each in self._offline)
        return [*describe_providers(found, Use.SPEECH, PROTOCOLS), *offline]

    async def run(self) -> None:
        """Read the credentials at intervals, until cancelled."""
        await self._monitor.run()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._accounts.aclose()
        await self.pool.aclose()

    async def check(self) -> None:
        """Raise `ProviderFailure` when a provider is not called for now."""
        self.pool.check_breakers()

    def arrange(self) -> Sequence[SpeechProvider]:
        """Return the present providers in order of preference. Narrations in progress keep theirs."""
        return self._arrange(self.pool.adapters, frozenset())

    def _arrange(self, engines: Mapping[str, Engine], own: frozenset[str]) -> Sequence[SpeechProvider]:
        """The providers of an account, which has keys of its `own` for some."""
        if not engines:
            return tuple(self._offline)

        def known_voices() -> list[RemoteVoice]:
            """The voices of all external providers, also of those without credentials."""
            present = [voice for engine in engines.values() for voice in engine.voices]
            return [*present, *openai.VOICES, *azure.VOICES, *google.VOICES]

        providers: dict[str, SpeechProvider] = {}
        for name, engine in engines.items():
            providers[name] = RemoteSpeech(
                name, engine, self._settings.ffmpeg, known_voices, self._settings.aligner, is_own=name in own
            )
        for provider in self._offline:
            providers[provider.name] = MappedSpeech(provider, known_voices)
        listed = [name for name in self._settings.order if name in providers]
        return tuple(providers[name] for name in dict.fromkeys((*listed, *providers)))


async def _check_key(engine: Engine) -> None:
    await engine.fetch_voices()


def _open_engine(name: str, credentials: Credentials, *, settings: Settings) -> Engine | None:
    """Open the adapter of a provider; None when it is no provider of speech, or has no key.

    Raises `ConfigError` when an option is wrong.
    """
    options = credentials.options
    protocol = name if name in PROTOCOLS else options.get("speech_protocol")
    if protocol not in PROTOCOLS:
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
