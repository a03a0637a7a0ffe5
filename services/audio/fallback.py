"""Fallback: speak with the first voice that works, and report which one it was and why not the first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from moneyprinter.errors import Error, Internal, Unavailable
from services.audio import languages
from services.audio.speech import Quality, SpeechProvider, Voice, find_voices
from services.audio.voice_selection import Notice
from services.providers.chain import ChainResult, Skipped, call_first
from services.providers.failures import FailureKind, ProviderFailure

T = TypeVar("T")

_RETRY_SECONDS = 10.0
# Trying the same request again does not help after these failures.
_LASTING = (FailureKind.REFUSED, FailureKind.BAD_RESPONSE)


@dataclass(frozen=True)
class Candidate:
    """A voice and its provider."""

    provider: SpeechProvider
    voice: Voice

    @property
    def name(self) -> str:
        """The name of the provider."""
        return self.provider.name


def find_candidates(providers: Sequence[SpeechProvider], name: str, sentences: Sequence[str]) -> list[Candidate]:
    """The voices that may speak a narration, in the order in which they are tried.

    A voice that is not intelligible is none of them, unless the request leads to it first. Raises `InvalidArgument`
    (VOICE_UNKNOWN) when no provider has a voice for the name.
    """
    language = languages.language_of("\n".join(sentences))
    first, *others = (Candidate(*found) for found in find_voices(providers, name, language))
    return [first, *(other for other in others if other.voice.quality is not Quality.UNINTELLIGIBLE)]


async def speak_first(
    candidates: Sequence[Candidate], speak: Callable[[SpeechProvider, Voice], Awaitable[T]]
) -> ChainResult[Candidate, T]:
    """Speak with the first candidate; when it fails, speak all of it again with the next one.

    Args:
        candidates: The voices in the order in which they are tried.
        speak: Speaks the whole narration with a voice.

    Raises the error of the last candidate: `Unavailable` when a provider may work later, else `Internal`
    (SPEECH_FAILED).
    """

    async def call(candidate: Candidate) -> T:
        try:
            return await speak(candidate.provider, candidate.voice)
        except Internal as failure:
            if candidate is candidates[-1] or failure.reason != "SPEECH_FAILED":
                raise
            raise ProviderFailure(candidate.name, FailureKind.UNAVAILABLE, failure.message) from failure

    try:
        return await call_first(candidates, call)
    except ProviderFailure as failure:
        raise to_error(failure) from None


def to_error(failure: ProviderFailure) -> Error:
    """The error for users of a narration that no provider could speak."""
    message = f"the script could not be spoken: {failure.message}"
    if failure.kind in _LASTING:
        return Internal(message, reason="SPEECH_FAILED")
    seconds = failure.retry_after.total_seconds() if failure.retry_after else _RETRY_SECONDS
    return Unavailable(message, reason="SERVICE_UNAVAILABLE", retry_after_seconds=seconds)


def describe_fallback(spoken_by: Candidate, skipped: Sequence[Skipped]) -> tuple[Notice, ...]:
    """The notice that another voice spoke than the first one; none when the first one spoke."""
    if not skipped:
        return ()
    causes = "; ".join(f"{each.provider} did not speak ({each.message})" for each in skipped)
    message = f"{causes}; {spoken_by.name}'s voice {spoken_by.voice.setting} speaks in its place"
    return (Notice("SPEECH_FALLBACK", message[:1000]),)
