"""Choice: the voice that speaks some texts, and what of it differs from what was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from moneyprinter.errors import InvalidArgument, Violation
from services.audio import languages
from services.audio.speech import Quality, Speaker, Voice, find_voice

DEFAULT_VOICE = "en-US"
# The voices of languages that the list has under another name.
_DEFAULTS = {"en": DEFAULT_VOICE, "zh": "zh-CN", "pt": "pt-BR"}
# How many voices an error names.
_NAMED = 8


@dataclass(frozen=True)
class Text:
    """A text that is to be spoken."""

    field: str
    """The field of the request that it comes from."""
    text: str


@dataclass(frozen=True)
class Notice:
    """What differs from the request."""

    reason: str
    message: str


@dataclass(frozen=True)
class Choice:
    """The voice that speaks."""

    speaker: Speaker
    voice: Voice
    notices: tuple[Notice, ...] = ()


def choose(speakers: Sequence[Speaker], name: str, texts: Sequence[Text], title: Text | None = None) -> Choice:
    """The voice of a name, or the default voice of the language that the texts are written in.

    Args:
        speakers: The providers, in the order in which they are asked.
        name: The voice that was asked for; empty: none was.
        texts: What it is to speak.
        title: What it is to speak among sentences in its own language.

    Raises:
        InvalidArgument: VOICE_UNKNOWN, VOICE_LANGUAGE_MISMATCH when it cannot read a text, VOICE_UNINTELLIGIBLE when no
            voice of the language is understood and none was asked for by its own name.
    """
    whole = "\n".join(text.text for text in (*texts, *([title] if title else ())))
    speaker, voice, notices = _named(speakers, name) if name else _default(speakers, whole)
    for text in (*texts, *([title] if title else ())):
        if system := languages.unreadable(text.text, voice.language, is_title=text is title):
            raise _mismatch(speakers, voice, text, system, asked=bool(name))
    return Choice(speaker, voice, notices)


def _named(speakers: Sequence[Speaker], name: str) -> tuple[Speaker, Voice, tuple[Notice, ...]]:
    speaker, voice = find_voice(speakers, name)
    if voice.quality is Quality.UNINTELLIGIBLE:
        if voice.stands_in:
            raise _unintelligible(voice, f"{name!r} is a voice of another provider")
        return speaker, voice, (Notice("VOICE_UNINTELLIGIBLE", f"{voice.name} is not understood: {voice.note}"),)
    if not voice.stands_in:
        return speaker, voice, ()
    remark = (
        f"{name} is a voice of a provider that is not set up here; {speaker.name}'s voice for {voice.language} "
        f"({voice.quality.value}) speaks in its place"
    )
    return speaker, voice, (Notice("VOICE_REPLACED", remark),)


def _default(speakers: Sequence[Speaker], text: str) -> tuple[Speaker, Voice, tuple[Notice, ...]]:
    language = languages.language_of(text)
    name = _DEFAULTS.get(language, language)
    found = next(((speaker, voice) for speaker in speakers if name and (voice := speaker.voice(name))), None)
    if found is None:
        system = languages.named(languages.main_system(text))
        raise InvalidArgument(
            f"the script is written in {system} letters, which no voice at hand reads; write it in a language of "
            f"`GET /v1/voices`",
            reason="VOICE_LANGUAGE_MISMATCH",
        )
    speaker, voice = found
    if voice.quality is Quality.UNINTELLIGIBLE:
        raise _unintelligible(voice, "no voice was asked for")
    if name == DEFAULT_VOICE:
        return speaker, voice, ()
    remark = (
        f"no voice was asked for, and the script appears to be in the language {language!r}: the voice {name} speaks it"
    )
    return speaker, voice, (Notice("VOICE_CHOSEN", remark),)


def _unintelligible(voice: Voice, why: str) -> InvalidArgument:
    own = voice.language.partition("-")[0]
    return InvalidArgument(
        f"{why}, and the only one at hand for its language is not understood ({voice.note}); ask for the voice {own!r} "
        f"to have it all the same",
        reason="VOICE_UNINTELLIGIBLE",
        violations=[Violation("voice", "is not understood")],
    )


def _mismatch(speakers: Sequence[Speaker], voice: Voice, text: Text, system: str, *, asked: bool) -> InvalidArgument:
    fitting = list(dict.fromkeys(_fitting(speakers, system, text.text)))
    letters = languages.named(system)
    chosen = f"the voice {voice.name}" if asked else f"the voice chosen for the whole script, {voice.name},"
    advice = f"take {', '.join(fitting[:_NAMED])}" if fitting else "no voice at hand reads them"
    complaint = f"is written in {letters} letters, which {chosen} cannot read; {advice}"
    if asked and fitting:
        complaint += ", or name no voice"
    return InvalidArgument(
        f"{text.field}: {complaint}", reason="VOICE_LANGUAGE_MISMATCH", violations=[Violation(text.field, complaint)]
    )


def _fitting(speakers: Sequence[Speaker], system: str, text: str) -> Iterator[str]:
    """The names of voices that read a writing system and are understood, that of the text's language first."""
    language = languages.language_of(text)
    first = _DEFAULTS.get(language, language)
    listed = [voice for speaker in speakers for voice in speaker.voices()]
    for voice in sorted(listed, key=lambda voice: (voice.name != first, len(voice.name), voice.name)):
        if system in languages.systems(voice.language) and voice.quality is not Quality.UNINTELLIGIBLE:
            yield voice.name
