"""Pacing: speed and pauses of a narration, and its words at the times at which they are heard."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from services.audio import speech
from services.audio.espeak import Espeak
from services.audio.pacing import Pacing, plan_pauses
from services.audio.silence import Silence
from services.audio.speech import SpokenText
from tests.audio.conftest import Folder
from tests.audio.sounds import RATE, Sound, level, read
from tests.mesh import ffmpeg_program

TALE = ["In the quiet hours, a baker kneads his dough.", "He dreams of the sea.", "...", "Then the sun comes up."]


async def speak(provider: Espeak, folder: Path, pacing: Pacing) -> tuple[SpokenText, Sound]:
    voice = provider.voice("en-US")
    assert voice is not None
    target = folder / "speech.wav"
    spoken = await speech.speak_to_file(provider, voice, TALE, target, pacing=pacing, program=ffmpeg_program())
    sound = read(target, 1)[:, 0]
    assert abs(spoken.duration / timedelta(seconds=1) * RATE - len(sound)) <= 1
    return spoken, sound


def gaps(spoken: SpokenText) -> list[float]:
    audible = [sentence for sentence in spoken.sentences if any(c.isalnum() for word in sentence for c in word.text)]
    return [(after[0].start - before[-1].end).total_seconds() for before, after in pairwise(audible)]


def check_places(spoken: SpokenText, sound: Sound, tolerance: float) -> None:
    """Each sentence is heard from its first word to its last, and the pauses are silent."""
    for sentence in spoken.sentences:
        if not any(character.isalnum() for word in sentence for character in word.text):
            continue
        first, last = (round(time.total_seconds() * RATE) for time in (sentence[0].start, sentence[-1].end))
        margin = round((tolerance + 0.01) * RATE)
        heard = np.flatnonzero(np.abs(sound[max(0, first - margin) : last + margin]) > 0.016 * np.abs(sound).max())
        assert abs(heard[0] + max(0, first - margin) - first) <= tolerance * RATE
        assert abs(heard[-1] + max(0, first - margin) - last) <= tolerance * RATE


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.3, 2.0])
async def test_words_stay_where_they_are_heard_at_any_speed(provider: Espeak, tmp_path: Path, speed: float) -> None:
    natural, _ = await speak(provider, tmp_path, Pacing())
    spoken, sound = await speak(provider, tmp_path, Pacing(speed))
    assert spoken.duration / natural.duration == pytest.approx(1 / speed, rel=0.02)
    # The tolerance of the voice's own times is 0.06 s, which the speed stretches.
    check_places(spoken, sound, 0.065 / min(speed, 1))
    words = [word for sentence in spoken.sentences for word in sentence]
    assert all(before.end <= after.start for before, after in pairwise(words))
    assert words[-1].end <= spoken.duration


@pytest.mark.parametrize(("pause", "speed"), [(0.1, 1.0), (0.9, 1.0), (2.5, 1.6)])
async def test_a_pause_has_the_requested_length(provider: Espeak, tmp_path: Path, pause: float, speed: float) -> None:
    spoken, sound = await speak(provider, tmp_path, Pacing(speed, sentence_pause=pause))
    assert gaps(spoken)[0] == pytest.approx(pause, abs=0.002)
    check_places(spoken, sound, 0.06)
    first, second = spoken.sentences[:2]
    middle = (first[-1].end + (second[0].start - first[-1].end) / 2).total_seconds()
    silent = sound[round((middle - 0.04) * RATE) : round((middle + 0.04) * RATE)]
    assert level(silent) < level(sound) - 30


async def test_a_scene_begins_after_its_own_pause(provider: Espeak, tmp_path: Path) -> None:
    spoken, sound = await speak(provider, tmp_path, Pacing(scene_pause=1.5, scene_lengths=(1, 3)))
    natural, _ = await speak(provider, tmp_path, Pacing())
    assert gaps(spoken)[0] == pytest.approx(1.5, abs=0.002)
    assert gaps(spoken)[1:] == pytest.approx(gaps(natural)[1:], abs=0.002)
    check_places(spoken, sound, 0.06)


def test_a_sentence_without_words_has_no_pause_of_its_own() -> None:
    spans = [(0.0, 1.0), None, (1.5, 2.0), (2.0, 3.0)]
    pauses = plan_pauses(spans, Pacing(sentence_pause=0.2, scene_pause=1.0, scene_lengths=(1, 2, 1)), 1000)
    assert pauses == [Silence(1000, 1500, 1000), Silence(2000, 2000, 1000)]
    assert plan_pauses(spans, Pacing(scene_pause=1.0), 1000) == []


async def test_each_pace_is_stored_for_itself(provider: Espeak, tmp_path: Path, objects: Folder) -> None:
    voice = provider.voice("en-US")
    assert voice is not None
    for pacing in (Pacing(), Pacing(sentence_pause=1.0), Pacing(), Pacing(sentence_pause=1.0)):
        made = await speech.synthesize(
            provider, voice, objects, TALE, tmp_path, pacing=pacing, program=ffmpeg_program()
        )
        assert (gaps(made.spoken)[0] > 0.9) == bool(pacing.sentence_pause)
    assert len(objects.puts) == 4
