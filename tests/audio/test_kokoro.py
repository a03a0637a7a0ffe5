"""The neural voice: its sound, the times of its words, and its voices."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from services.audio import export, speech
from services.audio.draft_voice import select_draft_voice
from services.audio.espeak import Espeak
from services.audio.kokoro import assembly, phonemes, provider, voices
from services.audio.kokoro.synthesizer import FRAME_SAMPLES
from services.audio.mastering import VoiceChain
from services.audio.speech import Quality
from services.audio.voice_selection import Text, select_voice
from tests.audio.conftest import Folder
from tests.audio.kokoro import RATE, decibels, open_kokoro, read_sound, requires_model
from tests.mesh import ffmpeg_program

pytestmark = requires_model

SCRIPT = [
    "Photographs of thin fish, and a boat.",
    "In 1898, the north paid!",
    "Why not?",
]


@pytest.fixture(scope="module")
async def kokoro(kokoro_cache: Path) -> AsyncIterator[provider.Kokoro]:
    opened = open_kokoro(kokoro_cache)
    yield opened
    await opened.synthesizer.stop()


@pytest.fixture(scope="module")
async def narration(
    kokoro: provider.Kokoro, tmp_path_factory: pytest.TempPathFactory
) -> tuple[speech.SpokenText, Path, list[float]]:
    """A narration of SCRIPT, its file, and its progress."""
    voice = kokoro.voice("en-US")
    assert voice
    path, progress = tmp_path_factory.mktemp("narration") / "speech.wav", list[float]()
    return await kokoro.speak(SCRIPT, voice, path, progress.append), path, progress


Narration = tuple[speech.SpokenText, Path, list[float]]


def test_the_sound_is_as_long_as_a_person_speaks_and_as_loud(narration: Narration) -> None:
    spoken, path, _ = narration
    sound = read_sound(path)
    assert len(sound) / RATE == pytest.approx(spoken.duration.total_seconds(), abs=0.001)
    letters = sum(character.isalpha() for sentence in SCRIPT for character in sentence)
    assert 0.05 < len(sound) / RATE / letters < 0.14
    assert -30 < decibels(sound, 0, len(sound) / RATE) < -15
    assert 0.2 < np.abs(sound).max() < 0.99


def test_words_are_the_written_ones_in_order(narration: Narration) -> None:
    spoken, _, _ = narration
    assert [[word.text for word in sentence] for sentence in spoken.sentences] == [line.split() for line in SCRIPT]
    words = [word for sentence in spoken.sentences for word in sentence]
    assert all(word.start < word.end for word in words)
    assert all(before.end <= after.start for before, after in pairwise(words))


@pytest.mark.parametrize("name", ["en-US-Heart", "en-GB-George"])
async def test_the_sound_of_a_word_begins_at_its_time(kokoro: provider.Kokoro, tmp_path: Path, name: str) -> None:
    voice = kokoro.voice(name)
    assert voice
    spoken = await kokoro.speak(["Dogs, today, keep."], voice, tmp_path / "speech.wav")
    sound = read_sound(tmp_path / "speech.wav")
    for word in spoken.sentences[0]:
        start = word.start.total_seconds()
        before = min(decibels(sound, step, step + 0.01) for step in np.arange(start - 0.07, start - 0.02, 0.01))
        assert decibels(sound, start, start + 0.03) > before + 8, word


def test_a_sentence_ends_where_its_sound_does(narration: Narration) -> None:
    spoken, path, _ = narration
    sound = read_sound(path)
    for sentence in spoken.sentences:
        end = sentence[-1].end.total_seconds()
        assert decibels(sound, end - 0.2, end - 0.05) > -45
        assert decibels(sound, end + 0.1, end + 0.2) < -55


def test_pauses_between_sentences_are_even_and_the_sound_begins_with_silence(narration: Narration) -> None:
    spoken, path, _ = narration
    sound = read_sound(path)
    assert decibels(sound, 0, 0.12) < -55
    assert 0.15 <= spoken.sentences[0][0].start.total_seconds() < 0.4
    for before, after in pairwise(spoken.sentences):
        assert 0.3 <= (after[0].start - before[-1].end).total_seconds() <= 0.7


def silences(sound: NDArray[np.float64], start: float, end: float) -> list[float]:
    """The lengths of the silences of at least 0.15 s in a range of seconds."""
    step = 0.01
    quiet = [decibels(sound, at, at + step) < -50 for at in np.arange(start, end - step, step)]
    runs = "".join(" " if each else "x" for each in quiet).split("x")
    return [len(run) * step for run in runs if len(run) * step >= 0.15]


def test_there_is_one_pause_between_sentences_and_no_breath_in_it(narration: Narration) -> None:
    spoken, path, _ = narration
    sound = read_sound(path)
    for before, after in pairwise(spoken.sentences):
        start, end = before[-1].start.total_seconds(), after[0].end.total_seconds()
        [pause] = silences(sound, start, end)
        assert 0.25 <= pause <= 0.6


async def test_the_first_syllable_stays_in_the_file_that_a_client_gets(narration: Narration, tmp_path: Path) -> None:
    spoken, path, _ = narration
    onset = spoken.sentences[0][0].start.total_seconds()
    wav = tmp_path / "speech.wav"
    wav.write_bytes(path.read_bytes())
    samples = len(read_sound(wav))
    for name in ("wav", "mp3"):
        made = await export.export_speech(ffmpeg_program(), wav, name, -16, samples, VoiceChain.FULL)
        decoded = tmp_path / "decoded.wav"
        command = [str(ffmpeg_program()), "-loglevel", "error", "-y", "-i", str(made), str(decoded)]
        await asyncio.to_thread(subprocess.run, command, check=True)
        sound = read_sound(decoded)
        assert decibels(sound, 0, onset - 0.06) < -45, "silence leads"
        heard = decibels(sound, onset, onset + 0.03)
        assert heard > decibels(sound, onset, onset + 0.3) - 25, "the onset is heard within 30 ms"
        assert heard > decibels(sound, 0, onset - 0.06) + 12


def test_progress_grows_with_each_sentence(narration: Narration) -> None:
    *_, progress = narration
    assert progress == pytest.approx([0.3, 0.6, 0.9])


async def test_the_frames_of_the_tokens_sum_to_the_whole_sound_and_no_token_is_cut(kokoro: provider.Kokoro) -> None:
    [[chunk]] = await phonemes.convert_sentences(kokoro.espeak_library, kokoro.espeak_data, "gmw/en-US", ["Fish swim."])
    tokens = [phonemes.vocabulary()[token] for token in chunk.tokens]
    utterance = await kokoro.synthesizer.synthesize("af_heart", tokens, 1.0)
    assert len(utterance.frames) == len(tokens) + 2
    assert sum(utterance.frames) * FRAME_SAMPLES == len(utterance.pcm)
    pcm, spans = assembly.trim(chunk, utterance)
    # The energy that is lost at the ends is that of silence.
    lost = np.sum(utterance.pcm.astype(float) ** 2) - np.sum(pcm.astype(float) ** 2)
    assert abs(lost) < 1e-3 * np.sum(utterance.pcm.astype(float) ** 2)
    assert min(start for start, _ in spans.values()) >= 0
    assert max(end for _, end in spans.values()) <= len(pcm)


@pytest.mark.parametrize(
    ("name", "text"),
    [("en-GB-George", "It rains."), ("es-ES", "Llueve."), ("fr-FR", "Il pleut."),
     ("hi-IN", "बारिश है।"), ("it-IT-Nicola", "Piove."), ("pt-BR", "Está bom.")],
)  # fmt: skip
async def test_each_language_speaks(kokoro: provider.Kokoro, tmp_path: Path, name: str, text: str) -> None:
    voice = kokoro.voice(name)
    assert voice
    spoken = await kokoro.speak([text], voice, tmp_path / "speech.wav")
    sound = read_sound(tmp_path / "speech.wav")
    [words] = spoken.sentences
    first, last = words[0].start.total_seconds(), words[-1].end.total_seconds()
    assert 0.05 < (last - first) / len(text.replace(" ", "")) < 0.16
    assert -32 < decibels(sound, first, last) < -10
    assert np.abs(sound).max() < 0.99


async def test_text_of_another_alphabet_is_silence_and_does_not_fail(kokoro: provider.Kokoro, tmp_path: Path) -> None:
    voice = kokoro.voice("en-US")
    assert voice
    spoken = await kokoro.speak(["漢字 Привет 🎉"], voice, tmp_path / "speech.wav")
    assert [len(sentence) for sentence in spoken.sentences] == [4]
    assert 0.5 < spoken.duration.total_seconds() < 1.5


async def test_an_equal_request_is_answered_from_the_store(
    kokoro: provider.Kokoro, objects: Folder, tmp_path: Path
) -> None:
    voice = kokoro.voice("en-US")
    assert voice
    first = await speech.synthesize(kokoro, voice, objects, ["Yes."], tmp_path)
    puts = len(objects.puts)
    assert await speech.synthesize(kokoro, voice, objects, ["Yes."], tmp_path) == first
    assert (len(objects.puts), first.provider) == (puts, "kokoro")


def test_another_pace_is_another_version(kokoro: provider.Kokoro, tmp_path: Path) -> None:
    assert open_kokoro(tmp_path).version == kokoro.version
    assert open_kokoro(tmp_path, words_per_minute=200).version != kokoro.version


def test_there_are_at_least_12_speakers_of_both_genders() -> None:
    names = [f"{speaker.locale}-{speaker.name}" for speaker in voices.SPEAKERS]
    assert len(set(names)) == len(names) >= 12
    for locale in ("en-US", "en-GB", "es-ES", "hi-IN", "it-IT", "pt-BR"):
        assert {speaker.is_male for speaker in voices.SPEAKERS if speaker.locale == locale} == {True, False}
    with np.load(Path(voices.__file__).parent / "voices.npz") as styles:
        assert set(styles) == {speaker.style for speaker in voices.SPEAKERS}
        assert all(style.shape == (510, 256) and np.isfinite(style).all() for style in styles.values())


@pytest.mark.parametrize(
    ("name", "style"),
    [
        *(("en-US", "af_heart"), ("en", "af_heart"), ("en_gb", "bf_emma"), ("en-AU", "bf_emma"), ("en-CA", "af_heart")),
        *(("es", "ef_dora"), ("es-MX", "ef_dora"), ("pt", "pf_dora"), ("fr-CA", "ff_siwis"), ("af_heart", "af_heart")),
        *(("en-US-Michael", "am_michael"), ("EN-gb-george", "bm_george"), ("it-IT-GiuseppeNeural", "if_sara")),
        *(("en-US-GuyNeural", "am_"), ("en-US-Standard-C", "af_"), ("en-GB-RyanNeural", "bm_")),
        *(("es-ES-AlvaroNeural", "em_alex"), ("en-US-Chirp3-HD-Aoede", "af_"), ("fr-FR-HenriNeural", "ff_siwis")),
    ],
)
def test_names_of_voices(name: str, style: str) -> None:
    voice = voices.find_voice(name)
    assert voice
    assert voice.setting.partition("+")[2].startswith(style)
    assert voice.quality is Quality.NEURAL
    assert voice.is_substitute is ("Neural" in name or "Standard" in name or "Chirp" in name)


@pytest.mark.parametrize("name", ["de-DE", "pt-PT", "ja-JP", "zh-CN", "", "nobody", "en-US-Nobody", "en-Cyrl"])
def test_names_that_other_providers_may_have(name: str) -> None:
    assert voices.find_voice(name) is None


@pytest.mark.parametrize(
    ("name", "text", "spoken"),
    [
        *(("", "The weather is fine.", "en-US"), ("en-GB", "Fine.", "en-GB"), ("es-ES-Dora", "Hola.", "es-ES")),
        *(("af_heart", "Fine.", "en-US"), ("en-US-GuyNeural", "Fine.", "en-US-GuyNeural")),
    ],
)
def test_espeak_speaks_a_draft_in_the_language_of_the_voice(
    kokoro: provider.Kokoro, provider: Espeak, name: str, text: str, spoken: str
) -> None:
    providers: list[speech.SpeechProvider] = [kokoro, provider]
    texts = [Text("audio.script", text)]
    assert select_voice(providers, name, texts).provider is kokoro
    selection = select_draft_voice(providers, name, texts)
    # The orchestrator synthesizes with the name in the answer.
    source, voice = speech.find_voice(providers, selection.voice.name)
    assert (source, selection.provider, voice.quality) == (provider, provider, Quality.ROBOTIC)
    assert (voice.name, voice.setting) == (f"espeak:{spoken}", selection.voice.setting)


def test_the_list_of_voices_prefers_the_neural_ones(kokoro: provider.Kokoro, provider: Espeak) -> None:
    found = {voice.name: source.name for source, voice in speech.list_voices([kokoro, provider], "")}
    assert [found[name] for name in ("en-US", "en-US-Heart", "es-ES")] == ["kokoro"] * 3
    assert found["de"] == "espeak"
    spanish = {voice.name for _, voice in speech.list_voices([kokoro, provider], "es")}
    assert {"es-ES", "es-ES-Dora", "es-ES-Alex"} <= spanish
