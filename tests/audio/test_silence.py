"""Silence: long silences of a narration are shortened, and the times of its words follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from services.audio import silence, speech
from services.audio.espeak import Espeak
from services.audio.speech import SpokenText, Voice, Word
from services.runtime.progress import OnProgress, ignore_progress
from tests.audio.conftest import Folder
from tests.audio.sounds import RATE, Sound, read, write


@dataclass(frozen=True)
class Slow:
    """A provider that speaks each word as a tone of half a second, after a pause."""

    pauses: tuple[float, ...]
    """The pause before each word, and the one at the end, in seconds."""
    hiss: float = 0.002
    name: str = "slow"
    version: str = "1"

    def voice(self, name: str, language: str = "") -> Voice:
        return Voice(name, "en-US", name)

    def examples(self) -> Sequence[str]:
        return ()

    def voices(self) -> Sequence[Voice]:
        return ()

    async def speak(
        self, sentences: Sequence[str], voice: Voice, target: Path, on_progress: OnProgress = ignore_progress
    ) -> SpokenText:
        tone = 0.5 * np.sin(2 * np.pi * 500 * np.arange(RATE // 2) / RATE)
        sound, sentences_spoken, pauses = np.zeros(0), [], list(self.pauses)
        for sentence in sentences:
            words = []
            for text in sentence.split():
                sound = np.concatenate([sound, np.zeros(round(pauses.pop(0) * RATE)), tone])
                end = timedelta(seconds=len(sound) / RATE)
                words.append(Word(text, end - timedelta(seconds=0.5), end))
            sentences_spoken.append(tuple(words))
            on_progress(0.5)
        sound = np.concatenate([sound, np.zeros(round(pauses.pop(0) * RATE))])
        write(target, sound + self.hiss * np.random.default_rng(3).uniform(-1, 1, len(sound)))
        return SpokenText(timedelta(seconds=len(sound) / RATE), tuple(sentences_spoken))


async def synthesize(
    provider: Slow | Espeak, objects: Folder, folder: Path, *sentences: str
) -> tuple[SpokenText, Sound]:
    """Synthesize sentences. Returns the words with their times, and the sound."""
    voice = provider.voice("en-US")
    assert voice is not None
    made = await speech.synthesize(provider, voice, objects, sentences, folder)
    return made.spoken, read(objects.path(made.audio), 1)[:, 0]


def silences(sound: Sound, threshold: float) -> list[float]:
    """The lengths of the silences before, between and after the audible samples, in seconds."""
    heard = np.flatnonzero(np.abs(sound) > threshold)
    return [(after - before) / RATE for before, after in pairwise([0, *heard.tolist(), len(sound)])]


@pytest.mark.parametrize("hiss", [0.0, 0.002])
async def test_long_silences_are_shortened_and_words_are_moved(objects: Folder, tmp_path: Path, hiss: float) -> None:
    provider = Slow((2.0, 0.3, 1.5, 0.45, 9.0, 3.0), hiss)
    spoken, sound = await synthesize(provider, objects, tmp_path, "one two three", "four five")
    assert max(silences(sound, 0.01)) <= 0.5
    assert [word.text for sentence in spoken.sentences for word in sentence] == ["one", "two", "three", "four", "five"]
    assert spoken.duration.total_seconds() == pytest.approx(len(sound) / RATE, abs=1e-4)
    begins = np.flatnonzero(np.abs(sound) > 0.05) / RATE
    first = [float(begins[0]), *(float(after) for before, after in pairwise(begins) if after - before > 0.1)]
    words = [word for sentence in spoken.sentences for word in sentence]
    assert [word.start.total_seconds() for word in words] == pytest.approx(first, abs=0.012)
    assert [(word.end - word.start).total_seconds() for word in words] == pytest.approx([0.5] * 5, abs=0.012)
    # Short pauses are unchanged; long ones are 0.4 s.
    gaps = [(after.start - before.end).total_seconds() for before, after in pairwise(words)]
    assert gaps == pytest.approx([0.3, 0.4, 0.45, 0.4], abs=0.02)
    assert words[0].start.total_seconds() == pytest.approx(0.4, abs=0.012)
    # There is no click where a silence was cut.
    quiet = np.abs(sound) < 0.01
    assert np.abs(np.diff(sound))[quiet[1:] & quiet[:-1]].max() < 0.012


async def test_short_silences_are_unchanged(objects: Folder, tmp_path: Path) -> None:
    provider = Slow((0.1, 0.48, 0.4), 0.0)
    spoken, sound = await synthesize(provider, objects, tmp_path, "one two")
    assert len(sound) == round(1.98 * RATE)
    assert spoken.sentences[0][1].start == timedelta(seconds=1.08)


async def test_a_silent_word_keeps_its_place_and_some_time(provider: Espeak, objects: Folder, tmp_path: Path) -> None:
    spoken, sound = await synthesize(provider, objects, tmp_path, "Hello.", "***", "---", "Bye.")
    assert max(silences(sound, 0.01 * float(np.abs(sound).max()))) <= 0.5
    words = [word for sentence in spoken.sentences for word in sentence]
    assert [word.text for word in words] == ["Hello.", "***", "---", "Bye."]
    assert all(word.end - word.start > timedelta(milliseconds=50) for word in words)
    assert all(before.end <= after.start for before, after in pairwise(words))
    assert words[-1].end <= spoken.duration


def test_moved_times_keep_their_order() -> None:
    found = [silence.Silence(0, 48_000, 19_200), silence.Silence(96_000, 480_000, 19_200)]
    moments = [silence.move_time(n / 100, found, RATE) for n in range(1200)]
    assert all(before < after for before, after in pairwise(moments))
    assert moments[-1] == pytest.approx(11.99 - 0.6 - 7.6)
