"""Clip sounds: exact places without clicks, in any layout and rate, ducked under the voice."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import av
import numpy as np
import pytest

from moneyprinter.errors import InvalidArgument
from services.audio import clip_sounds
from services.audio.clip_sounds import ClipSound
from services.audio.mix import MixedTrack, Mixer, MixRequest
from tests import media
from tests.audio.conftest import Folder
from tests.audio.sounds import RATE, Sound, band, level, r128, read, write
from tests.audio.test_mix import babble
from tests.mesh import ffmpeg_program


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


def clip_sound(
    clip: str, source: float, start: float, duration: float, volume: float = 1.0, speed: float = 1.0
) -> ClipSound:
    """A clip sound of a stored clip."""
    return ClipSound(clip, clip, seconds(source), seconds(start), seconds(duration), volume, speed)


def clip(
    objects: Folder,
    key: str,
    expression: str,
    length: float = 4.0,
    encode: tuple[str, ...] = ("-c:a", "aac", "-b:a", "192k"),
    name: str = "clip.mp4",
) -> str:
    """Store a clip with a small picture and a sound, and return its key."""
    path = objects.root / name
    picture = ("-f", "lavfi", "-i", "color=gray:s=64x36:r=25")
    sound = ("-f", "lavfi", "-i", expression)
    media.ffmpeg(*picture, *sound, "-t", str(length), "-c:v", "mpeg4", *encode, path)
    path.rename(objects.path(key))
    return key


def click_at(*times: float, amplitude: float = 0.8) -> str:
    """A short tone of 2 kHz at each time, in seconds."""
    when = "+".join(f"between(t,{time},{time + 0.01})" for time in times)
    return f"aevalsrc='if({when},{amplitude}*sin(2*PI*2000*t),0)':s=48000"


async def place_sounds(objects: Folder, folder: Path, length: float, *sounds: ClipSound) -> Sound:
    """The sound of the clips alone."""
    await clip_sounds.place_clip_sounds(ffmpeg_program(), objects, sounds, round(length * RATE), folder)
    return np.fromfile(folder / clip_sounds.CLIPS_FILE, np.float32).reshape(-1, 2).astype(np.float64)


def first_audible(sound: Sound, threshold: float = 0.15) -> float:
    """The time of the first audible sample, in seconds."""
    return int(np.argmax(np.abs(sound[:, 0]) > threshold)) / RATE


CODINGS = [
    ("clip.mp4", ("-c:a", "aac")),
    ("clip.mkv", ("-c:a", "libopus")),
    ("clip.mov", ("-c:a", "pcm_s16le")),
    ("clip.ts", ("-c:a", "aac", "-g", "25")),
    ("clip.avi", ("-c:a", "libmp3lame")),
    ("clip.webm", ("-c:v", "libvpx", "-b:v", "50k", "-c:a", "libvorbis")),
]


@pytest.mark.parametrize(("name", "encode"), CODINGS, ids=[name for name, _ in CODINGS])
@pytest.mark.parametrize("source", [0.0, 1.7])
async def test_a_click_is_placed_exactly(
    objects: Folder, tmp_path: Path, name: str, encode: tuple[str, ...], source: float
) -> None:
    key = clip(objects, "clicks", click_at(2.5), encode=encode, name=name)
    with av.open(str(objects.path(key))) as container:
        # These containers do not store the encoder's delay: the sound is late in the clip itself.
        frame = container.streams.audio[0].codec_context.frame_size
        late = {"ts": frame / RATE, "avi": 1105 / RATE}.get(name.removeprefix("clip."), 0.0)
    sound = await place_sounds(objects, tmp_path, 5.0, clip_sound(key, source, 1.2345, 2.9))
    assert first_audible(sound) == pytest.approx(1.2345 + 2.5 + late - source, abs=0.0012)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 96_000])
@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1"])
async def test_layout_and_rate_are_converted(objects: Folder, tmp_path: Path, rate: int, layout: str) -> None:
    expression = click_at(1.0).replace("48000", str(rate)) + f",aformat=channel_layouts={layout}"
    key = clip(objects, "clip", expression, 2.0, encode=("-c:a", "pcm_s16le", "-ar", str(rate)), name="clip.mov")
    sound = await place_sounds(objects, tmp_path, 2.0, clip_sound(key, 0.5, 0.25, 1.0))
    assert first_audible(sound) == pytest.approx(0.75, abs=0.001)
    assert level(sound[:, 0] - sound[:, 1]) < -80, "it is in the middle"
    # ffmpeg converts mono to stereo 3 dB quieter, and adds the centre channel of 5.1 to each side at that level.
    assert np.abs(sound).max() == pytest.approx(0.8 if layout == "mono" else 0.8 * 0.707, rel=0.1)


async def test_late_sound_keeps_its_offset(objects: Folder, tmp_path: Path) -> None:
    clip(objects, "early", click_at(0.5), 3.0)
    late = objects.root / "late.mp4"
    early = ("-f", "mp4", "-i", objects.path("early"))
    media.ffmpeg(*early, "-itsoffset", "0.7", *early, "-map", "0:v", "-map", "1:a", "-c", "copy", late)
    late.rename(objects.path("late"))
    assert first_audible(
        await place_sounds(objects, tmp_path, 3.0, clip_sound("late", 0.0, 0.0, 3.0))
    ) == pytest.approx(1.2, abs=0.0015)
    assert first_audible(
        await place_sounds(objects, tmp_path, 3.0, clip_sound("late", 1.0, 0.0, 2.0))
    ) == pytest.approx(0.2, abs=0.0015)


async def test_parts_fade_in_and_out(objects: Folder, tmp_path: Path) -> None:
    key = clip(objects, "tone", "sine=1000:r=48000,volume=12dB", 3.0)
    sound = await place_sounds(
        objects, tmp_path, 4.0, clip_sound(key, 0.7, 1.0, 0.9), clip_sound(key, 2.5, 2.0, 1.5, volume=0.5)
    )
    silent = [sound[: RATE - 1], sound[round(1.9 * RATE) + 1 : 2 * RATE - 1], sound[round(2.5 * RATE) + 50 :]]
    assert all(np.abs(part).max() < 1e-4 for part in silent), "a clip that is shorter is followed by silence"
    full = np.abs(sound[round(1.3 * RATE) : round(1.6 * RATE)]).max()
    assert full == pytest.approx(0.5, abs=0.02)
    assert np.abs(sound[round(2.2 * RATE) : round(2.3 * RATE)]).max() == pytest.approx(full / 2, abs=0.01)
    for edge in (1.0, 1.9, 2.0, 2.5):
        around = sound[round((edge - 0.005) * RATE) : round((edge + 0.005) * RATE)]
        # A tone of 1 kHz that is cut abruptly has a jump; this one fades.
        assert np.abs(np.diff(around, axis=0)).max() < 0.02
        assert np.abs(around).max() < 0.25 * full


@pytest.mark.parametrize("speed", [0.4, 0.8, 2.0, 5.0])
async def test_speed_keeps_the_pitch(objects: Folder, tmp_path: Path, speed: float) -> None:
    tone = "sine=1000:r=48000,volume='if(between(t,1,2),4,0)':eval=frame"
    key = clip(objects, "tone", tone, 4.0)
    sound = await place_sounds(objects, tmp_path, 12.0, clip_sound(key, 0.5, 0.5, 3 / speed, speed=speed))
    loud = np.flatnonzero(np.abs(sound[:, 0]) > 0.2) / RATE
    assert loud[0] == pytest.approx(0.5 + 0.5 / speed, abs=0.06)
    assert loud[-1] == pytest.approx(0.5 + 1.5 / speed, abs=0.06)
    inside = sound[round((loud[0] + 0.03) * RATE) : round((loud[-1] - 0.03) * RATE), 0]
    spectrum = np.abs(np.fft.rfft(inside * np.hanning(len(inside)), 8 * RATE))
    assert np.argmax(spectrum) / 8 == pytest.approx(1000, abs=15)


async def test_each_clip_is_fetched_once_and_temporary_files_are_removed(objects: Folder, tmp_path: Path) -> None:
    fetched: Counter[str] = Counter()

    class Counting(Folder):
        async def get_file(self, source: str, path: Path) -> None:
            fetched[source] += 1
            await super().get_file(source, path)

    one, two = clip(objects, "one", "sine=400", 2.0), clip(objects, "two", "sine=500", 2.0)
    (tmp_path / "work").mkdir()
    parts = [
        clip_sound(one, 0.0, 0.0, 0.5),
        clip_sound(two, 0.0, 0.5, 0.5),
        clip_sound(one, 0.5, 1.0, 0.5),
        clip_sound(one, 0.0, 9.0, 1.0),
    ]
    await place_sounds(Counting(objects.root), tmp_path / "work", 2.0, *parts)
    assert fetched == {"one": 1, "two": 1}
    assert [path.name for path in (tmp_path / "work").iterdir()] == [clip_sounds.CLIPS_FILE]


@pytest.fixture(scope="session")
def mixer() -> Mixer:
    return Mixer(ffmpeg_program(), "any", timedelta(minutes=10))


async def mixed(mixer: Mixer, objects: Folder, order: MixRequest, folder: Path) -> MixedTrack:
    return await mixer.mix(objects, order, folder)


async def test_clips_are_mixed_under_the_voice_and_mastered_with_it(
    mixer: Mixer, objects: Folder, tmp_path: Path
) -> None:
    write(objects.path("narration"), babble((4.0, -20)))
    tone = clip(objects, "tone", "sine=150:r=48000,volume=0dB", 9.0)
    click = clip(objects, "click", click_at(1.0), 2.0)
    sounds = (clip_sound(tone, 0.0, 0.0, 9.0), clip_sound(click, 0.75, 7.0, 1.0, volume=1.2))
    order = MixRequest("narration", "voice", "", seconds(9), sounds)
    made = await mixed(mixer, objects, order, tmp_path)
    path = objects.path(made.audio)
    sound = read(path, 2)
    assert len(sound) == 9 * RATE
    integrated, peak = r128(path)
    assert integrated == pytest.approx(-14, abs=0.5)
    assert peak <= -1.0
    # The babble has no such low frequencies: they are the clip, which is ducked while the voice speaks.
    low = band(sound, 100, 200)
    speaking, resting = level(low[2 * RATE : round(3.5 * RATE)]), level(low[round(5.5 * RATE) : 7 * RATE])
    assert 2 <= resting - speaking <= 9
    assert level(sound[2 * RATE : round(3.5 * RATE)]) - speaking >= 6, "the voice stands above the clip"
    high = band(sound, 1500, 2500)
    assert first_audible(high[6 * RATE :], threshold=0.1) + 6 == pytest.approx(7.25, abs=0.001)


async def test_clips_music_and_voice_are_mixed(mixer: Mixer, objects: Folder, tmp_path: Path) -> None:
    write(objects.path("narration"), babble((2.0, -20)))
    key = clip(objects, "tone", "sine=300", 4.0)
    order = MixRequest("narration", "voice", "calm", seconds(4), (clip_sound(key, 0.0, 0.0, 4.0),))
    sound = read(objects.path((await mixed(mixer, objects, order, tmp_path)).audio), 2)
    assert len(sound) == 4 * RATE
    rest = sound[round(2.6 * RATE) : round(3.4 * RATE)]
    assert level(band(rest, 295, 305)) > -40
    assert level(rest - band(rest, 280, 320)) > -40, "there is music too"


async def test_a_mix_is_stored_by_its_clip_sounds(mixer: Mixer, objects: Folder, tmp_path: Path) -> None:
    write(objects.path("narration"), babble((1.0, -20)))
    key = clip(objects, "tone", "sine=300", 2.0)
    part = clip_sound(key, 0.0, 0.0, 1.0)
    keys, made = [], []
    orders = [
        *((), (part,), (part,), (replace(part, volume=0.5),), (replace(part, source_start=seconds(0.1)),)),
        *((replace(part, start=seconds(0.1)),), (replace(part, speed=2.0),), (replace(part, clip_sha256="x"),)),
    ]
    for number, sounds in enumerate(orders):
        (tmp_path / str(number)).mkdir()
        order = MixRequest("narration", "voice", "", seconds(1), sounds)
        keys.append((await mixed(mixer, objects, order, tmp_path / str(number))).audio)
        made.append(objects.path(keys[-1]).read_bytes())
    assert keys[1] == keys[2]
    assert len(set(keys)) == len(objects.puts) == 7
    assert made[7] == made[1], "the same parts sound alike to the byte"


@pytest.mark.parametrize("content", ["no sound", "no clip"])
async def test_a_clip_without_sound_is_refused(mixer: Mixer, objects: Folder, tmp_path: Path, content: str) -> None:
    write(objects.path("narration"), babble((1.0, -20)))
    if content == "no sound":
        media.clip(objects.root / "mute.mp4", size=(64, 36)).rename(objects.path("mute"))
    else:
        objects.path("mute").write_bytes(b"#EXTM3U\nhttp://127.0.0.1/x.ts\n" * 100)
    key = clip(objects, "tone", "sine=300", 2.0)
    order = MixRequest(
        "narration", "voice", "", seconds(1), (clip_sound(key, 0.0, 0.0, 1.0), clip_sound("mute", 0.0, 0.0, 1.0))
    )
    with pytest.raises(InvalidArgument, match=r"clip_sounds\[1\]: the clip has no sound") as refused:
        await mixed(mixer, objects, order, tmp_path)
    assert refused.value.reason == "CLIP_NOT_PLAYABLE"
    assert str(tmp_path) not in refused.value.message
    assert objects.puts == []


@pytest.mark.parametrize("part", [clip_sound("tone", -1.0, 0.0, 1.0), clip_sound("tone", 0.0, -1.0, 1.0)])
async def test_a_negative_start_is_refused(mixer: Mixer, objects: Folder, tmp_path: Path, part: ClipSound) -> None:
    with pytest.raises(InvalidArgument, match=r"clip_sounds\[0\]") as refused:
        await mixed(mixer, objects, MixRequest("narration", "voice", "", seconds(1), (part,)), tmp_path)
    assert refused.value.reason == "REQUEST_INVALID"
