"""espeak-ng: the provider that needs no network; a child process speaks, this process never loads it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import sys
import wave
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from moneyprinter.errors import Internal
from services.audio import normalization, timings, voices
from services.audio.speech import Spoken, Voice, Word
from services.media.ffmpeg import QUIET
from services.runtime import children
from services.runtime.progress import OnProgress, ignore_progress

SOUND_RATE = 48_000
LEAD_SECONDS = 0.15
PAUSE_SECONDS = 0.35
TAIL_SECONDS = 0.3
# So long a sentence takes of which espeak-ng says nothing.
MUTE_SECONDS = 0.4

# What espeak-ng calls 100 words a minute is 114 of them, measured on English texts.
_PACE = 0.88
_CHILD = Path(__file__).parent / "espeak_child.py"
_LIMITS = children.Limits(memory_bytes=2 << 30, cpu_seconds=240, file_bytes=1 << 20, open_files=64, wall_seconds=300)
_RESAMPLE_LIMITS = children.Limits(cpu_seconds=240, file_bytes=2 << 30, wall_seconds=300)
_EXAMPLES = ("en-US", "en-GB", "de-DE", "es-ES", "fr-FR", "pt-BR", "zh-CN")

# A point that ends no sentence makes espeak-ng pause; content has cut the sentences already.
_POINT = re.compile(
    r"(?:(?<=\b[A-Z])|(?<=\b(?:Dr|Mr|Ms|St|Mt|Lt|vs|No))|(?<=\b(?:Mrs|Gen|Col|Sgt|Rev|Hon|Fig))|(?<=\bProf))\.(?=\s)"
)
# Before a capital it takes the point of an ordinal number, `3. Oktober`, for the end of a sentence, and pauses.
_ORDINAL = re.compile(r"(?<=\S\s)(\d{1,3}\.\s)(\w)")
# It would name these signs, as in "asterisk asterisk".
_MUTE = str.maketrans(dict.fromkeys("*_`~|^\\{}<>#", " "))


@dataclass(frozen=True)
class Espeak:
    """espeak-ng, as the provider `espeak`."""

    library: Path
    data: Path
    words_per_minute: int
    ffmpeg: Path
    languages: voices.Languages
    version: str
    name: str = "espeak"

    def voice(self, name: str) -> Voice | None:
        return voices.find(self.languages, name)

    def examples(self) -> Sequence[str]:
        return _EXAMPLES

    def voices(self) -> Sequence[Voice]:
        return voices.every(self.languages)

    async def speak(
        self, sentences: Sequence[str], voice: Voice, target: Path, on_progress: OnProgress = ignore_progress
    ) -> Spoken:
        """Speak, with 0.35 s between sentences. Raises Internal, SPEECH_FAILED, when espeak-ng fails."""
        raw, said = target.with_suffix(".raw"), _Said()
        try:
            await children.retry_killed(lambda: self._synthesize(sentences, voice, raw, said, on_progress))
            command = _resample(self.ffmpeg, raw, said.rate, target)
            await children.run(command, limits=_RESAMPLE_LIMITS, folder=target.parent)
        except children.ChildFailed as failure:
            what = "the script could not be spoken"
            raise children.to_error(failure, what, Internal, reason="SPEECH_FAILED") from failure
        finally:
            raw.unlink(missing_ok=True)
        return Spoken(_duration(target), tuple(_words(sentence, said.rate) for sentence in said.sentences))

    async def _synthesize(
        self, sentences: Sequence[str], voice: Voice, raw: Path, said: _Said, on_progress: OnProgress
    ) -> None:
        """Write the samples of the sentences to `raw` and their words to `said`."""
        pace = round(_PACE * self.words_per_minute)
        command = (sys.executable, "-I", "-S", _CHILD, self.library, self.data, voice.setting, str(pace))
        length = 0
        said.sentences.clear()
        async with children.start(command, limits=_LIMITS, stdin=True) as child:
            # In threads, as what follows: a sentence may be 20 minutes long.
            readings = await asyncio.to_thread(lambda: [normalization.reading(sentence) for sentence in sentences])
            child.stdin.writelines(json.dumps(_told(reading)).encode() + b"\n" for reading in readings)
            child.stdin.write_eof()
            with raw.open("wb") as file:
                for number, (sentence, reading) in enumerate(zip(sentences, readings, strict=True)):
                    if (spoken := await _sentence(child)) is None:
                        break
                    said.rate = spoken[0]
                    length += file.write(bytes(2 * round((PAUSE_SECONDS if number else LEAD_SECONDS) * said.rate))) // 2
                    placed, samples = await asyncio.to_thread(_append, file, sentence, reading, spoken)
                    said.sentences.append([(text, start + length, end + length) for text, start, end in placed])
                    length += samples
                    on_progress(0.8 * (number + 1) / len(sentences))
                file.write(bytes(2 * round(TAIL_SECONDS * said.rate)))
            await child.succeeded()


@dataclass
class _Said:
    """What espeak-ng has said so far."""

    rate: int = SOUND_RATE
    """Samples a second."""
    sentences: list[list[tuple[str, int, int]]] = field(default_factory=list)
    """The words of each sentence, with their first and last samples."""


_Sentence = tuple[int, list[tuple[int, int]], NDArray[np.int16]]


def _append(
    file: BinaryIO, sentence: str, reading: normalization.Reading, spoken: _Sentence
) -> tuple[list[tuple[str, int, int]], int]:
    """Write what is heard of a sentence; its words with their first and last samples, and how many were written."""
    rate, words, pcm = spoken
    if len(pcm) < MUTE_SECONDS * rate:
        pcm = np.pad(pcm, (0, round(MUTE_SECONDS * rate) - len(pcm)))
    first, last = timings.heard(pcm, rate)
    events = [(sample, reading.place(at)) for sample, at in words]
    timed = timings.align(sentence, events, pcm, rate)
    return [(w.text, w.start - first, w.end - first) for w in timed], file.write(pcm[first:last].tobytes()) // 2


async def _sentence(child: children.Child) -> _Sentence | None:
    """The rate, words and samples of the next sentence; None when the child has ended."""
    try:
        header = json.loads(await child.stdout.readuntil())
        samples = await child.stdout.readexactly(2 * header["samples"])
    except asyncio.IncompleteReadError:
        return None
    words = [(sample, character) for sample, character in header["words"]]
    return header["rate"], words, np.frombuffer(samples, np.int16)


def open_espeak(library: Path, data: Path, words_per_minute: int, ffmpeg_program: Path) -> Espeak:
    """espeak-ng with its library and data. Raises OSError when they are not there."""
    languages = voices.read(data)
    digest = hashlib.sha256(library.read_bytes())
    digest.update(_CHILD.read_bytes())
    digest.update(str(round(_PACE * words_per_minute)).encode())
    return Espeak(library, data, words_per_minute, ffmpeg_program, languages, digest.hexdigest()[:16])


def _told(reading: normalization.Reading) -> str:
    """What espeak-ng is given, with as many characters: what is not meant to be read out is blank."""
    text = _ORDINAL.sub(lambda found: found[1] + _small(found[2]), reading.text)
    return _POINT.sub(" ", text.translate(_MUTE))


def _small(letter: str) -> str:
    return letter.lower() if len(letter.lower()) == 1 else letter


def _resample(program: Path, raw: Path, rate: int, target: Path) -> list[str]:
    """Bring the sound to 48 kHz, a little warmer and less harsh than the engine makes it."""
    sound = (
        ffmpeg.input(raw.name, f="s16le", ar=rate, ac=1)
        .filter("volume", "-4dB")
        .filter("highpass", f=60)
        .filter("equalizer", f=220, t="o", w=1.6, g=2)
        .filter("equalizer", f=4200, t="o", w=1.6, g=-3)
        .filter("aresample", SOUND_RATE, resampler="soxr", osf="s16")
        .output(target.name, acodec="pcm_s16le", ac=1, fflags="+bitexact", **{"flags:a": "+bitexact"})
    )
    return [str(program), *QUIET, *sound.get_args()]


def _duration(path: Path) -> timedelta:
    with wave.open(str(path), "rb") as file:
        return timedelta(microseconds=file.getnframes() * 1_000_000 // file.getframerate())


def _words(sentence: Sequence[tuple[str, int, int]], rate: int) -> tuple[Word, ...]:
    def time(sample: int) -> timedelta:
        return timedelta(microseconds=sample * 1_000_000 // rate)

    return tuple(Word(text, time(start), time(end)) for text, start, end in sentence)
