"""Uploaded sounds: decode the sound of a file from a user, in any format, in a child process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import ffmpeg

from moneyprinter.errors import Internal, InvalidArgument
from services.audio import loudness
from services.media.formats import CLIP_PROTOCOLS, UPLOADED_SOUND_FORMATS

_RATE = 48_000


@dataclass(frozen=True)
class Part:
    """A part of a sound, in seconds."""

    start: float = 0.0
    seconds: float = 3600.0


WHOLE = Part()


async def decode(
    program: Path, source: str, target: str, folder: Path, part: Part = WHOLE, *, channels: int = 1
) -> None:
    """Decode the sound of a file to a WAV file with 48 kHz and 16 bit.

    Args:
        program: The ffmpeg program.
        source: The name of the file in `folder`.
        target: The name of the WAV file in `folder`.
        folder: The folder of both.
        part: The part of the sound.
        channels: 1 or 2.

    Raises `InvalidArgument` (SOUND_NOT_PLAYABLE) when it has no sound that can be decoded.
    """
    uploaded = ffmpeg.input(source, format_whitelist=UPLOADED_SOUND_FORMATS, protocol_whitelist=CLIP_PROTOCOLS)
    sound = (
        uploaded["a:0"]
        # Fills gaps with silence: times in the result are those of the file.
        .filter("aresample", _RATE, resampler="soxr", **{"async": 1, "first_pts": 0})
        .filter("atrim", start=part.start, end=part.start + part.seconds)
        .filter("asetpts", "N/SR/TB")
        .output(target, acodec="pcm_s16le", ac=channels, fflags="+bitexact", **{"flags:a": "+bitexact"})
    )
    try:
        await loudness.process_sound(program, sound, seconds=60.0, folder=folder)
    except Internal as failure:
        if failure.reason == "CHILD_KILLED":
            raise
        raise InvalidArgument(
            "the file has no sound that can be played; upload another one", reason="SOUND_NOT_PLAYABLE"
        ) from failure
