"""Mastering: bring a sound to its loudness (EBU R 128), with no true peak above -1 dBTP.

A sound is measured and brought to its loudness by loudnorm's linear second pass; where its peaks would pass -1 dBTP,
they are limited first, at four times the sample rate.
"""

from __future__ import annotations

import ffmpeg

from services.media.loudness import Loudness

TARGET_DBTP = -1.0
RATE = 48_000

# loudnorm is told a lower peak than promised: 16 bit and other meters move it by some hundredths.
_MARGIN_DB = 0.2


def evened(source: str, gain_db: float) -> ffmpeg.Stream:
    """The voice of a WAV file after a gain, evened out."""
    return (
        ffmpeg.input(source, f="wav")
        .filter("aresample", RATE, resampler="soxr")
        .filter("aformat", sample_fmts="fltp", channel_layouts="mono")
        .filter("volume", f"{gain_db:.3f}dB")
        .filter("acompressor", threshold="-22dB", ratio=2.5, attack=6, release=140, knee=4, makeup="7dB")
    )


def peaks_pass(measured: Loudness, target_lufs: float) -> bool:
    """Whether peaks of a sound must be limited before it is brought to its loudness."""
    return measured.true_peak_dbtp + target_lufs - measured.integrated_lufs > TARGET_DBTP - _MARGIN_DB


def limited(source: str, measured: Loudness, target_lufs: float) -> ffmpeg.Stream:
    """The sound with its true peaks so low that the gain it needs leaves them under the target."""
    # It loses some tenths of its loudness here, which it gets back as gain.
    ceiling_db = TARGET_DBTP - _MARGIN_DB - 0.6 - (target_lufs - measured.integrated_lufs)
    return (
        ffmpeg.input(source, f="wav")
        .filter("aresample", 4 * RATE, resampler="soxr")
        .filter("alimiter", limit=f"{ceiling_db:.3f}dB", attack=4, release=60, level="false", latency=1)
        .filter("aresample", RATE, resampler="soxr")
    )


def normalised(source: str, measured: Loudness, target_lufs: float) -> ffmpeg.Stream:
    """loudnorm's second pass. It is linear when the range is told above 0 and below the target's."""
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
