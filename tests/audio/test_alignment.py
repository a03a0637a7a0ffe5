"""Word times of sounds: neural speech with exact word times as the truth, aligned through espeak-ng.

`alignment/` has three sentences in each of six languages, spoken by Kokoro with silence between them. The word times
are the model's own: the sums of its frames of 25 ms before each word, less the constant by which its sound is ahead.
"""

from __future__ import annotations

import json
import subprocess
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from moneyprinter.errors import InvalidArgument
from services.audio import espeak
from services.audio.alignment.aligner import Aligner
from services.audio.alignment.features import Sound
from services.audio.alignment.warping import PAUSE, Chain, find_path
from services.audio.kokoro.assembly import SOUND_LEAD_SECONDS
from tests.audio.conftest import settings
from tests.mesh import ffmpeg_program

FOLDER = Path(__file__).parent / "alignment"
LOCALES = {"en": "en-US", "es": "es-ES", "fr": "fr-FR", "hi": "hi-IN", "it": "it-IT", "pt": "pt-BR"}
# The lead of the sound that the files were written with.
FILE_LEAD_SECONDS = 0.075
MEDIAN_SECONDS, OUTER_SECONDS = 0.04, 0.12
SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def aligner() -> Aligner:
    config, program = settings(), Path(ffmpeg_program())
    provider = espeak.open_espeak(config.espeak_library, config.espeak_data, config.words_per_minute, program)
    return Aligner(provider, program)


def decode(source: Path, target: Path, *filters: str) -> Path:
    chosen = ("-af", ",".join(filters)) if filters else ()
    command = (ffmpeg_program(), "-v", "error", "-i", source, *chosen, "-ar", "48000", "-ac", "1", target)
    subprocess.run(command, check=True)
    return target


def sentences(language: str) -> list[str]:
    return [sentence["text"] for sentence in json.loads((FOLDER / f"{language}.json").read_text())["sentences"]]


def true_onsets(language: str) -> np.ndarray:
    truth = json.loads((FOLDER / f"{language}.json").read_text())["sentences"]
    onsets = np.array([start for sentence in truth for _, start, _ in sentence["words"]])
    return onsets + FILE_LEAD_SECONDS - SOUND_LEAD_SECONDS


async def errors_of(aligner: Aligner, sound: Path, language: str, tempo: float = 1.0) -> np.ndarray:
    """The errors of the word onsets in seconds, in the tempo of the recording."""
    spoken = await aligner.align(sound, sentences(language), LOCALES[language])
    words = [word for sentence in spoken.sentences for word in sentence]
    assert all(word.start < word.end <= after.start for word, after in pairwise(words))
    assert words[-1].end <= spoken.duration
    onsets = np.array([word.start / SECOND for word in words])
    return np.asarray(onsets * tempo - true_onsets(language))


def check_bounds(errors: np.ndarray) -> None:
    assert np.median(np.abs(errors)) <= MEDIAN_SECONDS
    assert np.mean(np.abs(errors) <= OUTER_SECONDS) >= 0.95


@pytest.mark.parametrize("language", LOCALES)
async def test_words_are_found_in_a_voice_that_is_not_the_reference(
    aligner: Aligner, language: str, tmp_path: Path
) -> None:
    sound = decode(FOLDER / f"{language}.opus", tmp_path / "sound.wav")
    check_bounds(await errors_of(aligner, sound, language))
    assert [path.name for path in tmp_path.iterdir()] == ["sound.wav"]


@pytest.mark.parametrize("tempo", [0.6, 1.7])
async def test_words_are_found_at_another_tempo(aligner: Aligner, tempo: float, tmp_path: Path) -> None:
    sound = decode(FOLDER / "en.opus", tmp_path / "sound.wav", f"atempo={tempo}")
    check_bounds(await errors_of(aligner, sound, "en", tempo))


async def test_words_are_found_behind_pauses_and_noise(aligner: Aligner, tmp_path: Path) -> None:
    """8 s of silence before the first word, a narrow telephone band, and noise 25 dB below the voice."""
    filters = "highpass=300,lowpass=3400,adelay=8000,aeval=val(0)+0.005*(random(0)-0.5)"
    sound = decode(FOLDER / "es.opus", tmp_path / "sound.wav", filters)
    check_bounds(await errors_of(aligner, sound, "es") - 8.0)


async def test_a_recording_that_is_much_too_short_or_too_long_is_refused(aligner: Aligner, tmp_path: Path) -> None:
    sound = decode(FOLDER / "en.opus", tmp_path / "sound.wav")
    for text, action in ((sentences("en") * 4, "shorten the script"), (["The quick fox."], "give the whole text")):
        with pytest.raises(InvalidArgument, match=action) as refused:
            await aligner.align(sound, text, "en-US")
        assert refused.value.reason == "RECORDING_MISMATCHED"


def test_the_path_through_minutes_of_speech_is_near_the_truth() -> None:
    """Coarse steps come first: without them, the table would have 225 million cells."""
    generator = np.random.default_rng(5)
    count = 15_000
    features = generator.normal(0, 0.25, (count, 20)).astype(np.float32)
    features = np.cumsum(features, axis=0) - 0.98 * np.cumsum(features, axis=0)
    words = np.repeat(np.arange(count // 30), 30)
    words[::30] = PAUSE
    words[-1] = PAUSE
    # A recording that slows down and speeds up.
    true_states = np.clip(np.round(np.arange(count) + 900 * np.sin(2 * np.pi * np.arange(count) / count)), 0, count - 1)
    states = true_states.astype(np.int64)
    heard = features[states] + generator.normal(0, 0.02, (count, 20)).astype(np.float32)
    path = find_path(Sound(heard, np.ones(count, np.bool_)), Chain(features, words))
    assert np.percentile(np.abs(path.states - states), 99) <= 8
