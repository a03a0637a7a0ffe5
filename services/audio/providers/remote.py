"""Remote speech: a provider of speech that speaks each sentence with calls of an external provider.

All calls of a narration use one voice. When one fails, the narration fails, so that another provider speaks all of it.
"""

from __future__ import annotations

import asyncio
import wave
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from moneyprinter.errors import Error
from services.audio import word_alignment
from services.audio.alignment.aligner import Aligner
from services.audio.providers.decoding import RATE, decode_speech
from services.audio.providers.engine import Engine, Passage, Sound
from services.audio.providers.voice_mapping import (
    RemoteVoice,
    describe_name,
    find_nearest,
    primary,
    to_voice,
)
from services.audio.speech import Quality, SpokenText, Voice, Word
from services.audio.word_alignment import TimedWord
from services.providers.failures import FailureKind, ProviderFailure
from services.providers.usage import record_usage
from services.runtime.progress import OnProgress, ignore_progress
from services.runtime.tasks import task_group

log = structlog.get_logger()

LEAD_SECONDS = 0.15
PAUSE_SECONDS = 0.35
TAIL_SECONDS = 0.3
# The duration of a sentence without letters and digits.
MUTE_SECONDS = 0.4
# An alignment that leaves a sentence by more is wrong.
_TOLERANCE = timedelta(seconds=0.3)
# A call that fails in one of these ways is repeated once: one lost connection shall not change the voice of a video.
_REPEATED = (FailureKind.UNAVAILABLE, FailureKind.TIMEOUT)

Pcm = NDArray[np.int16]


@dataclass(frozen=True)
class RemoteSpeech:
    """An external provider of speech."""

    name: str
    engine: Engine
    ffmpeg: Path
    known_voices: Callable[[], Sequence[RemoteVoice]]
    """The voices of all external providers, by which the name of another provider's voice is described."""
    aligner: Aligner | None = None
    """Finds the words in the sound of a provider that returns no word times; None: they share it by their length."""
    is_own: bool = False
    """Whether it is called with a key of the account, which it charges, and not the deployment."""

    @property
    def version(self) -> str:
        return f"1 {self.engine.version}"

    def voice(self, name: str, language: str = "") -> Voice | None:
        """The provider's own voice of a name, else the nearest one to what the name describes."""
        if own := self.engine.own_voice(name):
            return to_voice(name, own, _language_of(own, language), is_substitute=False)
        wanted = describe_name(name, self.known_voices(), language)
        nearest = find_nearest(self.engine.voices, wanted) if wanted else None
        if wanted is None or nearest is None:
            return None
        spoken = wanted.language if len(nearest.languages) > 1 else nearest.languages[0]
        return to_voice(name, nearest, spoken, is_substitute=not wanted.is_locale)

    def examples(self) -> Sequence[str]:
        return tuple(voice.title or voice.name for voice in self.engine.voices[:2])

    def voices(self) -> Sequence[Voice]:
        return tuple(
            to_voice(voice.title or voice.name, voice, voice.languages[0], is_substitute=False)
            for voice in self.engine.voices
        )

    async def speak(
        self, sentences: Sequence[str], voice: Voice, target: Path, on_progress: OnProgress = ignore_progress
    ) -> SpokenText:
        """Speak sentences with 0.35 s between them. Raises `ProviderFailure` when a call fails."""
        narration = _Narration(target)
        running: deque[asyncio.Task[tuple[Pcm, list[TimedWord]]]] = deque()

        async def write_first() -> None:
            pcm, words = await running.popleft()
            await asyncio.to_thread(narration.append, pcm, words)
            on_progress(len(narration.sentences) / len(sentences))

        with narration:
            async with task_group() as tasks:
                for number in range(len(sentences)):
                    running.append(tasks.create_task(self._speak_sentence(sentences, number, voice, target)))
                    if len(running) >= self.engine.calls_at_once:
                        await write_first()
                while running:
                    await write_first()
        spoken = narration.finish()
        if self.aligner and not self.engine.returns_times(voice):
            spoken = await self._find_words(self.aligner, sentences, voice, target, spoken)
        return replace(spoken, characters=sum(map(len, sentences)))

    async def _find_words(
        self, aligner: Aligner, sentences: Sequence[str], voice: Voice, target: Path, spoken: SpokenText
    ) -> SpokenText:
        """Find the words by a reference; where it cannot, return those in `spoken`, which share the sound."""
        try:
            reference = await asyncio.to_thread(aligner.voice, voice.language)
            if reference.quality is Quality.UNINTELLIGIBLE:
                return spoken
            aligned = await aligner.align(target, sentences, voice.language)
        except Error as failure:
            log.warning("words not aligned", provider=self.name, reason=failure.reason)
            return spoken
        pairs = zip(spoken.sentences, aligned.sentences, strict=True)
        return replace(spoken, sentences=tuple(_take_times(words, better) for words, better in pairs))

    async def _speak_sentence(
        self, sentences: Sequence[str], number: int, voice: Voice, target: Path
    ) -> tuple[Pcm, list[TimedWord]]:
        """The audible samples of a sentence, and its words."""
        pcms: list[Pcm] = []
        words: list[TimedWord] = []
        before = sentences[number - 1] if number else ""
        after = sentences[number + 1] if number + 1 < len(sentences) else ""
        for part, text in enumerate(split_text(sentences[number], self.engine.max_bytes)):
            path = target.with_name(f"{target.stem}-{number}-{part}")
            pcm, timed = await self._speak_passage(Passage(text, before, after), voice, path)
            offset = sum(map(len, pcms))
            words += [replace(word, start=word.start + offset, end=word.end + offset) for word in timed]
            pcms.append(pcm)
        return await asyncio.to_thread(np.concatenate, pcms), words

    async def _speak_passage(self, passage: Passage, voice: Voice, path: Path) -> tuple[Pcm, list[TimedWord]]:
        text = passage.text
        if any(map(str.isalnum, text)):
            sound = await self._call(passage, voice)
            try:
                pcm = await decode_speech(self.ffmpeg, self.name, sound.data, text, path)
            except ProviderFailure as failure:
                self.engine.client.breaker.record_failure(failure)
                raise
        else:
            sound, pcm = Sound(b""), np.zeros(round(MUTE_SECONDS * RATE), np.int16)
        return await asyncio.to_thread(self._align, text, sound, pcm)

    def _align(self, text: str, sound: Sound, pcm: Pcm) -> tuple[Pcm, list[TimedWord]]:
        first, last = word_alignment.audible_range(pcm, RATE)
        events = [(round(seconds * RATE), place) for seconds, place in sound.events]
        words = word_alignment.align_words(text, events, pcm, RATE)
        return pcm[first:last], [replace(word, start=word.start - first, end=word.end - first) for word in words]

    async def _call(self, passage: Passage, voice: Voice) -> Sound:
        try:
            sound = await self.engine.synthesize(passage, voice)
        except ProviderFailure as failure:
            if failure.kind not in _REPEATED or failure.retry_after:
                raise
            sound = await self.engine.synthesize(passage, voice)
        # Also counted when a later call of the narration fails: the provider has charged for this one.
        record_usage(self.name, "characters", len(passage.text))
        return sound


class _Narration:
    """The file of a narration, to which sentences are appended."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._samples = 0
        self.sentences: list[tuple[Word, ...]] = []

    def __enter__(self) -> None:
        self._file = wave.open(str(self._target), "wb")
        self._file.setnchannels(1)
        self._file.setsampwidth(2)
        self._file.setframerate(RATE)

    def __exit__(self, *_: object) -> None:
        self._pause(TAIL_SECONDS)
        self._file.close()

    def append(self, pcm: Pcm, words: Sequence[TimedWord]) -> None:
        """Append a pause and a sentence."""
        self._pause(PAUSE_SECONDS if self.sentences else LEAD_SECONDS)
        first = self._samples
        self.sentences.append(tuple(Word(w.text, _time(first + w.start), _time(first + w.end)) for w in words))
        self._file.writeframesraw(pcm.tobytes())
        self._samples += len(pcm)

    def finish(self) -> SpokenText:
        """The words of the finished file."""
        return SpokenText(_time(self._samples), tuple(self.sentences))

    def _pause(self, seconds: float) -> None:
        samples = round(seconds * RATE)
        self._file.writeframesraw(bytes(2 * samples))
        self._samples += samples


def split_text(text: str, max_bytes: int) -> list[str]:
    """Split a text at blanks, else between characters, into parts of at most `max_bytes` in UTF-8."""
    return list(_split(text, max_bytes))


def _split(text: str, max_bytes: int) -> Iterator[str]:
    while len(text.encode()) > max_bytes:
        fitting = len(text.encode()[:max_bytes].decode(errors="ignore"))
        blank = text.rfind(" ", 1, fitting)
        cut = blank if blank > 0 else fitting
        yield text[:cut].strip()
        text = text[cut:].strip()
    yield text


def _take_times(words: tuple[Word, ...], aligned: tuple[Word, ...]) -> tuple[Word, ...]:
    """The aligned times of a sentence, within its exact bounds; the former ones where the alignment is wrong."""
    if not words or [word.text for word in words] != [word.text for word in aligned]:
        return words
    first, last = words[0].start, words[-1].end
    if aligned[0].start < first - _TOLERANCE or aligned[-1].end > last + _TOLERANCE:
        return words
    return tuple(Word(word.text, max(first, word.start), min(last, word.end)) for word in aligned)


def _language_of(voice: RemoteVoice, language: str) -> str:
    """The language that a voice speaks: that of the text, when it is one of the voice's several languages."""
    speaks = any(primary(tag) == primary(language) for tag in voice.languages)
    return language if len(voice.languages) > 1 and language and speaks else voice.languages[0]


def _time(samples: int) -> timedelta:
    return timedelta(microseconds=samples * 1_000_000 // RATE)
