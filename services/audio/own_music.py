"""Own music: a track of a user under the narration, at the loudness of the platform's own loops."""

from __future__ import annotations

import math
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import ffmpeg
import numpy as np

from moneyprinter.errors import InvalidArgument
from services.audio import loudness, music, uploaded_sounds

_FILE = "music.wav"
_RATE = 48_000
# The fade at both ends of a track, so that its repetition does not click.
_SEAM_SAMPLES = 480


@dataclass(frozen=True)
class OwnMusic:
    """A stored track, and how it is played."""

    stored: Any
    sha256: str
    start_seconds: float
    """The start of the used part in the track."""
    volume: float
    """The gain as a factor; 1 is the loudness of the platform's own loops."""
    fade_in_seconds: float
    fade_out_seconds: float
    once: bool
    """Whether silence follows when the track is shorter than the mix, and not its repetition."""

    @property
    def identity(self) -> tuple[object, ...]:
        """All values that determine the sound, for the key of the result."""
        fades = (self.fade_in_seconds, self.fade_out_seconds)
        return ("own music", self.sha256, self.start_seconds, self.volume, *fades, self.once)


class Objects(Protocol):
    """The object store."""

    async def get_file(self, source: Any, path: Path) -> None: ...


async def prepare(
    program: Path, objects: Objects, track: OwnMusic, seconds: float, target_lufs: float, folder: Path
) -> ffmpeg.Stream:
    """Decode a track into `folder`. Returns its bed for the mix.

    Args:
        program: The ffmpeg program.
        objects: The object store with the track.
        track: The track.
        seconds: The length of the mix.
        target_lufs: The loudness of the track at volume 1.
        folder: The folder of temporary files.

    Raises `InvalidArgument` (SOUND_NOT_PLAYABLE) when it cannot be decoded, and (SOUND_SILENT) when it is silent.
    """
    await objects.get_file(track.stored, folder / "music")
    part = uploaded_sounds.Part(track.start_seconds, seconds)
    await uploaded_sounds.decode(program, "music", _FILE, folder, part, channels=2)
    (folder / "music").unlink()
    measured = await loudness.measure(program, _FILE, folder)
    if measured.integrated_lufs < loudness.SILENT_LUFS:
        raise InvalidArgument(
            "the used part of the music is silent; choose another music_start, or another track", reason="SOUND_SILENT"
        )
    _fade_ends(folder / _FILE)
    gain_db = target_lufs - measured.integrated_lufs + 20 * math.log10(track.volume)
    options = {} if track.once else {"stream_loop": -1}
    sound = ffmpeg.input(_FILE, f="wav", **options).filter("asetpts", "N/SR/TB")
    if track.once:
        sound = sound.filter("apad", whole_len=math.ceil(seconds * _RATE))
    fade_in = min(track.fade_in_seconds, seconds / 2)
    fade_out = min(track.fade_out_seconds, seconds / 2)
    return music.shape_bed(sound, seconds, gain_db, fade_in, fade_out)


def _fade_ends(path: Path) -> None:
    """Fade both ends of a WAV file (stereo, 16 bit) in place."""
    with wave.open(str(path), "rb") as file:
        frames = file.getnframes()
    # The samples are at the end of the file.
    samples = np.memmap(path, np.int16, "r+", offset=path.stat().st_size - 4 * frames, shape=(frames, 2))
    count = min(_SEAM_SAMPLES, frames // 2)
    rising = np.linspace(0.0, 1.0, count)[:, None]
    samples[:count] = np.round(samples[:count] * rising)
    samples[frames - count :] = np.round(samples[frames - count :] * rising[::-1])
    samples.flush()
