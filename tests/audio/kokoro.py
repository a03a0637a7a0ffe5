"""The neural voice in tests: a provider with the model of the installed packages."""

from __future__ import annotations

import wave
from dataclasses import replace
from pathlib import Path

import espeakng_loader
import numpy as np
import pytest
from numpy.typing import NDArray

from services.audio.kokoro import provider
from services.audio.kokoro.synthesizer import SynthesizerSettings
from services.embedded import binaries
from tests.mesh import ffmpeg_program

RATE = 48_000
MODEL = tuple(binaries.kokoro_model())
SETTINGS = SynthesizerSettings(model=MODEL, cache=None, threads=2, memory_bytes=4 << 30, idle_seconds=60.0)
requires_model = pytest.mark.skipif(not MODEL, reason="the packages of the neural voice are not installed")


def open_kokoro(cache: Path, words_per_minute: int = 165, **changes: object) -> provider.Kokoro:
    """A provider with an optimized model in a folder, and changed settings."""
    settings = replace(SETTINGS, cache=cache, **changes)  # type: ignore[arg-type]
    library, data = Path(espeakng_loader.get_library_path()), Path(espeakng_loader.get_data_path())
    return provider.open_kokoro(settings, library, data, words_per_minute, ffmpeg_program())


def read_sound(path: Path) -> NDArray[np.float64]:
    """The samples of a WAV file, from -1 to 1."""
    with wave.open(str(path), "rb") as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), np.int16) / 32768


def decibels(sound: NDArray[np.float64], start: float, end: float) -> float:
    """The loudness of a range of seconds, in dB below full scale."""
    section = sound[round(max(0.0, start) * RATE) : round(end * RATE)]
    return float(20 * np.log10(np.sqrt(np.mean(section**2)) + 1e-6))
