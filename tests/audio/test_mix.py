"""Mix: the promised loudness, the exact length, and music that is ducked under the voice."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from moneyprinter.errors import Internal, InvalidArgument
from services.audio import music
from services.audio.espeak import Espeak
from services.audio.mix import MixedTrack, Mixer, MixRequest
from services.media.ffmpeg import ffmpeg_version
from tests.audio.conftest import Folder
from tests.audio.sounds import RATE, Sound, band, level, lufs, programs, r128, read, write
from tests.mesh import ffmpeg_program
from tests.progress import after_first_report


@pytest.fixture(scope="session")
async def mixer() -> Mixer:
    version = await ffmpeg_version(ffmpeg_program())
    return Mixer(ffmpeg_program(), version, timedelta(minutes=10))


def babble(*parts: tuple[float, float], seed: int = 7) -> Sound:
    """Noise bursts like speech, without bass; each part has a length in seconds and a level in dB, -inf for silence."""
    noise = np.random.default_rng(seed)
    pieces = []
    for seconds, db in parts:
        size = round(seconds * RATE)
        syllables = np.sin(np.pi * 4 * np.arange(size) / RATE) ** 2
        hiss = band(noise.standard_normal(size), 800, 3500)
        pieces.append(10 ** (db / 20) * hiss / max(1e-9, np.sqrt(np.mean(hiss**2))) * syllables)
    return np.asarray(np.clip(np.concatenate(pieces), -1, 1))


async def mix_narration(
    mixer: Mixer, objects: Folder, narration: Sound, mood: str, seconds: float, folder: Path
) -> MixedTrack:
    write(objects.path("narration"), narration)
    digest = f"{hash(narration.tobytes())}"
    request = MixRequest("narration", digest, mood, timedelta(seconds=seconds))
    fractions: list[float] = []
    track = await mixer.mix(objects, request, folder, fractions.append)
    assert fractions == sorted(fractions) and all(0 <= fraction <= 1 for fraction in fractions)
    return track


@pytest.mark.parametrize("mood", ["", *music.LOOPS])
async def test_speech_is_mastered_to_the_promised_loudness(
    mixer: Mixer, provider: Espeak, objects: Folder, tmp_path: Path, mood: str
) -> None:
    voice = provider.voice("en-US")
    assert voice is not None
    sentences = ["The sea was calm, and nobody spoke.", "Then the wind came back!"]
    await provider.speak(sentences, voice, tmp_path / "speech.wav")
    narration = read(tmp_path / "speech.wav", 1)[:, 0]
    track = await mix_narration(mixer, objects, narration, mood, 6.5, tmp_path)
    path = objects.path(track.audio)
    sound = read(path, 2)
    assert len(sound) == 6.5 * RATE
    integrated, peak = r128(path)
    assert integrated == pytest.approx(-14, abs=0.5)
    assert lufs(sound) == pytest.approx(-14, abs=0.5)
    assert peak <= -1.0
    assert track.loudness.integrated_lufs == pytest.approx(integrated, abs=0.11)
    assert track.loudness.true_peak_dbtp == pytest.approx(peak, abs=0.11)


@pytest.mark.parametrize("gain_db", [-45.0, -20.0, 0.0])
async def test_quiet_and_loud_narrations_are_mastered_alike(
    mixer: Mixer, objects: Folder, tmp_path: Path, gain_db: float
) -> None:
    # Clicks make peaks that a gain alone cannot keep below -1 dBTP.
    narration = babble((3.0, gain_db - 12))
    narration[RATE :: RATE // 2] = 10 ** (gain_db / 20) * 0.99
    track = await mix_narration(mixer, objects, narration, "", 3.0, tmp_path)
    integrated, peak = r128(objects.path(track.audio))
    assert integrated == pytest.approx(-14, abs=0.5)
    assert peak <= -1.0


@pytest.mark.parametrize("seconds", [0.5, 1.0, 2.0001, 3.33333])
async def test_a_mix_has_the_requested_length_to_the_sample(
    mixer: Mixer, objects: Folder, tmp_path: Path, seconds: float
) -> None:
    track = await mix_narration(mixer, objects, babble((2.0, -20)), "calm", seconds, tmp_path)
    assert len(read(objects.path(track.audio), 2)) == round(seconds * RATE)


async def test_music_is_ducked_while_the_voice_speaks(mixer: Mixer, objects: Folder, tmp_path: Path) -> None:
    silence = -np.inf
    narration = babble((4.0, -20), (5.0, silence), (4.0, -20))
    track = await mix_narration(mixer, objects, narration, "upbeat", 18.0, tmp_path)
    # The babble has no bass: the bass is the music, which repeats its groove every 2 s.
    bass = band(read(objects.path(track.audio), 2), 35, 250)

    def music_level(start: float) -> float:
        return level(bass[round(start * RATE) : round((start + 2) * RATE)])

    speaking, resting, again, after = (music_level(start) for start in (2, 6, 10, 14))
    assert resting - speaking >= 6
    assert resting - again >= 6
    assert after == pytest.approx(resting, abs=2)
    whole = read(objects.path(track.audio), 2)
    assert level(whole[2 * RATE : 4 * RATE]) - speaking >= 15, "the voice stands clear above the music"


async def test_music_fades_in_and_out_and_repeats_without_a_gap(mixer: Mixer, objects: Folder, tmp_path: Path) -> None:
    narration = babble((0.3, -np.inf), (0.6, -20))
    track = await mix_narration(mixer, objects, narration, "happy", 21.0, tmp_path)
    sound = read(objects.path(track.audio), 2)
    loop = music.LOOPS["happy"].samples
    first, second = sound[3 * RATE : 4 * RATE], sound[3 * RATE + loop : 4 * RATE + loop]
    assert level(first - second) < level(first) - 25, "the second round is the first again"
    seam = sound[loop - RATE // 4 : loop + RATE // 4]
    assert np.abs(np.diff(seam, axis=0)).max() < 1.5 * np.abs(np.diff(first, axis=0)).max()
    assert level(sound[-RATE // 10 :]) < level(sound[-4 * RATE : -2 * RATE]) - 18
    # The voice begins at 0.3 s: before that, only the music fades in.
    assert level(sound[: RATE // 100]) < -45
    assert level(sound[: RATE // 100]) < level(sound[round(0.2 * RATE) : round(0.3 * RATE)]) - 12


async def test_music_lasts_to_the_end_and_mixes_are_reproducible(mixer: Mixer, tmp_path: Path) -> None:
    narration = babble((0.5, -20))
    mixes = []
    for number in range(4):
        folder = tmp_path / str(number)
        folder.mkdir()
        store = Folder(folder)
        track = await mix_narration(mixer, store, narration, "upbeat", 1.0, folder)
        mixes.append(store.path(track.audio).read_bytes())
    assert len(set(mixes)) == 1
    sound = np.frombuffer(mixes[0][-RATE * 4 :], "<i2")
    # The end is faded out, but not silent.
    assert np.abs(sound[-2 * RATE // 50 : -2 * RATE // 100]).max() > 3


async def test_without_music_there_is_silence_after_the_narration(
    mixer: Mixer, objects: Folder, tmp_path: Path
) -> None:
    track = await mix_narration(mixer, objects, babble((2.0, -20)), "", 4.0, tmp_path)
    assert level(read(objects.path(track.audio), 2)[round(2.3 * RATE) :]) < -80


async def test_a_mix_is_made_once_and_reused(mixer: Mixer, objects: Folder, tmp_path: Path) -> None:
    narration = babble((1.0, -20))
    (tmp_path / "again").mkdir()
    first = await mix_narration(mixer, objects, narration, "dark", 2.0, tmp_path)
    assert await mix_narration(mixer, objects, narration, "dark", 2.0, tmp_path / "again") == first
    assert objects.puts == [first.audio]


@pytest.mark.parametrize(
    ("mood", "seconds", "narration", "reason"),
    [
        ("jazz", 2.0, babble((1.0, -20)), "MUSIC_UNKNOWN"),
        ("../upbeat", 2.0, babble((1.0, -20)), "MUSIC_UNKNOWN"),
        ("", 0.1, babble((1.0, -20)), "REQUEST_INVALID"),
        ("", 601.0, babble((1.0, -20)), "REQUEST_INVALID"),
        ("", 2.0, np.zeros(RATE), "SPEECH_FAILED"),
        ("calm", 2.0, np.zeros(RATE), "SPEECH_FAILED"),
    ],
)
async def test_what_cannot_be_mixed_is_refused(
    mixer: Mixer, objects: Folder, tmp_path: Path, mood: str, seconds: float, narration: Sound, reason: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await mix_narration(mixer, objects, narration, mood, seconds, tmp_path)
    assert refused.value.reason == reason
    assert objects.puts == []


async def test_a_narration_that_is_not_a_sound_is_reported(mixer: Mixer, objects: Folder, tmp_path: Path) -> None:
    objects.path("narration").write_bytes(b"#EXTM3U\nhttp://127.0.0.1/x.wav\n" * 100)
    request = MixRequest("narration", "no sound", "", timedelta(seconds=1))
    with pytest.raises(Internal, match="could not be made") as failed:
        await mixer.mix(objects, request, tmp_path)
    assert failed.value.reason == "RENDER_FAILED"
    assert str(tmp_path) not in failed.value.message


async def test_a_cancelled_mix_stops_ffmpeg(mixer: Mixer, objects: Folder, tmp_path: Path) -> None:
    write(objects.path("narration"), babble((2.0, -20)))
    request = MixRequest("narration", "closed", "calm", timedelta(seconds=600))
    async with after_first_report(lambda on_progress: mixer.mix(objects, request, tmp_path, on_progress)):
        assert any("ffmpeg" in line for line in programs())
    assert programs() == []
    assert objects.puts == []
