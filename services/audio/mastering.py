"""Mastering: bring a sound to a loudness (EBU R 128), with no true peak above -1 dBTP.

ffmpeg's loudnorm, in its linear second pass, applies the gain for a measured sound. If the peaks would then exceed
-1 dBTP, a limiter at four times the sample rate lowers them first.
"""

from __future__ import annotations

from enum import Enum

import ffmpeg

from services.media.loudness import Loudness

TARGET_DBTP = -1.0
RATE = 48_000
VOICE_LUFS = -18.0
"""The loudness at which a voice enters its chain."""

# The peak for loudnorm is lower than the promised one: 16 bit and other meters change it by some hundredths.
_MARGIN_DB = 0.2


class VoiceChain(Enum):
    """How a voice is processed before it is mixed. No filter moves a sound by more than a millisecond."""

    FULL = "on"
    """Without rumble, with even dynamics and softer sibilants."""
    COMPRESSION = ""
    """With even dynamics, for voices that were equalized when they were made."""
    NONE = "off"
    """As it is, at another gain."""


def choose_chain(requested: str, provider: str) -> VoiceChain:
    """The chain for a request (`on`, `off`, or `auto` or empty) and the provider of the voice; empty: unknown."""
    if requested in ("on", "off"):
        return VoiceChain(requested)
    # Its provider filters rumble and softens the sibilants of espeak-ng's voices.
    return VoiceChain.COMPRESSION if provider in ("", "espeak") else VoiceChain.FULL


def even_out(source: str, gain_db: float, chain: VoiceChain) -> ffmpeg.Stream:
    """Apply a gain to the voice in a WAV file, and process it by a chain."""
    voice = (
        ffmpeg.input(source, f="wav")
        .filter("aresample", RATE, resampler="soxr")
        .filter("aformat", sample_fmts="fltp", channel_layouts="mono")
        .filter("volume", f"{gain_db:.3f}dB")
    )
    if chain is VoiceChain.NONE:
        return voice
    if chain is VoiceChain.FULL:
        voice = voice.filter("highpass", f=70)
    voice = voice.filter("acompressor", threshold="-22dB", ratio=2.5, attack=6, release=140, knee=4, makeup="7dB")
    if chain is VoiceChain.FULL:
        # The compressor raises the share of 5 to 10 kHz by 1.9 to 3.6 dB, measured on the neural voice in English and
        # French. This intensity brings it back to within 2.5 dB in both; 0.4 makes the voice dull (5 dB below).
        voice = voice.filter("deesser", i=0.35, m=0.5, f=0.5)
    return voice


def exceeds_peak(measured: Loudness, target_lufs: float) -> bool:
    """Whether the peaks of a sound must be limited before it is brought to the target loudness."""
    return measured.true_peak_dbtp + target_lufs - measured.integrated_lufs > TARGET_DBTP - _MARGIN_DB


def limit_peaks(source: str, measured: Loudness, target_lufs: float) -> ffmpeg.Stream:
    """Limit the true peaks of a WAV file so that the gain to the target loudness keeps them below -1 dBTP."""
    # The limiter costs some tenths of the loudness, which the gain restores.
    ceiling_db = TARGET_DBTP - _MARGIN_DB - 0.6 - (target_lufs - measured.integrated_lufs)
    return (
        ffmpeg.input(source, f="wav")
        .filter("aresample", 4 * RATE, resampler="soxr")
        .filter("alimiter", limit=f"{ceiling_db:.3f}dB", attack=4, release=60, level="false", latency=1)
        .filter("aresample", RATE, resampler="soxr")
    )


def normalize(source: str, measured: Loudness, target_lufs: float) -> ffmpeg.Stream:
    """Bring a WAV file to the target loudness by loudnorm's second pass.

    The pass is linear only if the given range is above 0 and below the target's.
    """
    return (
        ffmpeg.input(source, f="wav")
        .filter(
            "loudnorm",
            I=target_lufs,
            TP=TARGET_DBTP - _MARGIN_DB / 2,
            LRA=50,
            measured_I=round(measured.integrated_lufs, 3),
            measured_TP=round(measured.true_peak_dbtp, 3),
            measured_LRA=round(min(49.0, max(0.1, measured.range_lu)), 3),
            measured_thresh=round(max(-69.0, measured.integrated_lufs - 10), 3),
            linear="true",
        )
        .filter("aresample", RATE, resampler="soxr")
    )
