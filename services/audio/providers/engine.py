"""Engine: what the adapter of one provider does, and the names that adapters share."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from xml.sax.saxutils import escape

from services.audio.providers.voice_mapping import RemoteVoice
from services.audio.speech import Voice
from services.providers.client import ProviderClient
from services.providers.failures import FailureKind, ProviderFailure


@dataclass(frozen=True)
class Passage:
    """A text to speak, and what is spoken before and after it."""

    text: str
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class Sound:
    """The sound of a text, as a provider returned it."""

    data: bytes
    """A file in a common format."""
    events: tuple[tuple[float, int], ...] = ()
    """The seconds at which words begin, and the places of their first characters in the text; empty: unknown."""


class Engine(Protocol):
    """The adapter of one provider."""

    client: ProviderClient
    max_bytes: int
    """The longest text of one call, in UTF-8."""
    calls_at_once: int
    """How many calls of one narration run at the same time."""
    voices: Sequence[RemoteVoice]
    """The voices, the preferred ones first."""
    version: str
    """Changes when the same text would sound different, for example with the model."""

    def own_voice(self, name: str) -> RemoteVoice | None:
        """The provider's own voice of a name, even when it is not among `voices`; None when it has none."""

    def returns_times(self, voice: Voice) -> bool:
        """Whether sounds of a voice come with the times of words."""

    async def fetch_voices(self) -> Sequence[RemoteVoice]:
        """Check the key with a cheap call, and return the present voices. Raises `ProviderFailure`."""

    async def synthesize(self, passage: Passage, voice: Voice) -> Sound:
        """Speak a text with a voice of this provider. Raises `ProviderFailure`."""


def find_named(voices: Sequence[RemoteVoice], name: str) -> RemoteVoice | None:
    """The voice with a name at the provider, or for people."""
    return next((voice for voice in voices if name and name in (voice.name, voice.title)), None)


def read_base64(provider: str, document: Any, field: str) -> bytes:
    """The bytes in a field of a JSON document. Raises `ProviderFailure` (BAD_RESPONSE) when there are none."""
    value = document.get(field) if isinstance(document, dict) else None
    try:
        data = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        data = b""
    if not data:
        raise bad_document(provider, field)
    return data


def bad_document(provider: str, field: str) -> ProviderFailure:
    """The failure for an answer whose JSON has no usable field."""
    return ProviderFailure(provider, FailureKind.BAD_RESPONSE, f"{provider}: its answer has no valid {field}")


def escape_xml(text: str) -> str:
    """A text for SSML, without the characters that XML does not allow."""
    allowed = (character for character in text if character in "\t\n" or " " <= character not in "\ufffe\uffff")
    return escape("".join(allowed), {'"': "&quot;", "'": "&apos;"})
