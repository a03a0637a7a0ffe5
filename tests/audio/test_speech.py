"""Speech: espeak-ng's voice, the times of words, and cancellation without leftovers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from moneyprinter.errors import Internal, InvalidArgument
from services.audio import speech
from services.audio.espeak import Espeak
from services.audio.speech import Speech, SpokenText, Voice
from tests.audio.conftest import Folder
from tests.audio.sounds import RATE, Sound, level, programs, read
from tests.progress import after_first_report

TALE = [
    "In the quiet hours before dawn, when the city still sleeps, a baker kneads his dough.",
    "He dreams of the sea that he left behind many years ago.",
    "It costs $3,500.75, or 50% off!",
]


async def speak(provider: Espeak, sentences: list[str], voice: str, folder: Path) -> tuple[SpokenText, Sound]:
    """Speak sentences. Returns the words with their times, and the sound."""
    found = provider.voice(voice)
    assert found is not None
    fractions: list[float] = []
    spoken = await provider.speak(sentences, found, folder / "speech.wav", fractions.append)
    assert fractions == sorted(fractions) and len(fractions) == len(sentences) and fractions[-1] <= 1
    return spoken, read(folder / "speech.wav", 1)[:, 0]


def found(provider: Espeak, name: str = "en-US") -> Voice:
    voice = provider.voice(name)
    assert voice is not None
    return voice


def at(time: timedelta) -> int:
    return round(time / timedelta(seconds=1) * RATE)


def loud(sound: Sound) -> NDArray[np.intp]:
    """The audible samples: within 36 dB of the loudest one."""
    return np.flatnonzero(np.abs(sound) > 0.016 * np.abs(sound).max())


async def test_words_are_timed_where_they_are_heard(provider: Espeak, tmp_path: Path) -> None:
    spoken, sound = await speak(provider, TALE, "en-US", tmp_path)
    assert [" ".join(word.text for word in sentence) for sentence in spoken.sentences] == TALE
    assert abs(at(spoken.duration) - len(sound)) <= 1
    previous = 0
    for sentence in spoken.sentences:
        first, last = at(sentence[0].start), at(sentence[-1].end)
        # The sound of a sentence begins with its first word and ends with its last, after a silence.
        gap = sound[previous:first]
        assert level(gap) < level(sound) - 35
        begins, *_, ends = loud(sound[first : last + RATE // 8]) + first
        assert abs(begins - first) <= 0.04 * RATE
        assert abs(ends - last) <= 0.06 * RATE
        previous = last
        for word in sentence:
            assert level(sound[at(word.start) : at(word.end)]) > level(sound) - 25
    assert loud(sound)[0] / RATE == pytest.approx(0.15, abs=0.03)
    words = [word for sentence in spoken.sentences for word in sentence]
    assert all(word.start < word.end for word in words)
    assert all(before.end <= after.start for before, after in pairwise(words))
    assert words[-1].end <= spoken.duration


async def test_sentences_have_pauses_and_a_natural_pace(provider: Espeak, tmp_path: Path) -> None:
    spoken, _ = await speak(provider, TALE[:2], "en-US", tmp_path)
    pause = spoken.sentences[1][0].start - spoken.sentences[0][-1].end
    assert pause.total_seconds() == pytest.approx(0.35, abs=0.02)
    assert 145 <= sum(map(len, spoken.sentences)) / (spoken.duration / timedelta(minutes=1)) <= 180


@pytest.mark.parametrize(
    ("voice", "sentence", "number", "word"),
    [("de-DE", "Der 3. Oktober ist da.", "3.", "Oktober"), ("nb", "Den 3. Oktober er her.", "3.", "Oktober")],
)
async def test_an_ordinal_number_makes_no_pause(
    provider: Espeak, tmp_path: Path, voice: str, sentence: str, number: str, word: str
) -> None:
    spoken, _ = await speak(provider, [sentence], voice, tmp_path)
    words = {each.text: each for each in spoken.sentences[0]}
    assert words[word].start - words[number].end < timedelta(seconds=0.1)
    # An ordinal has one syllable more.
    cardinal, _ = await speak(provider, [sentence.replace("3.", "3")], voice, tmp_path)
    assert spoken.duration < cardinal.duration + timedelta(seconds=0.15)


async def test_a_comma_is_a_pause_that_belongs_to_no_word(provider: Espeak, tmp_path: Path) -> None:
    spoken, _ = await speak(provider, ["Take in the light, the movement."], "en-US", tmp_path)
    words = {word.text: word for word in spoken.sentences[0]}
    assert words["light,"].end < words["movement."].start - timedelta(seconds=0.15)


@pytest.mark.parametrize(
    ("voice", "sentence", "words"),
    [
        ("en-US", "Dr. Smith *loves* 🎉 e-mail — & tea.", 8),
        ("en-US", "😀 hi", 2),
        ("zh-CN", "你好，世界。", 4),
        ("ja-JP", "こんにちは、世界。", 7),
        ("de-DE", "Ein schöner Tag, nicht wahr?", 5),
        ("en-US", "{\\b1}<break time='9s'/> [[hello]] & done", 5),
        ("en-US", "你好 مرحبا नमस्ते", 4),
        ("en-US", "a\x00b \x1b[31m c", 3),
    ],
)
async def test_every_word_gets_a_time(provider: Espeak, tmp_path: Path, voice: str, sentence: str, words: int) -> None:
    spoken, sound = await speak(provider, [sentence], voice, tmp_path)
    (found,) = spoken.sentences
    assert len(found) == words
    assert "".join(word.text for word in found) == sentence.replace(" ", "")
    assert all(before.end <= after.start for before, after in pairwise(found))
    assert all(word.end - word.start >= timedelta(milliseconds=20) for word in found)
    assert at(found[-1].end) <= len(sound)
    assert spoken.duration < timedelta(seconds=8), "it read out what it should not"


async def test_a_sentence_of_signs_is_a_short_silence(provider: Espeak, tmp_path: Path) -> None:
    spoken, sound = await speak(provider, ["Hello.", "***", "Bye."], "en-US", tmp_path)
    (stars,) = spoken.sentences[1]
    assert (stars.end - stars.start).total_seconds() == pytest.approx(0.4, abs=0.01)
    assert level(sound[at(stars.start) : at(stars.end)]) < -60


async def test_men_and_women_sound_different(provider: Espeak, tmp_path: Path) -> None:
    pitches = []
    for voice in ("en-US", "en-US-JennyNeural"):
        _, sound = await speak(provider, ["Many men and women are moving."], voice, tmp_path)
        frames = sound[: len(sound) // 2400 * 2400].reshape(-1, 2400)
        voiced = frames[np.square(frames).mean(axis=1) > np.square(sound).mean()] * np.hanning(2400)
        # The autocorrelation is highest after one period.
        alike = np.fft.irfft(np.abs(np.fft.rfft(voiced, 9600)) ** 2)[:, RATE // 350 : RATE // 65]
        pitches.append(float(np.median(RATE / (RATE // 350 + np.argmax(alike, axis=1)))))
    assert pitches[0] < 140 < pitches[1]


async def test_a_script_is_spoken_once_and_reused(provider: Espeak, objects: Folder, tmp_path: Path) -> None:
    async def made(sentences: list[str], voice: str = "en-US") -> Speech:
        return await speech.synthesize(provider, found(provider, voice), objects, sentences, tmp_path)

    first = await made(TALE)
    assert (first.provider, len(objects.puts)) == ("espeak", 2)
    assert await made(TALE) == first
    assert await made([f" {TALE[0]}\n", "", *TALE[1:]]) == first
    assert len(objects.puts) == 2
    assert (await made(TALE, "en-US-JennyNeural")).audio != first.audio
    assert (await made(TALE[:2])).audio != first.audio


@pytest.mark.parametrize("sentences", [["***"], [" ", "?!"], ["🎉"], ["—", "\x00"]])
async def test_a_script_without_words_is_refused(
    provider: Espeak, objects: Folder, tmp_path: Path, sentences: list[str]
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await speech.synthesize(provider, found(provider), objects, sentences, tmp_path)
    assert refused.value.reason == "SCRIPT_EMPTY"


async def test_a_broken_engine_is_reported(provider: Espeak, objects: Folder, tmp_path: Path) -> None:
    broken = replace(provider, library=tmp_path / "missing.so")
    with pytest.raises(Internal, match="could not be spoken") as failed:
        await speech.synthesize(broken, found(provider), objects, TALE, tmp_path)
    assert failed.value.reason == "SPEECH_FAILED"
    assert objects.puts == []


async def test_a_cancelled_synthesis_stops_the_child(provider: Espeak, objects: Folder, tmp_path: Path) -> None:
    voice = found(provider)
    async with after_first_report(
        lambda on_progress: speech.synthesize(provider, voice, objects, TALE * 400, tmp_path, on_progress)
    ):
        assert any("espeak_child" in line for line in programs())
    assert programs() == []
    assert objects.puts == []
