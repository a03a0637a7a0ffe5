"""Export: speech as a file, at the requested loudness and in the requested format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ffmpeg

from moneyprinter.errors import InvalidArgument
from services.audio import loudness, mastering

LOUDNESS_LUFS = -16.0
"""The default loudness; usual for spoken word."""
_BITEXACT: Mapping[str, str] = {"fflags": "+bitexact", "flags:a": "+bitexact"}


@dataclass(frozen=True)
class SoundFormat:
    """A format of sound files."""

    content_type: str
    encoding: Mapping[str, Any]
    """The options of ffmpeg's encoder."""


FORMATS = {
    "wav": SoundFormat("audio/wav", {"acodec": "pcm_s16le"}),
    "mp3": SoundFormat("audio/mpeg", {"acodec": "libmp3lame", "audio_bitrate": "96k"}),
    "opus": SoundFormat("audio/ogg", {"acodec": "libopus", "audio_bitrate": "48k", "f": "ogg"}),
    "flac": SoundFormat("audio/flac", {"acodec": "flac", "sample_fmt": "s16"}),
}


async def export_speech(
    program: Path,
    speech: Path,
    format_name: str,
    target_lufs: float,
    samples: int,
    chain: mastering.VoiceChain = mastering.VoiceChain.COMPRESSION,
) -> Path:
    """Master a WAV file of speech, and encode it. Returns the new file, which is in the same folder.

    Args:
        program: The ffmpeg program.
        speech: The WAV file, 48 kHz, mono.
        format_name: A key of `FORMATS`.
        target_lufs: The loudness of the result.
        samples: The length of the speech at 48 kHz.
        chain: How the voice is processed.

    Raises `InvalidArgument` (SPEECH_FAILED) when the speech is silent, and `Internal` when ffmpeg fails.
    """
    folder, source = speech.parent, speech.name
    measured = await loudness.measure(program, source, folder)
    if measured.integrated_lufs < loudness.SILENT_LUFS:
        raise InvalidArgument(
            "this voice speaks nothing of this text; take a voice of its language", reason="SPEECH_FAILED"
        )
    evened = mastering.even_out(source, mastering.VOICE_LUFS - measured.integrated_lufs, chain)
    source = await _write(program, evened, folder / "evened.wav", samples)
    measured = await loudness.measure(program, source, folder)
    if mastering.exceeds_peak(measured, target_lufs):
        source = await _write(
            program, mastering.limit_peaks(source, measured, target_lufs), folder / "limited.wav", samples
        )
        measured = await loudness.measure(program, source, folder)
    sound = (
        mastering.normalize(source, measured, target_lufs)
        .filter("apad", whole_len=samples)
        .filter("atrim", end_sample=samples)
        .filter("aformat", sample_fmts="s16", channel_layouts="mono")
    )
    target = folder / f"speech-{format_name}.{format_name}"
    await _write(program, sound, target, samples, FORMATS[format_name].encoding)
    return target


async def _write(
    program: Path, sound: ffmpeg.Stream, target: Path, samples: int, encoding: Mapping[str, Any] | None = None
) -> str:
    """Write a sound to a file, as floats unless there is an encoding. Returns the name of the file."""
    file = sound.output(target.name, ar=mastering.RATE, **(encoding or {"acodec": "pcm_f32le"}), **_BITEXACT)
    seconds = samples / mastering.RATE
    await loudness.process_sound(program, file, seconds=seconds, folder=target.parent)
    return target.name
