"""Speech: say a script with the first provider that knows the voice, and keep what was said."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from moneyprinter.errors import InvalidArgument, NotFound
from services.audio import normalization, silence
from services.runtime.progress import OnProgress, ignore_progress, part_of

_VERSION = 4
"""Counts up when the same request would sound otherwise."""
_RATE = 48_000


class Quality(Enum):
    """How well a voice is understood."""

    NEURAL = "neural"
    """It sounds like a person."""
    ROBOTIC = "robotic"
    UNINTELLIGIBLE = "unintelligible"
    """Its listeners do not understand what it speaks."""


@dataclass(frozen=True)
class Voice:
    """A voice that a provider speaks with."""

    name: str
    """The name that it was asked for by."""
    language: str
    """BCP 47, for example `en-US`."""
    setting: str
    """What the provider calls it."""
    quality: Quality = Quality.ROBOTIC
    note: str = ""
    """Why it is unintelligible."""
    stands_in: bool = False
    """Whether the name is that of another provider's voice, which this one replaces."""


@dataclass(frozen=True)
class Word:
    """A word as it is written, with its time from the start of the narration."""

    text: str
    start: timedelta
    end: timedelta


@dataclass(frozen=True)
class Spoken:
    """What a provider has said."""

    duration: timedelta
    sentences: tuple[tuple[Word, ...], ...]


@dataclass(frozen=True)
class Speech:
    """A spoken script."""

    audio: Any
    """The stored sound: WAV, 48 kHz, mono, 16 bit."""
    spoken: Spoken
    provider: str


class Speaker(Protocol):
    """A provider of speech."""

    @property
    def name(self) -> str:
        """Who it is, for example `espeak`."""

    @property
    def version(self) -> str:
        """Changes when it would say the same text otherwise."""

    def voice(self, name: str) -> Voice | None:
        """The voice of that name; None when it does not know it."""

    def examples(self) -> Sequence[str]:
        """Some names of voices that it knows."""

    def voices(self) -> Sequence[Voice]:
        """A voice of each of its languages, in the order of their names."""

    async def speak(
        self, sentences: Sequence[str], voice: Voice, target: Path, on_progress: OnProgress = ignore_progress
    ) -> Spoken:
        """Write the sound (WAV, 48 kHz, mono, 16 bit) to `target`. Returns the words and their times."""


class Objects(Protocol):
    """Stored objects."""

    async def head(self, key: str) -> Any: ...

    async def put_file(self, key: str, path: Path) -> Any: ...

    async def put_bytes(self, key: str, data: bytes) -> Any: ...

    def get(self, key: str) -> AsyncIterator[bytes]: ...


def find_voice(speakers: Sequence[Speaker], name: str) -> tuple[Speaker, Voice]:
    """The first provider that knows a voice. Raises InvalidArgument, VOICE_UNKNOWN."""
    for speaker in speakers:
        if voice := speaker.voice(name):
            return speaker, voice
    known = ", ".join(example for speaker in speakers for example in speaker.examples())
    raise InvalidArgument(
        f"there is no voice {name!r}; there are {known} and others, which `GET /v1/voices` lists",
        reason="VOICE_UNKNOWN",
    )


async def synthesize(
    speaker: Speaker,
    voice: Voice,
    objects: Objects,
    sentences: Sequence[str],
    folder: Path,
    on_progress: OnProgress = ignore_progress,
) -> Speech:
    """Speak sentences, or find them as they were spoken before. Returns the speech.

    Nothing in it, nor its beginning or end, is silent for longer than 0.5 s.

    Raises InvalidArgument, SCRIPT_EMPTY, when no sentence holds a letter or digit.
    """
    lines = _lines(sentences)
    spec = json.dumps([_VERSION, speaker.name, speaker.version, voice.setting, lines])
    key = f"cache/audio/{hashlib.sha256(spec.encode()).hexdigest()}"
    if found := await _found(objects, key):
        return Speech(*found, speaker.name)
    target = folder / "speech.wav"
    said = await _spoken(speaker, voice, lines, target, on_progress)
    audio = await objects.put_file(f"{key}.wav", target)
    # The words come last: who finds them finds the sound.
    await objects.put_bytes(f"{key}.json", _written(said))
    return Speech(audio, said, speaker.name)


async def _found(objects: Objects, key: str) -> tuple[Any, Spoken] | None:
    """The sound and the words that were spoken before; None when either is gone."""
    if not await objects.head(f"{key}.json"):
        return None
    try:
        words = b"".join([chunk async for chunk in objects.get(f"{key}.json")])
    except NotFound:
        return None
    audio = await objects.head(f"{key}.wav")
    return (audio, _read(words)) if audio else None


async def say(speaker: Speaker, voice: Voice, sentences: Sequence[str], target: Path) -> Spoken:
    """Speak sentences as `synthesize` does, into the file `target` and nowhere else. Raises what it raises."""
    return await _spoken(speaker, voice, _lines(sentences), target)


def voices(speakers: Sequence[Speaker], language: str) -> list[tuple[Speaker, Voice]]:
    """The voices of a language or of all, in the order of their names, each of the first provider that has it."""
    wanted = language.lower()
    found: dict[str, tuple[Speaker, Voice]] = {}
    for speaker in speakers:
        for voice in speaker.voices():
            if not wanted or f"{voice.language.lower()}-".startswith(f"{wanted}-"):
                found.setdefault(voice.name, (speaker, voice))
    return [found[name] for name in sorted(found)]


def _lines(sentences: Sequence[str]) -> list[str]:
    """The sentences that are spoken, each on one line."""
    lines = [" ".join(sentence.split()) for sentence in sentences if sentence.strip()]
    if not any(character.isalnum() for line in lines for character in normalization.reading(line).text):
        raise InvalidArgument("the script holds nothing that can be spoken; write some words", reason="SCRIPT_EMPTY")
    return lines


async def _spoken(
    speaker: Speaker, voice: Voice, lines: Sequence[str], target: Path, on_progress: OnProgress = ignore_progress
) -> Spoken:
    """Speak lines into the file `target`. Returns the words and their times."""
    said = await speaker.speak(lines, voice, target, part_of(on_progress, 0, 0.95))
    return await asyncio.to_thread(_without_long_silences, target, said)


def _without_long_silences(target: Path, said: Spoken) -> Spoken:
    """What was said, after its silences of more than 0.5 s are shortened in the file `target`."""
    silences, samples = silence.shorten(target)
    if not silences:
        return said

    def moved(time: timedelta) -> timedelta:
        return timedelta(seconds=silence.moved(time / timedelta(seconds=1), silences, _RATE))

    sentences = tuple(
        tuple(Word(word.text, moved(word.start), moved(word.end)) for word in words) for words in said.sentences
    )
    return Spoken(timedelta(microseconds=samples * 1_000_000 // _RATE), sentences)


def _written(spoken: Spoken) -> bytes:
    def microseconds(time: timedelta) -> int:
        return time // timedelta(microseconds=1)

    sentences = [[(w.text, microseconds(w.start), microseconds(w.end)) for w in words] for words in spoken.sentences]
    return json.dumps({"duration": microseconds(spoken.duration), "sentences": sentences}).encode()


def _read(data: bytes) -> Spoken:
    found = json.loads(data)
    sentences = tuple(
        tuple(Word(text, timedelta(microseconds=start), timedelta(microseconds=end)) for text, start, end in words)
        for words in found["sentences"]
    )
    return Spoken(timedelta(microseconds=found["duration"]), sentences)
