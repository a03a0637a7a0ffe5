"""Own music: its loudness, its start, its fades and its repetition, in a finished mix."""

from __future__ import annotations

import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from moneyprinter.errors import InvalidArgument
from services.audio.mix import Mixer, MixRequest
from services.audio.own_music import OwnMusic
from services.media.ffmpeg import ffmpeg_version
from tests.audio.conftest import Folder
from tests.audio.sounds import RATE, Sound, band, level, read, write
from tests.mesh import ffmpeg_program

TRACK = OwnMusic("track", "track", 0.0, 1.0, 0.0, 0.0, once=False)
Mix = Callable[[OwnMusic, float], Awaitable[Sound]]


@pytest.fixture
async def mix(objects: Folder, tmp_path: Path) -> Mix:
    """Mixes a track, without a narration, to a number of seconds."""
    mixer = Mixer(ffmpeg_program(), await ffmpeg_version(ffmpeg_program()), timedelta(minutes=10))

    async def mix(track: OwnMusic, seconds: float) -> Sound:
        folder = tmp_path / f"mix-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        made = await mixer.mix(objects, MixRequest(None, "", "", timedelta(seconds=seconds), track=track), folder)
        return read(objects.path(made.audio), 2)

    return mix


def store(objects: Folder, *arguments: str, ending: str = "wav") -> None:
    target = objects.path("track").with_suffix(f".{ending}")
    subprocess.run((ffmpeg_program(), "-v", "error", *arguments, target), check=True)
    target.rename(objects.path("track"))


def tones(*frequencies: float, seconds: float = 1.0) -> Sound:
    time = np.arange(round(seconds * RATE)) / RATE
    return np.concatenate([0.3 * np.sin(2 * np.pi * hertz * time) for hertz in frequencies])


def levels(sound: Sound, hertz: float, *times: float) -> list[float]:
    """The levels in dB around a frequency in the 0.2 s from each time."""
    narrow = band(sound[:, 0], hertz * 0.9, hertz * 1.1)
    return [level(narrow[round(time * RATE) : round((time + 0.2) * RATE)]) for time in times]


async def test_a_short_track_is_repeated_without_a_gap_or_played_once(objects: Folder, mix: Mix) -> None:
    write(objects.path("track"), tones(400.0, 1200.0))
    sound = await mix(TRACK, 5.0)
    assert len(sound) == 5 * RATE
    assert all(value > -30 for value in levels(sound, 400.0, 0.4, 2.4, 4.4))
    assert all(value < -45 for value in levels(sound, 400.0, 1.4, 3.4))
    seam = sound[round(1.9 * RATE) : round(2.1 * RATE), 0]
    assert np.abs(np.diff(seam)).max() < 0.1, "the seam clicks"
    once = await mix(replace(TRACK, once=True), 5.0)
    assert levels(once, 1200.0, 1.4)[0] > -30
    assert level(once[round(2.1 * RATE) :]) < -70


async def test_a_track_begins_at_its_start_and_fades(objects: Folder, mix: Mix) -> None:
    write(objects.path("track"), tones(400.0, 1200.0, seconds=4.0))
    sound = await mix(replace(TRACK, start_seconds=4.5, fade_in_seconds=1.0, fade_out_seconds=1.5), 3.0)
    assert levels(sound, 400.0, 1.2)[0] < -50
    rising, full, falling = levels(sound, 1200.0, 0.1, 1.2, 2.7)
    assert rising < full - 8 and falling < full - 8


async def test_a_quiet_track_is_as_loud_as_a_loud_one_in_another_format(objects: Folder, tmp_path: Path) -> None:
    """Under a voice at one level, tracks whose levels are 30 dB apart come out alike; volume 2 is 6 dB louder."""
    mixer = Mixer(ffmpeg_program(), await ffmpeg_version(ffmpeg_program()), timedelta(minutes=10))
    voice = 0.3 * np.random.default_rng(1).standard_normal(2 * RATE)
    write(objects.path("voice"), np.concatenate([band(voice, 1500, 3000), np.zeros(3 * RATE)]))
    telephone = ("-c:a", "libmp3lame", "-ar", "8000", "-ac", "1")
    surround = ("-c:a", "aac", "-ac", "6")
    found = []
    for number, (db, volume, codec, ending) in enumerate(
        [(-20, 1.0, telephone, "mp3"), (10, 1.0, surround, "m4a"), (10, 2.0, surround, "m4a")]
    ):
        store(objects, "-f", "lavfi", "-i", f"sine=500:r=48000:d=6,volume={db}dB", *codec, ending=ending)
        folder = tmp_path / f"{number}"
        folder.mkdir()
        track = replace(TRACK, sha256=ending, volume=volume)
        made = await mixer.mix(objects, MixRequest("voice", "voice", "", timedelta(seconds=5), track=track), folder)
        under, alone = levels(read(objects.path(made.audio), 2), 500.0, 1.5, 4.0)
        assert under < alone - 5, "the voice does not duck the music"
        found.append(alone)
    assert found[0] == pytest.approx(found[1], abs=1.0)
    assert found[2] - found[1] == pytest.approx(6.0, abs=1.5)


async def test_a_track_that_is_silent_or_broken_is_refused(objects: Folder, mix: Mix) -> None:
    write(objects.path("track"), np.zeros(3 * RATE))
    with pytest.raises(InvalidArgument, match="silent") as refused:
        await mix(TRACK, 2.0)
    assert refused.value.reason == "SOUND_SILENT"
    objects.path("track").write_bytes(b"words" * 1000)
    with pytest.raises(InvalidArgument, match="no sound that can be played") as refused:
        await mix(replace(TRACK, sha256="words"), 2.0)
    assert refused.value.reason == "SOUND_NOT_PLAYABLE"
