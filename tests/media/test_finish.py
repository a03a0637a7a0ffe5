"""A finished video: its sound in sync, of the exact length, playable while it loads, and checked."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from moneyprinter.errors import FailedPrecondition
from services.rendering import check, finish, previews
from services.rendering.check import Measurements
from services.rendering.finish import Container, OutputSpec
from tests import media
from tests.media.parts import ENCODE, audio_track, video_track
from tests.mesh import ffmpeg_program

VIDEO = "video.mp4"


async def finish_video(folder: Path, seconds: float = 2.0, title: str = "A title", **form: Any) -> Path:
    """Mux the tracks in the folder. Returns the video."""
    wanted = OutputSpec(**{"container": Container.MP4, "seconds": seconds, "title": title, **form})
    await finish.mux(folder, ffmpeg_program(), wanted)
    return folder / wanted.video


def boxes(path: Path) -> list[str]:
    """Returns the types of the boxes of an MP4, in order."""
    data, at, names = path.read_bytes(), 0, []
    while at < len(data):
        size, name = struct.unpack(">I4s", data[at : at + 8])
        names.append(name.decode())
        at += size
    return names


async def test_a_flash_and_its_click_come_together(tmp_path: Path) -> None:
    video_track(tmp_path, "color=black:s={w}x{h}:r={rate},drawbox=t=fill:c=white:enable='eq(n,30)'")
    audio_track(tmp_path, "aevalsrc='if(between(t,1,1.02),0.8*sin(2*PI*1000*t),0)|0':s=48000")
    made = await finish_video(tmp_path)
    flash = next(
        float(time)
        for time, frame in zip(media.probe(made).times, media.pictures(made), strict=True)
        if frame.mean() > 200
    )
    heard, rate = media.samples(made)
    click = int(np.argmax(np.abs(heard[:, 0]) > 0.2)) / rate
    assert flash == pytest.approx(1.0)
    assert click == pytest.approx(flash, abs=0.02)


async def test_streams_are_what_the_contract_says(tmp_path: Path) -> None:
    video_track(tmp_path), audio_track(tmp_path)
    made = await finish_video(tmp_path)
    video = media.probe(made)
    assert (video.codec, video.frames, video.colours, video.square) == ("h264", 60, (1, 1, 1, 1), True)
    with av.open(str(made)) as container:
        stream = container.streams.audio[0]
        assert (stream.codec_context.name, stream.rate, stream.channels) == ("aac", 48000, 2)
        assert container.metadata["title"] == "A title"
    names = boxes(made)
    assert names.index("moov") < names.index("mdat"), "it plays while it loads"


@pytest.mark.parametrize("seconds", [0.5, 2.0, 3.0])
async def test_shorter_and_longer_sound_gets_the_planned_length(tmp_path: Path, seconds: float) -> None:
    video_track(tmp_path), audio_track(tmp_path, seconds=seconds)
    made = await finish_video(tmp_path)
    with av.open(str(made)) as container:
        for stream in container.streams:
            assert stream.duration is not None and stream.time_base is not None
            assert float(stream.duration * stream.time_base) == pytest.approx(2.0, abs=1e-3)
    assert media.probe(made).seconds == pytest.approx(2.0, abs=1e-3)


async def test_the_picture_is_not_encoded_again(tmp_path: Path) -> None:
    source, _ = video_track(tmp_path, "testsrc2=s={w}x{h}:r={rate}"), audio_track(tmp_path)
    made = await finish_video(tmp_path)
    pairs = zip(media.pictures(source), media.pictures(made), strict=True)
    assert all(np.array_equal(before, after) for before, after in pairs)


@pytest.mark.parametrize(
    ("title", "written"),
    [
        ("-i /etc/passwd", "-i /etc/passwd"),
        ("a=b:c;d'e\"f\\g[h]%{x}", "a=b:c;d'e\"f\\g[h]%{x}"),
        ("Ünïcode 日本 😀", "Ünïcode 日本 😀"),
        ("two\nlines\x00and\x1bmore", "two lines and more"),
        ("", None),
    ],
)
async def test_any_title_is_written_as_it_is(tmp_path: Path, title: str, written: str | None) -> None:
    video_track(tmp_path), audio_track(tmp_path)
    with av.open(str(await finish_video(tmp_path, title=title))) as container:
        assert container.metadata.get("title") == written


async def run_check(folder: Path, planned: float = 2.0) -> Measurements:
    """Mux the tracks in the folder, and check the video."""
    await finish_video(folder)
    return await check.check_video(folder, ffmpeg_program(), OutputSpec(Container.MP4, planned, ""))


async def test_a_good_video_passes_with_its_measurements(tmp_path: Path) -> None:
    video_track(tmp_path), audio_track(tmp_path, volume_db=6)
    measures = await run_check(tmp_path)
    assert measures.seconds == pytest.approx(2.0, abs=1e-3)
    assert measures.loudness_lufs == pytest.approx(media.loudness(tmp_path / VIDEO), abs=0.3)
    heard, _ = media.samples(tmp_path / VIDEO)
    # A tone of 440 Hz has many samples a period: its true peak is barely above the highest sample.
    assert measures.true_peak_dbtp == pytest.approx(20 * np.log10(np.abs(heard).max()), abs=0.1)


async def check_failure(folder: Path, planned: float = 2.0) -> str:
    """Returns the message with which the video in the folder fails its check."""
    with pytest.raises(FailedPrecondition) as failure:
        await run_check(folder, planned)
    assert failure.value.reason == "QUALITY_CHECK_FAILED"
    return failure.value.message


@pytest.mark.parametrize(
    ("chain", "black"),
    [
        ("color=black:s={w}x{h}:r={rate}", True),
        ("color=0x202020:s={w}x{h}:r={rate}", False),
        (media.CORNERS + ",drawbox=t=fill:c=black:enable='gte(n,1)'", False),
    ],
    ids=["black", "dark", "one frame is not"],
)
async def test_a_video_is_black_when_all_its_frames_are(tmp_path: Path, chain: str, black: bool) -> None:
    video_track(tmp_path, chain), audio_track(tmp_path)
    await finish_video(tmp_path)
    seen = await previews.write_previews(tmp_path)
    assert (seen.black and await check.is_black(tmp_path, ffmpeg_program())) == black


@pytest.mark.parametrize("expression", ["anullsrc", "sine=440,volume=-60dB"])
async def test_a_silent_video_is_refused(tmp_path: Path, expression: str) -> None:
    video_track(tmp_path), audio_track(tmp_path, expression)
    assert "it is silent: its loudness is -" in await check_failure(tmp_path)


@pytest.mark.parametrize(("planned", "passes"), [(1.95, True), (2.05, True), (1.8, False), (2.2, False)])
async def test_both_tracks_must_have_the_planned_length(tmp_path: Path, planned: float, passes: bool) -> None:
    video_track(tmp_path), audio_track(tmp_path)
    if passes:
        await run_check(tmp_path, planned)
    else:
        assert f"is 2.00 s long, and the plan says {planned:.2f} s" in await check_failure(tmp_path, planned)


@pytest.mark.parametrize("missing", ["picture", "sound"])
async def test_a_missing_stream_is_refused(tmp_path: Path, missing: str) -> None:
    video_track(tmp_path), audio_track(tmp_path)
    made = (await finish_video(tmp_path)).rename(tmp_path / "whole.mp4")
    kept = {"picture": "-vn", "sound": "-an"}[missing]
    media.ffmpeg("-i", made, kept, "-c", "copy", tmp_path / VIDEO)
    with pytest.raises(FailedPrecondition, match=f"it has no {missing}") as failure:
        await check.check_video(tmp_path, ffmpeg_program(), OutputSpec(Container.MP4, 2.0, ""))
    assert failure.value.reason == "QUALITY_CHECK_FAILED"


@pytest.mark.parametrize("broken", [finish.VIDEO_TRACK, finish.AUDIO_TRACK])
async def test_unreadable_tracks_are_reported(tmp_path: Path, broken: str) -> None:
    video_track(tmp_path), audio_track(tmp_path)
    (tmp_path / broken).write_bytes(b"neither picture nor sound" * 100)
    with pytest.raises(FailedPrecondition, match="cannot be finished") as failure:
        await finish_video(tmp_path)
    assert failure.value.reason == "RENDER_FAILED"
    assert str(tmp_path) not in failure.value.message


async def test_the_same_tracks_give_the_same_bytes(tmp_path: Path) -> None:
    made = []
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        video_track(folder, "testsrc2=s={w}x{h}:r={rate}"), audio_track(folder)
        await finish_video(folder)
        await previews.write_previews(folder)
        made.append([(folder / file).read_bytes() for file in (VIDEO, finish.POSTER, finish.THUMBNAILS)])
    assert made[0] == made[1]


async def test_ten_minutes_later_a_flash_and_its_click_still_come_together(tmp_path: Path) -> None:
    seconds, rate = 600, 5
    flashes = f"eq(n,{rate})+eq(n,{(seconds - 1) * rate})"
    chain = f"color=black:s={{w}}x{{h}}:r={{rate}},drawbox=t=fill:c=white:enable='{flashes}'"
    media.clip(tmp_path / "picture.mp4", chain, size=(64, 36), rate=str(rate), seconds=seconds, encode=ENCODE).rename(
        tmp_path / finish.VIDEO_TRACK
    )
    clicks = f"between(t,1,1.02)+between(t,{seconds - 1},{seconds - 1}.02)"
    media.sound(tmp_path / "sound.wav", f"aevalsrc='if({clicks},0.8*sin(2*PI*1000*t),0)':s=48000", seconds=seconds)
    (tmp_path / "sound.wav").rename(tmp_path / finish.AUDIO_TRACK)
    made = await finish_video(tmp_path, seconds)
    video = media.probe(made)
    assert video.seconds == pytest.approx(seconds, abs=1e-3) and video.start == 0
    seen = [float(time) for time, frame in zip(video.times, media.pictures(made), strict=True) if frame.mean() > 200]
    heard, sound_rate = media.samples(made)
    loud = np.flatnonzero(np.abs(heard[:, 0]) > 0.2) / sound_rate
    begun = [float(loud[0]), float(loud[loud > 2][0])]
    assert seen == pytest.approx([1.0, seconds - 1.0])
    assert begun == pytest.approx(seen, abs=0.02)


async def test_a_webm_holds_opus_and_has_the_planned_length(tmp_path: Path) -> None:
    vp9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "60")
    media.clip(tmp_path / "picture.mp4", media.CORNERS, seconds=2.0, encode=vp9).rename(tmp_path / finish.VIDEO_TRACK)
    audio_track(tmp_path, volume_db=6)
    form = OutputSpec(Container.WEBM, 2.0, "A title")
    await finish.mux(tmp_path, ffmpeg_program(), form)
    measures = await check.check_video(tmp_path, ffmpeg_program(), form)
    assert measures.seconds == pytest.approx(2.0, abs=0.02)
    with av.open(str(tmp_path / "video.webm")) as container:
        assert [stream.codec_context.name for stream in container.streams] == ["vp9", "opus"]
        assert container.metadata["title"] == "A title"
    assert measures.loudness_lufs == pytest.approx(media.loudness(tmp_path / "video.webm"), abs=0.3)
    with pytest.raises(FailedPrecondition, match=r"the plan says 2\.20 s"):
        await check.check_video(tmp_path, ffmpeg_program(), OutputSpec(Container.WEBM, 2.2, ""))


async def test_renditions_have_the_same_sound(tmp_path: Path) -> None:
    video_track(tmp_path), audio_track(tmp_path)
    small = media.clip(tmp_path / "small.mp4", media.CORNERS, size=(160, 90), seconds=2.0, encode=ENCODE)
    small.rename(tmp_path / finish.video_track_file(1))
    made = await finish_video(tmp_path, renditions=("90p",))
    other = tmp_path / "video-90p.mp4"
    assert (media.probe(other).width, media.probe(other).height) == (160, 90)
    assert np.array_equal(media.samples(made)[0], media.samples(other)[0])


@pytest.mark.parametrize(("size", "expected"), [((320, 180), (320, 180)), ((180, 320), (180, 320))])
async def test_an_animation_shows_parts_of_the_whole_video(
    tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    # Red for six seconds, then blue for six.
    chain = "color=red:s={w}x{h}:r={rate},drawbox=t=fill:c=blue:enable='gte(t,6)'"
    made = media.clip(tmp_path / "picture.mp4", chain, size=size, seconds=12, encode=ENCODE)
    made.rename(tmp_path / finish.VIDEO_TRACK)
    await finish.make_animation(tmp_path, ffmpeg_program(), 12.0)
    animation = tmp_path / finish.ANIMATION
    shown = list(media.pictures(animation))
    assert (shown[0].shape[1], shown[0].shape[0]) == expected
    assert len(shown) == pytest.approx(6 * finish.ANIMATION_RATE, abs=2)
    assert media.probe(animation).seconds == pytest.approx(6, abs=0.3)
    reds = [media.is_near(picture[90, 90], "red", 40) for picture in shown]
    assert reds == sorted(reds, reverse=True) and 0.4 < sum(reds) / len(reds) < 0.6
    assert animation.stat().st_size < 300_000
