"""Export: speech as a file for people, at the loudness and in the form that they ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ffmpeg

from moneyprinter.errors import InvalidArgument
from services.audio import loudness, mastering

LOUDNESS_LUFS = -16.0
"""What spoken word is published at."""
_VOICE_LUFS = -18.0
_BITEXACT: Mapping[str, str] = {"fflags": "+bitexact", "flags:a": "+bitexact"}


@dataclass(frozen=True)
class Format:
    """A form of sound."""

    content_type: str
    coding: Mapping[str, Any]
    """What ffmpeg is told."""


FORMATS = {
    "wav": Format("audio/wav", {"acodec": "pcm_s16le"}),
    "mp3": Format("audio/mpeg", {"acodec": "libmp3lame", "audio_bitrate": "96k"}),
    "opus": Format("audio/ogg", {"acodec": "libopus", "audio_bitrate": "48k", "f": "ogg"}),
    "flac": Format("audio/flac", {"acodec": "flac", "sample_fmt": "s16"}),
}


async def export(program: Path, speech: Path, form: str, target_lufs: float, samples: int) -> Path:
    """Master a WAV file of speech, `samples` long at 48 kHz, and code it; returns the new file beside it.

    Raises InvalidArgument, SPEECH_FAILED, when there is nothing to hear in it.
    """
    folder, source = speech.parent, speech.name
    measured = await loudness.measure(program, source, folder)
    if measured.integrated_lufs < loudness.SILENT_LUFS:
        raise InvalidArgument(
            "nothing is heard of this text in this voice; take a voice of its language", reason="SPEECH_FAILED"
        )
    source = await _run(
        program, mastering.evened(source, _VOICE_LUFS - measured.integrated_lufs), folder / "evened.wav", samples
    )
    measured = await loudness.measure(program, source, folder)
    if mastering.peaks_pass(measured, target_lufs):
        source = await _run(program, mastering.limited(source, measured, target_lufs), folder / "limited.wav", samples)
        measured = await loudness.measure(program, source, folder)
    sound = (
        mastering.normalised(source, measured, target_lufs)
        .filter("apad", whole_len=samples)
        .filter("atrim", end_sample=samples)
        .filter("aformat", sample_fmts="s16", channel_layouts="mono")
    )
    made = await _run(program, sound, folder / f"speech-{form}.{form}", samples, FORMATS[form].coding)
    return folder / made


async def _run(
    program: Path, sound: ffmpeg.Stream, target: Path, samples: int, coding: Mapping[str, Any] | None = None
) -> str:
    file = sound.output(target.name, ar=mastering.RATE, **(coding or {"acodec": "pcm_f32le"}), **_BITEXACT)
    seconds = samples / mastering.RATE
    await loudness.run(program, file, seconds=seconds, folder=target.parent)
    return target.name
