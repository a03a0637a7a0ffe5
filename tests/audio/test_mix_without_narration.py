"""Mixes without narration, selection of sound tracks, and format changes in mid-stream."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from services.audio.mix import Mixer, MixRequest
from services.media.ffmpeg import ffmpeg_version
from tests import media
from tests.audio.conftest import Folder
from tests.audio.sounds import RATE, Sound, r128, read
from tests.audio.test_clip_sounds import clip, clip_sound, place_sounds
from tests.mesh import ffmpeg_program


@pytest.fixture(scope="session")
async def mixer() -> Mixer:
    version = await ffmpeg_version(ffmpeg_program())
    return Mixer(ffmpeg_program(), version, timedelta(minutes=10))


async def mix_to_sound(mixer: Mixer, objects: Folder, folder: Path, request: MixRequest) -> Sound:
    """The sound of a mix without narration."""
    await mixer.mix(objects, request, folder)
    sound = read(folder / "master.wav", 2)
    assert len(sound) == request.samples
    return sound


async def test_music_alone_is_as_loud_as_promised(mixer: Mixer, objects: Folder, tmp_path: Path) -> None:
    await mix_to_sound(mixer, objects, tmp_path, MixRequest(None, "", "calm", timedelta(seconds=6)))
    loudness, peak = r128(tmp_path / "master.wav")
    assert loudness == pytest.approx(-14, abs=0.7) and peak <= -1


async def test_clips_and_music_are_heard_together(mixer: Mixer, objects: Folder, tmp_path: Path) -> None:
    tone = clip_sound(clip(objects, "tone", "sine=frequency=3000"), 0.0, 1.0, 2.0)
    sound = await mix_to_sound(mixer, objects, tmp_path, MixRequest(None, "", "calm", timedelta(seconds=5), (tone,)))
    assert loudest_frequency(sound, 1.5) == pytest.approx(3000, abs=20)
    assert np.abs(sound[int(4.0 * RATE) :]).max() > 0.01, "the music goes on"


async def test_a_request_without_sound_makes_silence(mixer: Mixer, objects: Folder, tmp_path: Path) -> None:
    sound = await mix_to_sound(mixer, objects, tmp_path, MixRequest(None, "", "", timedelta(seconds=3)))
    assert np.abs(sound).max() < 0.001


async def test_a_silent_clip_makes_a_silent_mix(mixer: Mixer, objects: Folder, tmp_path: Path) -> None:
    nothing = clip_sound(clip(objects, "nothing", "anullsrc=r=48000:cl=stereo"), 0.0, 0.0, 2.0)
    sound = await mix_to_sound(mixer, objects, tmp_path, MixRequest(None, "", "", timedelta(seconds=3), (nothing,)))
    assert np.abs(sound).max() < 0.001


def loudest_frequency(sound: Sound, second: float) -> float:
    """The loudest frequency in Hz within a tenth of a second from a time on."""
    part = sound[int(second * RATE) : int((second + 0.1) * RATE), 0]
    return float(np.abs(np.fft.rfft(part)).argmax()) * 10


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("44100", "mono"), ("48000", "stereo")),
        (("48000", "stereo"), ("22050", "mono")),
        (("48000", "5.1"), ("48000", "stereo")),
    ],
)
async def test_a_format_change_in_mid_stream_is_handled(
    objects: Folder, tmp_path: Path, one: tuple[str, str], other: tuple[str, str]
) -> None:
    parts = []
    for (rate, layout), tone in ((one, 440), (other, 880)):
        path = objects.root / f"{tone}.ts"
        source = ("-f", "lavfi", "-i", f"sine=frequency={tone}:r={rate},aformat=channel_layouts={layout}")
        picture = ("-f", "lavfi", "-i", "color=gray:s=64x36:r=25")
        media.ffmpeg(*picture, *source, "-t", "2", "-c:v", "mpeg2video", "-c:a", "aac", "-ar", rate, path)
        parts.append(f"file {path.name}\nduration 2\n")
    listed = objects.root / "both.ffconcat"
    listed.write_text("ffconcat version 1.0\n" + "".join(parts))
    media.ffmpeg("-f", "concat", "-i", listed, "-c", "copy", objects.root / "both.ts")
    (objects.root / "both.ts").rename(objects.path("both"))
    sound = await place_sounds(objects, tmp_path, 4.0, clip_sound("both", 0.0, 0.0, 4.0))
    assert [loudest_frequency(sound, at) for at in (0.5, 1.8, 2.2, 3.7)] == pytest.approx([440, 440, 880, 880], abs=15)


async def test_the_chosen_track_is_heard(objects: Folder, tmp_path: Path) -> None:
    path = objects.root / "tracks.mkv"
    tones = [word for tone in (500, 1500) for word in ("-f", "lavfi", "-i", f"sine=frequency={tone}")]
    picture = ("-f", "lavfi", "-i", "color=gray:s=64x36:r=25")
    mapped = ("-map", "0:v", "-map", "1:a", "-map", "2:a", "-t", "2", "-c:v", "mpeg4", "-c:a", "aac")
    media.ffmpeg(*picture, *tones, *mapped, path)
    path.rename(objects.path("tracks"))
    for track, tone in ((0, 500), (1, 1500)):
        folder = tmp_path / f"{track}"
        folder.mkdir()
        sound = await place_sounds(objects, folder, 2.0, replace(clip_sound("tracks", 0.0, 0.0, 2.0), track=track))
        assert loudest_frequency(sound, 1.0) == pytest.approx(tone, abs=15)
