"""The voice chain: less rumble, no sharper sibilants than the voice has, no moved words, no clipping."""

from __future__ import annotations

import resource
import subprocess
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from moneyprinter.audio.v1 import audio_service_pb2 as pb
from services.audio import mastering, mix
from services.audio.mastering import VoiceChain
from services.audio.messages import from_mix_request
from services.media.ffmpeg import ffmpeg_version
from tests.audio.conftest import Folder
from tests.audio.sounds import RATE, Sound, band, lufs, r128, read, write
from tests.mesh import ffmpeg_program

SECONDS = 12
VOICES = Path(__file__).parent / "alignment"


def voice(language: str, folder: Path) -> Path:
    """The neural voice's narration of a language, at the level of a provider."""
    path = folder / f"{language}.wav"
    command: list[str | Path] = [
        ffmpeg_program(),
        "-loglevel",
        "error",
        "-i",
        VOICES / f"{language}.opus",
        "-t",
        f"{SECONDS}",
    ]
    subprocess.run([*command, "-ac", "1", "-ar", f"{RATE}", "-acodec", "pcm_s16le", path], check=True)
    return path


def process(path: Path, chain: VoiceChain) -> tuple[Sound, float]:
    """The processed voice, and the CPU seconds for each second of it."""
    target = path.with_name("processed.wav")
    gain = -18 - lufs(read(path, 1)[:, 0])
    sound = mastering.even_out(path.name, gain, chain).filter("volume", "-9dB").output(target.name, acodec="pcm_s16le")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([ffmpeg_program(), "-loglevel", "error", "-y", *sound.get_args()], check=True, cwd=path.parent)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    return read(target, 1)[:, 0], seconds / SECONDS


def share(sound: Sound, low: float, high: float) -> float:
    """The share of a band in a sound, in dB."""
    return float(10 * np.log10(np.mean(band(sound, low, high) ** 2) / np.mean(sound**2)))


def shift_seconds(before: Sound, after: Sound) -> float:
    """By how much a sound was moved, by the maximum of the cross-correlation."""
    size = 2 * len(before)
    spectrum = np.fft.rfft(after, size) * np.conj(np.fft.rfft(before, size))
    peak = int(np.argmax(np.fft.irfft(spectrum, size)))
    return (peak - size if peak > size // 2 else peak) / RATE


@pytest.mark.parametrize("language", ["en", "es", "fr", "pt"])
def test_the_chain_improves_the_voice(language: str, tmp_path: Path) -> None:
    path = voice(language, tmp_path)
    raw = read(path, 1)[:, 0]
    compressed, _ = process(path, VoiceChain.COMPRESSION)
    full, cost = process(path, VoiceChain.FULL)
    assert len(full) == len(raw)
    assert share(full, 20, 50) < share(compressed, 20, 50) - 2, "less rumble"
    sibilants = [share(sound, 5000, 10_000) for sound in (raw, compressed, full)]
    assert sibilants[1] > sibilants[0] + 0.8, "the compressor alone sharpens them"
    assert sibilants[2] == pytest.approx(sibilants[0], abs=3)
    assert sibilants[2] < sibilants[1] - 1
    assert abs(shift_seconds(raw, full)) < 0.001
    assert cost < 0.02


@pytest.mark.parametrize("chain", VoiceChain)
async def test_no_chain_clips(objects: Folder, tmp_path: Path, chain: VoiceChain) -> None:
    mixer = mix.Mixer(ffmpeg_program(), await ffmpeg_version(ffmpeg_program()), timedelta(minutes=1))
    sound = read(voice("en", tmp_path), 1)[: 5 * RATE, 0]
    write(objects.path("narration"), np.clip(sound * 4, -1, 1))
    request = mix.MixRequest("narration", "digest", "", timedelta(seconds=5), voice_chain=chain)
    track = await mixer.mix(objects, request, tmp_path, lambda _: None)
    integrated, peak = r128(objects.path(track.audio))
    assert integrated == pytest.approx(-14, abs=0.5)
    assert peak <= -1.0


@pytest.mark.parametrize(
    ("requested", "provider", "chain"),
    [
        ("", "espeak", VoiceChain.COMPRESSION),
        ("auto", "kokoro", VoiceChain.FULL),
        ("", "recording", VoiceChain.FULL),
        ("", "", VoiceChain.COMPRESSION),
        ("off", "kokoro", VoiceChain.NONE),
    ],
)
def test_a_mix_has_the_chain_of_its_provider(requested: str, provider: str, chain: VoiceChain) -> None:
    request = pb.MixRequest(voice_chain=requested, narration_provider=provider)
    assert from_mix_request(request).voice_chain is chain


def test_the_chain_of_a_request() -> None:
    chosen = {
        (requested, provider): mastering.choose_chain(requested, provider)
        for requested in ("", "auto", "on", "off")
        for provider in ("espeak", "kokoro", "openai")
    }
    assert chosen == {
        **dict.fromkeys([("", "espeak"), ("auto", "espeak")], VoiceChain.COMPRESSION),
        **{(requested, provider): VoiceChain.FULL for requested in ("", "auto") for provider in ("kokoro", "openai")},
        **{("on", provider): VoiceChain.FULL for provider in ("espeak", "kokoro", "openai")},
        **{("off", provider): VoiceChain.NONE for provider in ("espeak", "kokoro", "openai")},
    }
