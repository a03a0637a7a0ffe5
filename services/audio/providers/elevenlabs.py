"""ElevenLabs: `POST /v1/text-to-speech/{voice}/with-timestamps`, which returns the time of each character."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from services.audio.providers.engine import Passage, Sound, bad_document, find_named, read_base64
from services.audio.providers.voice_mapping import FEMALE, MALE, RemoteVoice
from services.audio.speech import Voice
from services.audio.word_alignment import split_words
from services.providers.client import Authentication, ProviderClient

BASE_URL = "https://api.elevenlabs.io"
MODEL = "eleven_multilingual_v2"
FORMAT = "mp3_44100_128"
# The languages of the model, English first.
_LANGUAGES = "en ja zh de hi fr ko pt it es id nl tr tl pl sv bg ro ar cs el fi hr ms sk da ta uk ru"
LANGUAGES = tuple(_LANGUAGES.split())
_CONTEXT_CHARACTERS = 300
_GENDERS = {"female": FEMALE, "male": MALE}
_ID = re.compile(r"[A-Za-z0-9]{20}")


class ElevenLabsEngine:
    """The adapter of ElevenLabs. Its voices are those of the account."""

    max_bytes = 4500
    # Small accounts may make two calls at once.
    calls_at_once = 2

    def __init__(self, client: ProviderClient, model: str = MODEL) -> None:
        self.client = client
        self.voices: Sequence[RemoteVoice] = ()
        self._model = model
        self.version = f"1 {model}"

    def own_voice(self, name: str) -> RemoteVoice | None:
        if found := find_named(self.voices, name):
            return found
        # The id of a voice that the account may use, but does not list.
        return RemoteVoice(name, LANGUAGES) if _ID.fullmatch(name) else None

    def returns_times(self, voice: Voice) -> bool:
        return True

    async def fetch_voices(self) -> Sequence[RemoteVoice]:
        """Check the key by listing the voices. Raises `ProviderFailure`."""
        document = await self.client.request_json("GET", "/v1/voices")
        listed = document.get("voices") if isinstance(document, dict) else None
        if not isinstance(listed, list):
            raise bad_document(self.client.name, "voices")
        self.voices = [voice for entry in listed if (voice := _read_voice(entry))]
        return self.voices

    async def synthesize(self, passage: Passage, voice: Voice) -> Sound:
        """Speak a text. Raises `ProviderFailure`."""
        document = await self.client.request_json(
            "POST",
            f"/v1/text-to-speech/{voice.setting}/with-timestamps",
            params={"output_format": FORMAT},
            json={
                "text": passage.text,
                "model_id": self._model,
                "previous_text": passage.before[-_CONTEXT_CHARACTERS:],
                "next_text": passage.after[:_CONTEXT_CHARACTERS],
            },
        )
        data = read_base64(self.client.name, document, "audio_base64")
        return Sound(data, _read_events(document.get("alignment"), passage.text))


def authenticate(key: str) -> Authentication:
    """The key in the provider's own header."""
    return Authentication({"xi-api-key": key})


def _read_events(alignment: Any, text: str) -> tuple[tuple[float, int], ...]:
    """The seconds at which the words begin; none when the characters are not those of the text."""
    if not isinstance(alignment, dict):
        return ()
    characters, starts = alignment.get("characters"), alignment.get("character_start_times_seconds")
    if not isinstance(characters, list) or not isinstance(starts, list) or len(characters) != len(starts):
        return ()
    is_same = characters == list(text) and all(isinstance(start, int | float) for start in starts)
    return tuple((float(starts[word.first]), word.first) for word in split_words(text)) if is_same else ()


def _read_voice(entry: Any) -> RemoteVoice | None:
    if not isinstance(entry, dict) or not _ID.fullmatch(str(entry.get("voice_id"))):
        return None
    labels = entry.get("labels")
    labels = labels if isinstance(labels, dict) else {}
    style = str(labels.get("descriptive") or labels.get("description") or "")[:40]
    title = str(entry.get("name", ""))[:60]
    return RemoteVoice(entry["voice_id"], LANGUAGES, _GENDERS.get(str(labels.get("gender")), ""), style, title)
