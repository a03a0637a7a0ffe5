"""Voice selection: the voice that speaks some texts, with notices where it differs from the request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from moneyprinter.errors import InvalidArgument, Violation
from services.audio import languages
from services.audio.speech import Quality, SpeechProvider, Voice, find_voices

DEFAULT_VOICE = "en-US"
# The default voices of languages whose voice has another name.
_DEFAULTS = {"en": DEFAULT_VOICE, "zh": "zh-CN", "pt": "pt-BR"}
# How many voices an error message lists.
_MAX_LISTED = 8


@dataclass(frozen=True)
class Text:
    """A text to speak."""

    field: str
    """The field of the request that contains the text."""
    text: str


@dataclass(frozen=True)
class Notice:
    """A difference from the request."""

    reason: str
    message: str


@dataclass(frozen=True)
class VoiceSelection:
    """The selected voice, its provider, and the notices."""

    provider: SpeechProvider
    voice: Voice
    notices: tuple[Notice, ...] = ()


def select_voice(
    providers: Sequence[SpeechProvider], name: str, texts: Sequence[Text], title: Text | None = None
) -> VoiceSelection:
    """Select the voice of a name, or the default voice of the language of the texts.

    Args:
        providers: The providers, in order of preference.
        name: The requested voice; empty: the default voice.
        texts: The texts to speak.
        title: A title that is spoken among sentences in the language of the voice; it may be a name in Latin letters.

    Raises `InvalidArgument` (VOICE_UNKNOWN) when no provider has the voice, (VOICE_LANGUAGE_MISMATCH) when the voice
    cannot read a text, and (VOICE_UNINTELLIGIBLE) when the language has no intelligible voice and the caller did not
    request this one by its own name.
    """
    whole = "\n".join(text.text for text in (*texts, *([title] if title else ())))
    provider, voice, notices = _select_named(providers, name, whole) if name else _select_default(providers, whole)
    for text in (*texts, *([title] if title else ())):
        if system := languages.unreadable_system(text.text, voice.language, is_title=text is title):
            raise _mismatch(providers, voice, text, system, is_requested=bool(name))
    return VoiceSelection(provider, voice, notices)


def _select_named(
    providers: Sequence[SpeechProvider], name: str, text: str
) -> tuple[SpeechProvider, Voice, tuple[Notice, ...]]:
    provider, voice = find_voices(providers, name, languages.language_of(text))[0]
    if voice.quality is Quality.UNINTELLIGIBLE:
        if voice.is_substitute:
            raise _unintelligible(voice, f"{name!r} is a voice of another provider")
        return provider, voice, (Notice("VOICE_UNINTELLIGIBLE", f"{voice.name} is not intelligible: {voice.note}"),)
    if not voice.is_substitute:
        return provider, voice, ()
    message = (
        f"{name} is a voice of a provider that is not set up here; {provider.name}'s voice for {voice.language} "
        f"({voice.quality.value}) speaks in its place"
    )
    return provider, voice, (Notice("VOICE_REPLACED", message),)


def _select_default(providers: Sequence[SpeechProvider], text: str) -> tuple[SpeechProvider, Voice, tuple[Notice, ...]]:
    language = languages.language_of(text)
    name = _DEFAULTS.get(language, language)
    found = next(((provider, voice) for provider in providers if name and (voice := provider.voice(name))), None)
    if found is None:
        system = languages.system_name(languages.main_system(text))
        raise InvalidArgument(
            f"the script is written in {system} letters, which no available voice reads; write it in a language of "
            f"`GET /v1/voices`",
            reason="VOICE_LANGUAGE_MISMATCH",
        )
    provider, voice = found
    if voice.quality is Quality.UNINTELLIGIBLE:
        raise _unintelligible(voice, "the request names no voice")
    if name == DEFAULT_VOICE:
        return provider, voice, ()
    message = (
        f"the request names no voice, and the script appears to be in the language {language!r}: the voice {name} "
        f"speaks it"
    )
    return provider, voice, (Notice("VOICE_CHOSEN", message),)


def _unintelligible(voice: Voice, cause: str) -> InvalidArgument:
    own = voice.language.partition("-")[0]
    return InvalidArgument(
        f"{cause}, and the only available voice for its language is not intelligible ({voice.note}); request the voice "
        f"{own!r} to use it anyway",
        reason="VOICE_UNINTELLIGIBLE",
        violations=[Violation("voice", "is not intelligible")],
    )


def _mismatch(
    providers: Sequence[SpeechProvider], voice: Voice, text: Text, system: str, *, is_requested: bool
) -> InvalidArgument:
    names = list(dict.fromkeys(_names_of_readers(providers, system, text.text)))
    letters = languages.system_name(system)
    selected = f"the voice {voice.name}" if is_requested else f"the voice chosen for the whole script, {voice.name},"
    advice = f"take {', '.join(names[:_MAX_LISTED])}" if names else "no available voice reads them"
    description = f"is written in {letters} letters, which {selected} cannot read; {advice}"
    if is_requested and names:
        description += ", or name no voice"
    return InvalidArgument(
        f"{text.field}: {description}",
        reason="VOICE_LANGUAGE_MISMATCH",
        violations=[Violation(text.field, description)],
    )


def _names_of_readers(providers: Sequence[SpeechProvider], system: str, text: str) -> Iterator[str]:
    """The names of intelligible voices that read a writing system, the one for the text's language first."""
    language = languages.language_of(text)
    first = _DEFAULTS.get(language, language)
    voices = [voice for provider in providers for voice in provider.voices()]
    for voice in sorted(voices, key=lambda voice: (voice.name != first, len(voice.name), voice.name)):
        if system in languages.systems_of(voice.language) and voice.quality is not Quality.UNINTELLIGIBLE:
            yield voice.name
