"""Aligner: find the times of the words of a text in the sound of any voice.

The text is spoken by a provider with known word times, and its sound is matched to the given one (`warping`). That
finds the words of providers without word times, and of recordings in which a person reads the text.
"""

from __future__ import annotations

import json
import sys
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import ffmpeg

from moneyprinter.errors import Internal, InvalidArgument
from services.audio import speech
from services.audio.alignment import features
from services.audio.loudness import process_sound
from services.audio.speech import SpeechProvider, SpokenText, Voice, Word
from services.media.ffmpeg import report_failures
from services.runtime import children
from services.runtime.progress import OnProgress, ignore_progress, part_of

VERSION = 1
"""Increases when the same recording would get other word times."""

_CHILD = "services.audio.alignment.align_child"
_LIMITS = children.Limits(memory_bytes=2 << 30, cpu_seconds=240, file_bytes=1 << 20, open_files=64, wall_seconds=480)
# People read a text up to 1.7 times as fast as the reference, or 0.6 times. Beyond these factors of the time that is
# spoken, the sound has not the words of the text. Short texts vary more.
_LEAST_SPEECH, _MOST_SPEECH = 0.4, 2.4
_TOLERANCE_SECONDS = 1.0


@dataclass(frozen=True)
class Aligner:
    """Finds the times of words in sounds."""

    provider: SpeechProvider
    """Speaks the reference, with word times."""
    ffmpeg: Path

    @property
    def version(self) -> str:
        """Changes when the same sound would get other word times."""
        return f"{VERSION} {self.provider.name} {self.provider.version}"

    def voice(self, language: str) -> Voice:
        """The voice of the reference. Raises `InvalidArgument` (VOICE_UNKNOWN) when no voice speaks the language."""
        return speech.find_voice([self.provider], language)[1]

    async def align(
        self, sound: Path, sentences: Sequence[str], language: str, on_progress: OnProgress = ignore_progress
    ) -> SpokenText:
        """Find the times of the words of sentences.

        Args:
            sound: A WAV file in which a voice speaks the sentences. Files are made in its folder, and removed.
            sentences: The sentences, in order, without blank ones.
            language: The language, BCP 47.
            on_progress: Receives the progress, from 0 to 1.

        Raises `InvalidArgument` (RECORDING_MISMATCHED) when the sound plainly has not these words, and what
        `SpeechProvider.speak` raises.
        """
        folder, stem = sound.parent, sound.stem
        reference = folder / f"{stem}-reference.wav"
        raw = [folder / f"{stem}-sound.s16", folder / f"{stem}-reference.s16"]
        spans = folder / f"{stem}-words.json"
        try:
            spoken = await self.provider.speak(sentences, self.voice(language), reference, part_of(on_progress, 0, 0.5))
            for source, target in zip((sound, reference), raw, strict=True):
                await self._to_samples(source, target)
            second = timedelta(seconds=1)
            words = [(w.start / second, w.end / second) for w in chain.from_iterable(spoken.sentences)]
            spans.write_text(json.dumps(words))
            report = await _run_child(raw[0], raw[1], spans)
        finally:
            for file in (reference, *raw, spans):
                file.unlink(missing_ok=True)
        on_progress(1.0)
        _check_length(report)
        return _place_words(spoken, report["words"], _duration(sound))

    async def _to_samples(self, source: Path, target: Path) -> None:
        """Convert a WAV file to the samples that the child reads."""
        samples = ffmpeg.input(source.name, f="wav").output(target.name, f="s16le", ar=features.RATE, ac=1)
        await process_sound(self.ffmpeg, samples, seconds=1.0, folder=source.parent)


async def _run_child(recording: Path, reference: Path, words: Path) -> Mapping[str, Any]:
    """Run the child, and return what it prints."""
    command = (sys.executable, "-I", "-m", _CHILD, recording, reference, words)
    with report_failures("the words could not be found in the sound", Internal, reason="SPEECH_FAILED"):
        report: Mapping[str, Any] = json.loads(await children.run(command, limits=_LIMITS, folder=words.parent))
    return report


def _check_length(report: Mapping[str, Any]) -> None:
    """Raise `InvalidArgument` when the sound has much less or much more speech than the words take."""
    found, expected = report["speech"], report["expected"]
    if found < _LEAST_SPEECH * expected - _TOLERANCE_SECONDS or report["words"] is None:
        complaint = "shorten the script, or record all of it"
    elif found > _MOST_SPEECH * expected + _TOLERANCE_SECONDS:
        complaint = "give the whole text that is spoken, or cut the recording"
    else:
        return
    raise InvalidArgument(
        f"the recording has {found:.0f} s of speech, and the script takes about {expected:.0f} s; {complaint}",
        reason="RECORDING_MISMATCHED",
    )


def _place_words(spoken: SpokenText, times: Sequence[tuple[float, float]], duration: timedelta) -> SpokenText:
    """The words of the reference at other times, none behind the end."""
    remaining = iter(times)

    def place(word: Word) -> Word:
        start, end = (min(duration, timedelta(milliseconds=round(1000 * seconds))) for seconds in next(remaining))
        return Word(word.text, start, end)

    return SpokenText(duration, tuple(tuple(map(place, sentence)) for sentence in spoken.sentences))


def _duration(sound: Path) -> timedelta:
    with wave.open(str(sound), "rb") as file:
        return timedelta(microseconds=file.getnframes() * 1_000_000 // file.getframerate())
