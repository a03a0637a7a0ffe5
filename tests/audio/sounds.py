"""Sounds: make, read and measure them with tools that the service does not use."""

from __future__ import annotations

import re
import subprocess
import wave
from pathlib import Path

import numpy as np
import psutil
import pyloudnorm
from numpy.typing import NDArray

from tests.mesh import ffmpeg_program

RATE = 48_000

Sound = NDArray[np.float64]


def write(path: Path, sound: Sound) -> Path:
    """Write a mono WAV file, 48 kHz, 16 bit; `sound` is -1 to 1."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.round(sound * 32767).astype("<i2").tobytes())
    return path


def read(path: Path, channels: int) -> Sound:
    """Read a WAV file of 48 kHz and 16 bit, as samples x channels."""
    with wave.open(str(path), "rb") as file:
        assert (file.getframerate(), file.getsampwidth(), file.getnchannels()) == (RATE, 2, channels)
        data = file.readframes(file.getnframes())
    return np.frombuffer(data, "<i2").reshape(-1, channels) / 32768


def lufs(sound: Sound) -> float:
    """The integrated loudness, by pyloudnorm."""
    return float(pyloudnorm.Meter(RATE).integrated_loudness(sound))


def r128(path: Path) -> tuple[float, float]:
    """Integrated loudness and true peak, by the summary of ffmpeg's ebur128."""
    command: list[str | Path] = [
        ffmpeg_program(),
        "-hide_banner",
        "-nostats",
        "-i",
        path,
        "-af",
        "ebur128=peak=true",
        "-f",
        "null",
        "-",
    ]
    summary = subprocess.run(command, capture_output=True, text=True, check=True).stderr.rpartition("Summary:")[2]
    found = [float(value) for value in re.findall(r"(?:I|Peak): +(-?[0-9.]+|-inf)", summary)]
    return found[0], found[1]


def level(sound: Sound) -> float:
    """The level in dB."""
    return float(10 * np.log10(np.mean(sound**2) + 1e-12))


def band(sound: Sound, low: float, high: float) -> Sound:
    """The part of a sound between two frequencies in Hz."""
    spectrum = np.fft.rfft(sound, axis=0)
    frequency = np.fft.rfftfreq(len(sound), 1 / RATE)
    spectrum[(frequency < low) | (frequency > high)] = 0
    return np.asarray(np.fft.irfft(spectrum, len(sound), axis=0))


def programs() -> list[str]:
    """The command lines of the media programs that are children of this process."""
    running = []
    for child in psutil.Process().children():
        try:
            line = " ".join(child.cmdline())
        except psutil.Error:
            continue
        if "ffmpeg" in line or "espeak_child" in line:
            running.append(line)
    return running
