"""espeak-ng: the provider of speech that needs no network. Only a child process loads its library."""

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
from services.audio import normalization, voices, word_alignment
from services.audio.speech import SpokenText, Voice, Word
from services.media.ffmpeg import QUIET
from services.runtime import children
from services.runtime.progress import OnProgress, ignore_progress

SOUND_RATE = 48_000
LEAD_SECONDS = 0.15
PAUSE_SECONDS = 0.35
TAIL_SECONDS = 0.3
# The duration of a sentence of which espeak-ng speaks nothing.
MUTE_SECONDS = 0.4

# A setting of 100 words per minute yields 114, measured on English texts.
_PACE = 0.88
_CHILD = Path(__file__).parent / "espeak_child.py"
_LIMITS = children.Limits(memory_bytes=2 << 30, cpu_seconds=240, file_bytes=1 << 20, open_files=64, wall_seconds=300)
_RESAMPLE_LIMITS = children.Limits(cpu_seconds=240, file_bytes=2 << 30, wall_seconds=300)
_EXAMPLES = ("en-US", "en-GB", "de-DE", "es-ES", "fr-FR", "pt-BR", "zh-CN")

# espeak-ng pauses at a full stop inside a sentence, such as after an abbreviation. Sentences are already separate.
_POINT = re.compile(
    r"(?:(?<=\b[A-Z])|(?<=\b(?:Dr|Mr|Ms|St|Mt|Lt|vs|No))|(?<=\b(?:Mrs|Gen|Col|Sgt|Rev|Hon|Fig))|(?<=\bProf))\.(?=\s)"
)
# espeak-ng reads the full stop of an ordinal number before a capital, `3. Oktober`, as the end of a sentence.
_ORDINAL = re.compile(r"(?<=\S\s)(\d{1,3}\.\s)(\w)")
# espeak-ng would speak the names of these signs, as in "asterisk asterisk".
_MUTE = str.maketrans(dict.fromkeys("*_`~|^\\{}<>#", " "))


@dataclass(frozen=True)
class Espeak:
    """espeak-ng, the provider `espeak`."""

    library: Path
    data: Path
    words_per_minute: int
    ffmpeg: Path
    languages: voices.Languages
    version: str
    name: str = "espeak"

    def voice(self, name: str, language: str = "") -> Voice | None:
        return voices.find_voice(self.languages, name)

    def examples(self) -> Sequence[str]:
        return _EXAMPLES

    def voices(self) -> Sequence[Voice]:
        return voices.list_voices(self.languages)

    async def speak(
        self, sentences: Sequence[str], voice: Voice, target: Path, on_progress: OnProgress = ignore_progress
    ) -> SpokenText:
        """Speak sentences with 0.35 s between them. Raises `Internal` (SPEECH_FAILED) when espeak-ng fails."""
        raw, synthesis = target.with_suffix(".raw"), _Synthesis()
        try:
            await children.retry_killed(lambda: self._synthesize(sentences, voice, raw, synthesis, on_progress))
            command = _resample_command(self.ffmpeg, raw, synthesis.rate, target)
            await children.run(command, limits=_RESAMPLE_LIMITS, folder=target.parent)
        except children.ChildFailed as failure:
            what = "the script could not be spoken"
            raise children.to_error(failure, what, Internal, reason="SPEECH_FAILED") from failure
        finally:
            raw.unlink(missing_ok=True)
        words = tuple(_to_words(sentence, synthesis.rate) for sentence in synthesis.sentences)
        return SpokenText(_duration(target), words)

    async def _synthesize(
        self, sentences: Sequence[str], voice: Voice, raw: Path, synthesis: _Synthesis, on_progress: OnProgress
    ) -> None:
        """Write the samples of the sentences to `raw`, and their words to `synthesis`."""
        pace = round(_PACE * self.words_per_minute)
        command = (sys.executable, "-I", "-S", _CHILD, self.library, self.data, voice.setting, str(pace))
        length = 0
        synthesis.sentences.clear()
        async with children.start(command, limits=_LIMITS, stdin=True) as child:
            # In a thread, because a sentence may be 20 minutes long.
            readings = await asyncio.to_thread(lambda: [normalization.normalize(sentence) for sentence in sentences])
            child.stdin.writelines(json.dumps(engine_text(reading)).encode() + b"\n" for reading in readings)
            child.stdin.write_eof()
            with raw.open("wb") as file:
                for number, (sentence, reading) in enumerate(zip(sentences, readings, strict=True)):
                    if (spoken := await _read_sentence(child)) is None:
                        break
                    synthesis.rate = spoken[0]
                    pause = PAUSE_SECONDS if number else LEAD_SECONDS
                    length += file.write(bytes(2 * round(pause * synthesis.rate))) // 2
                    words, samples = await asyncio.to_thread(_append, file, sentence, reading, spoken)
                    synthesis.sentences.append([(text, start + length, end + length) for text, start, end in words])
                    length += samples
                    on_progress(0.8 * (number + 1) / len(sentences))
                file.write(bytes(2 * round(TAIL_SECONDS * synthesis.rate)))
            await child.check_success()


@dataclass
class _Synthesis:
    """The sentences that espeak-ng has spoken so far."""

    rate: int = SOUND_RATE
    """Samples per second."""
    sentences: list[list[tuple[str, int, int]]] = field(default_factory=list)
    """The words of each sentence, with their first samples and the ones after their last."""


_Sentence = tuple[int, list[tuple[int, int]], NDArray[np.int16]]
"""The sample rate, the word events (sample, character) and the samples of a sentence."""


def _append(
    file: BinaryIO, sentence: str, reading: normalization.Reading, spoken: _Sentence
) -> tuple[list[tuple[str, int, int]], int]:
    """Write the audible samples of a sentence.

    Returns its words with their first samples and the ones after their last, and the number of written samples.
    """
    rate, events, pcm = spoken
    if len(pcm) < MUTE_SECONDS * rate:
        pcm = np.pad(pcm, (0, round(MUTE_SECONDS * rate) - len(pcm)))
    first, last = word_alignment.audible_range(pcm, rate)
    placed = [(sample, reading.place(at)) for sample, at in events]
    timed = word_alignment.align_words(sentence, placed, pcm, rate)
    return [(w.text, w.start - first, w.end - first) for w in timed], file.write(pcm[first:last].tobytes()) // 2


async def _read_sentence(child: children.Child) -> _Sentence | None:
    """The next sentence; None when the child has ended."""
    try:
        header = json.loads(await child.stdout.readuntil())
        samples = await child.stdout.readexactly(2 * header["samples"])
    except asyncio.IncompleteReadError:
        return None
    events = [(sample, character) for sample, character in header["words"]]
    return header["rate"], events, np.frombuffer(samples, np.int16)


def open_espeak(library: Path, data: Path, words_per_minute: int, ffmpeg_program: Path) -> Espeak:
    """Open espeak-ng. Raises `OSError` when its library or its data is missing.

    Args:
        library: The shared library.
        data: The folder with its languages and voices.
        words_per_minute: The pace of speech.
        ffmpeg_program: The program that resamples.
    """
    languages = voices.read_languages(data)
    digest = hashlib.sha256(library.read_bytes())
    digest.update(_CHILD.read_bytes())
    digest.update(str(round(_PACE * words_per_minute)).encode())
    return Espeak(library, data, words_per_minute, ffmpeg_program, languages, digest.hexdigest()[:16])


def engine_text(reading: normalization.Reading) -> str:
    """The text for espeak-ng, of the same length as the reading: signs that must not be spoken become blanks."""
    text = _ORDINAL.sub(lambda match: match[1] + _lower(match[2]), reading.text)
    return _POINT.sub(" ", text.translate(_MUTE))


def _lower(letter: str) -> str:
    return letter.lower() if len(letter.lower()) == 1 else letter


def _resample_command(program: Path, raw: Path, rate: int, target: Path) -> list[str]:
    """The command that resamples to 48 kHz, with an equalizer that makes the voice warmer and less harsh."""
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


def _to_words(sentence: Sequence[tuple[str, int, int]], rate: int) -> tuple[Word, ...]:
    def time(sample: int) -> timedelta:
        return timedelta(microseconds=sample * 1_000_000 // rate)

    return tuple(Word(text, time(start), time(end)) for text, start, end in sentence)
