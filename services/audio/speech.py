"""Speech: speak a script with the first provider that has the voice, and store the result."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import wave
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from moneyprinter.errors import InvalidArgument, NotFound
from services.audio import normalization, silence
from services.audio.lexicon import Lexicon, Respelling
from services.audio.pacing import Pacing, change_speed, plan_pauses, write_pauses
from services.runtime.progress import OnProgress, ignore_progress, part_of

_VERSION = 4
"""Increases when the same request would sound different."""
_RATE = 48_000
NATURAL = Pacing()
"""The pace of the voice itself."""
NO_LEXICON = Lexicon({})
FFMPEG = Path("ffmpeg")


class Quality(Enum):
    """The quality of a voice."""

    NEURAL = "neural"
    """Sounds like a person."""
    ROBOTIC = "robotic"
    UNINTELLIGIBLE = "unintelligible"
    """Listeners do not understand the voice."""


@dataclass(frozen=True)
class Voice:
    """A voice of a provider."""

    name: str
    """The name under which the caller requested the voice."""
    language: str
    """BCP 47, for example `en-US`."""
    setting: str
    """The name of the voice at the provider."""
    quality: Quality = Quality.ROBOTIC
    note: str = ""
    """Why the voice is unintelligible."""
    is_substitute: bool = False
    """Whether the name is that of another provider's voice, which this voice replaces."""
    gender: str = ""
    """`female`, `male`, or empty: unknown, or neither."""
    style: str = ""
    """A word such as `calm`; empty: none."""
    languages: tuple[str, ...] = ()
    """The languages of a voice that speaks the language of its text; empty: it speaks only `language`."""


@dataclass(frozen=True)
class Word:
    """A word as it is written, with its times from the start of the narration."""

    text: str
    start: timedelta
    end: timedelta


@dataclass(frozen=True)
class SpokenText:
    """The words of a narration with their times."""

    duration: timedelta
    """The length of the narration."""
    sentences: tuple[tuple[Word, ...], ...]
    """The words of each sentence."""
    characters: int = 0
    """The characters that the provider charged for; 0 when it charges nothing."""


@dataclass(frozen=True)
class Speech:
    """A spoken script."""

    audio: Any
    """The stored sound: WAV, 48 kHz, mono, 16 bit."""
    spoken: SpokenText
    provider: str
    characters: int = 0
    """The characters that the provider charged for; 0 when it is the result of an earlier request, or was free."""


class SpeechProvider(Protocol):
    """A provider of speech."""

    @property
    def name(self) -> str:
        """The name of the provider, for example `espeak`."""

    @property
    def version(self) -> str:
        """Changes when the same text would sound different."""

    def voice(self, name: str, language: str = "") -> Voice | None:
        """The voice of a name, or the one nearest to it; None when the provider has none.

        `language` is that of the text, for voices that speak several.
        """

    def examples(self) -> Sequence[str]:
        """The names of some voices, for error messages."""

    def voices(self) -> Sequence[Voice]:
        """A voice of each language, in the order of their names."""

    async def speak(
        self, sentences: Sequence[str], voice: Voice, target: Path, on_progress: OnProgress = ignore_progress
    ) -> SpokenText:
        """Speak sentences into the file `target` (WAV, 48 kHz, mono, 16 bit). Returns the words and their times.

        Raises `Internal` (SPEECH_FAILED) or `ProviderFailure` when the provider fails.
        """


class Objects(Protocol):
    """The object store."""

    async def head(self, key: str) -> Any: ...

    async def put_file(self, key: str, path: Path) -> Any: ...

    async def put_bytes(self, key: str, data: bytes) -> Any: ...

    def get(self, key: str) -> AsyncIterator[bytes]: ...


def find_voices(
    providers: Sequence[SpeechProvider], name: str, language: str = ""
) -> list[tuple[SpeechProvider, Voice]]:
    """The voices of a name, in the order in which they are tried: the named voice itself, then its substitutes.

    A name such as `espeak:en-US` names the provider, too: then only the providers after it have substitutes.

    Args:
        providers: The providers, in order of preference.
        name: The requested voice.
        language: The language of the text, for voices that speak several.

    Raises `InvalidArgument` (VOICE_UNKNOWN) when no provider has a voice for the name.
    """
    chosen, _, own = name.rpartition(":")
    names = [provider.name for provider in providers]
    first = names.index(chosen) if chosen in names else len(names) if chosen else 0
    found = [
        (provider, replace(voice, name=name))
        for provider in providers[first:]
        if (voice := provider.voice(own, language))
    ]
    if found and chosen in ("", found[0][0].name):
        # Stable: the order of the providers stays.
        return sorted(found, key=lambda entry: (entry[0].name != chosen, entry[1].is_substitute))
    examples = ", ".join(example for provider in providers for example in provider.examples())
    raise InvalidArgument(
        f"there is no voice {name!r}; there are {examples} and others, which `GET /v1/voices` lists",
        reason="VOICE_UNKNOWN",
    )


def find_voice(providers: Sequence[SpeechProvider], name: str) -> tuple[SpeechProvider, Voice]:
    """The first of `find_voices`. Raises `InvalidArgument` (VOICE_UNKNOWN) when no provider has the voice."""
    return find_voices(providers, name)[0]


async def synthesize(
    provider: SpeechProvider,
    voice: Voice,
    objects: Objects,
    sentences: Sequence[str],
    folder: Path,
    on_progress: OnProgress = ignore_progress,
    *,
    pacing: Pacing = NATURAL,
    lexicon: Lexicon = NO_LEXICON,
    program: Path = FFMPEG,
) -> Speech:
    """Speak sentences and store the sound, or return the stored result of an equal request.

    No silence in the sound is longer than 0.5 s, but for the pauses of the pacing.

    Args:
        provider: The provider of the voice.
        voice: The voice.
        objects: The object store.
        sentences: The sentences, with their punctuation.
        folder: The folder of temporary files.
        on_progress: Receives the progress, from 0 to 1.
        pacing: The speed and the pauses.
        lexicon: What is spoken for some words.
        program: The ffmpeg program, which changes the speed.

    Raises `InvalidArgument` (SCRIPT_EMPTY) when no sentence has a letter or digit, and what `SpeechProvider.speak`
    raises.
    """
    lines = await asyncio.to_thread(_prepare_lines, sentences, lexicon)
    key = await asyncio.to_thread(_make_key, provider, voice, lines, pacing)
    if stored := await find_stored(objects, key):
        return Speech(*stored, provider.name)
    target = folder / "speech.wav"
    spoken = await _speak_lines(provider, voice, lines, target, on_progress, pacing, program)
    audio = await store_spoken(objects, key, target, spoken)
    return Speech(audio, spoken, provider.name, spoken.characters)


async def store_spoken(objects: Objects, key: str, sound: Path, spoken: SpokenText) -> Any:
    """Store a sound and its words under a key, for `find_stored`. Returns the stored sound."""
    audio = await objects.put_file(f"{key}.wav", sound)
    # The words are stored after the sound, so that the sound exists whenever the words do.
    await objects.put_bytes(f"{key}.json", await asyncio.to_thread(_encode, spoken))
    return audio


async def find_stored(objects: Objects, key: str) -> tuple[Any, SpokenText] | None:
    """The stored sound and its words; None when either is missing."""
    if not await objects.head(f"{key}.json"):
        return None
    try:
        words = b"".join([chunk async for chunk in objects.get(f"{key}.json")])
    except NotFound:
        return None
    audio = await objects.head(f"{key}.wav")
    return (audio, await asyncio.to_thread(_decode, words)) if audio else None


async def speak_to_file(
    provider: SpeechProvider,
    voice: Voice,
    sentences: Sequence[str],
    target: Path,
    *,
    pacing: Pacing = NATURAL,
    lexicon: Lexicon = NO_LEXICON,
    program: Path = FFMPEG,
) -> SpokenText:
    """Speak sentences as `synthesize` does, into the file `target`, and store nothing. Raises what it raises."""
    lines = await asyncio.to_thread(_prepare_lines, sentences, lexicon)
    return await _speak_lines(provider, voice, lines, target, pacing=pacing, program=program)


def list_voices(
    providers: Sequence[SpeechProvider], language: str, gender: str = "", provider: str = ""
) -> list[tuple[SpeechProvider, Voice]]:
    """The voices of a language in the order of their names, each with the first provider that has it.

    A voice of several languages is in the lists of all of them.

    Args:
        providers: The providers, in order of preference.
        language: A BCP 47 tag or its beginning, such as `en`; empty: all languages.
        gender: `female` or `male`; empty: any.
        provider: The name of a provider; empty: all.
    """
    prefix = language.lower()
    voices: dict[str, tuple[SpeechProvider, Voice]] = {}
    for source in providers:
        for voice in source.voices():
            tags = (voice.language, *voice.languages)
            is_spoken = not prefix or any(f"{tag.lower()}-".startswith(f"{prefix}-") for tag in tags)
            if is_spoken and gender in ("", voice.gender):
                voices.setdefault(voice.name, (source, voice))
    return [voices[name] for name in sorted(voices) if provider in ("", voices[name][0].name)]


def to_lines(sentences: Sequence[str]) -> list[str]:
    """The sentences that are not blank, each on one line.

    Raises `InvalidArgument` (SCRIPT_EMPTY) when no sentence has a letter or digit.
    """
    lines = [" ".join(sentence.split()) for sentence in sentences if sentence.strip()]
    if not any(character.isalnum() for line in lines for character in normalization.normalize(line).text):
        raise InvalidArgument("the script holds nothing that can be spoken; write some words", reason="SCRIPT_EMPTY")
    return lines


@dataclass(frozen=True)
class _Lines:
    """The sentences of a narration, each on one line."""

    written: list[str]
    respelled: list[Respelling]
    """Each as it is spoken; empty when the lexicon changes none."""

    @property
    def spoken(self) -> list[str]:
        """The text of each for the voice."""
        return [each.text for each in self.respelled] or self.written


# The functions below that take a whole script run in threads: a script of 100,000 characters takes over 50 ms.


def _prepare_lines(sentences: Sequence[str], lexicon: Lexicon) -> _Lines:
    """The sentences as they are spoken. Raises what `to_lines` raises."""
    written = to_lines(sentences)
    respelled = [lexicon.respell(line) for line in written] if lexicon else []
    return _Lines(written, respelled if [each.text for each in respelled] != written else [])


def _make_key(provider: SpeechProvider, voice: Voice, lines: _Lines, pacing: Pacing) -> str:
    """The key under which the result of a request is stored."""
    further: list[Any] = [asdict(pacing)] if pacing != NATURAL else []
    further += [lines.spoken] if lines.respelled else []
    spec = json.dumps([_VERSION, provider.name, provider.version, voice.setting, lines.written, *further])
    return f"cache/audio/{hashlib.sha256(spec.encode()).hexdigest()}"


async def _speak_lines(
    provider: SpeechProvider,
    voice: Voice,
    lines: _Lines,
    target: Path,
    on_progress: OnProgress = ignore_progress,
    pacing: Pacing = NATURAL,
    program: Path = FFMPEG,
) -> SpokenText:
    """Speak lines into the file `target`. Returns the words and their times."""
    spoken = await provider.speak(lines.spoken, voice, target, part_of(on_progress, 0, 0.95))
    if lines.respelled:
        spoken = await asyncio.to_thread(restore_words, lines.respelled, spoken)
    spoken = await asyncio.to_thread(_shorten_silences, target, spoken)
    if pacing.speed != 1:
        await change_speed(program, target, pacing.speed)
        spoken = await asyncio.to_thread(_divide_times, target, spoken, pacing.speed)
    return await asyncio.to_thread(_change_pauses, target, spoken, pacing) if pacing.has_pauses else spoken


def restore_words(respelled: Sequence[Respelling], spoken: SpokenText) -> SpokenText:
    """Return the written words of a narration with the times of what was spoken for them."""
    sentences = [
        respelling.restore([(word.text, word.start, word.end) for word in words])
        for respelling, words in zip(respelled, spoken.sentences, strict=True)
    ]
    return replace(spoken, sentences=tuple(tuple(itertools.starmap(Word, words)) for words in sentences))


def _divide_times(target: Path, spoken: SpokenText, speed: float) -> SpokenText:
    """The words of a narration that became `speed` times as fast."""
    with wave.open(str(target), "rb") as file:
        samples = file.getnframes()
    return _move_words(spoken, samples, lambda seconds: seconds / speed)


def _change_pauses(target: Path, spoken: SpokenText, pacing: Pacing) -> SpokenText:
    """Change the pauses between sentences in the file `target`, and move the words accordingly."""
    second = timedelta(seconds=1)
    spans = [(words[0].start / second, words[-1].end / second) if words else None for words in spoken.sentences]
    pauses = plan_pauses(spans, pacing, _RATE)
    samples = write_pauses(target, pauses)
    return _move_words(spoken, samples, lambda seconds: silence.move_time(seconds, pauses, _RATE))


def _shorten_silences(target: Path, spoken: SpokenText) -> SpokenText:
    """Shorten silences of more than 0.5 s in the file `target`, and move the words accordingly."""
    silences, samples = silence.shorten_silences(target)
    if not silences:
        return spoken

    return _move_words(spoken, samples, lambda seconds: silence.move_time(seconds, silences, _RATE))


def _move_words(spoken: SpokenText, samples: int, move: Callable[[float], float]) -> SpokenText:
    """The words of a narration of another length, whose times in seconds `move` converts."""
    duration = timedelta(microseconds=samples * 1_000_000 // _RATE)

    def moved(time: timedelta) -> timedelta:
        return min(timedelta(seconds=move(time / timedelta(seconds=1))), duration)

    sentences = tuple(
        tuple(Word(word.text, moved(word.start), moved(word.end)) for word in words) for words in spoken.sentences
    )
    return replace(spoken, duration=duration, sentences=sentences)


def _encode(spoken: SpokenText) -> bytes:
    def microseconds(time: timedelta) -> int:
        return time // timedelta(microseconds=1)

    sentences = [[(w.text, microseconds(w.start), microseconds(w.end)) for w in words] for words in spoken.sentences]
    return json.dumps({"duration": microseconds(spoken.duration), "sentences": sentences}).encode()


def _decode(data: bytes) -> SpokenText:
    document = json.loads(data)
    sentences = tuple(
        tuple(Word(text, timedelta(microseconds=start), timedelta(microseconds=end)) for text, start, end in words)
        for words in document["sentences"]
    )
    return SpokenText(timedelta(microseconds=document["duration"]), sentences)
