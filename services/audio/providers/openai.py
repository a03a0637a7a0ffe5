"""OpenAI: `POST /v1/audio/speech`, at OpenAI or at any compatible server. It returns no word times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.audio.providers.engine import Passage, Sound, find_named
from services.audio.providers.voice_mapping import FEMALE, MALE, RemoteVoice
from services.audio.speech import Voice
from services.providers.client import ProviderClient, idempotency_header
from services.providers.credentials import Credentials
from services.providers.failures import FailureKind, ProviderFailure

BASE_URL = "https://api.openai.com/v1"
MODEL = "gpt-4o-mini-tts"
# The languages that the page "Text to speech" of OpenAI's documentation lists; English is the voices' own.
_LANGUAGES = (
    "en af ar hy az be bs bg ca zh hr cs da nl et fi fr gl de el he hi hu is id it ja kn kk ko lv lt mk ms mr mi ne "
    "nb fa pl pt ro ru sr sk sl es sw sv tl ta th tr uk ur vi cy"
)
LANGUAGES = tuple(_LANGUAGES.split())
VOICES = tuple(
    RemoteVoice(name, LANGUAGES, gender, style)
    for name, gender, style in (
        ("marin", FEMALE, "warm"),
        ("cedar", MALE, "warm"),
        ("coral", FEMALE, "cheerful"),
        ("ash", MALE, "calm"),
        ("nova", FEMALE, "bright"),
        ("onyx", MALE, "deep"),
        ("sage", FEMALE, "calm"),
        ("echo", MALE, "clear"),
        ("shimmer", FEMALE, "clear"),
        ("verse", MALE, "expressive"),
        ("ballad", MALE, "soft"),
        ("alloy", "", "neutral"),
        ("fable", "", "storytelling"),
    )
)


class OpenAiEngine:
    """The adapter of OpenAI and of compatible servers."""

    max_bytes = 3500
    calls_at_once = 4

    def __init__(self, client: ProviderClient, model: str = MODEL, voices: Sequence[RemoteVoice] = VOICES) -> None:
        self.client = client
        self.voices = voices
        self._model = model
        self.version = f"1 {model} {client.base_url}"

    def own_voice(self, name: str) -> RemoteVoice | None:
        return find_named(self.voices, name)

    def returns_times(self, voice: Voice) -> bool:
        return False

    async def fetch_voices(self) -> Sequence[RemoteVoice]:
        """Check the key by listing the models. Raises `ProviderFailure`."""
        try:
            await self.client.request_json("GET", "/models")
        except ProviderFailure as failure:
            # A compatible server may not list models. A wrong key is another kind of failure.
            if failure.kind is not FailureKind.REFUSED:
                raise
        return self.voices

    async def synthesize(self, passage: Passage, voice: Voice) -> Sound:
        """Speak a text. Raises `ProviderFailure`."""
        document = {"model": self._model, "input": passage.text, "voice": voice.setting, "response_format": "wav"}
        headers = idempotency_header("/audio/speech", document)
        _, data = await self.client.request_bytes("POST", "/audio/speech", json=document, headers=headers)
        return Sound(data)


def read_voices(credentials: Credentials) -> Sequence[RemoteVoice]:
    """The voices of a compatible server, from the option `speech_voices`; without it, those of OpenAI.

    Each is an object with `name`, and optionally `language` or `languages`, `gender` and `style`.
    """
    listed = credentials.options.get("speech_voices")
    if not isinstance(listed, list):
        return VOICES
    return tuple(
        _read_voice(entry) for entry in listed if isinstance(entry, dict) and isinstance(entry.get("name"), str)
    )


def _read_voice(entry: dict[str, Any]) -> RemoteVoice:
    languages = entry.get("languages", [entry["language"]] if "language" in entry else list(LANGUAGES))
    tags = tuple(str(tag) for tag in languages) if isinstance(languages, list) and languages else LANGUAGES
    return RemoteVoice(entry["name"], tags, str(entry.get("gender", "")), str(entry.get("style", "")))
