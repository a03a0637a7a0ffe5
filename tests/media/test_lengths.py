"""A clip is as long as players show it: compared with what ffmpeg decodes, in every container."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from moneyprinter.errors import InvalidArgument
from services.media.encoding import Quality
from services.processing.render import Tool
from services.processing.spec import Canvas, Clip, Fit, Shot, Spec, Still
from services.validation.probe import TimeRange, probe
from tests import media
from tests.media.drawing import render_clips
from tests.mesh import ffmpeg_program
from tests.sources import LIMITS

FILES = Path(__file__).with_name("files")
CANVAS = Canvas(160, 90, 25)
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-bf", "2", "-g", "12")
PICTURE = ("-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=2")
LONG = ("-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=8")
SOUND = ("-f", "lavfi", "-i", "sine=r=48000:d=2")
LATE = ("-itsoffset", "0.8", *PICTURE)
AAC, OPUS, MP3 = ("-c:a", "aac"), ("-c:a", "libopus"), ("-c:a", "mp3")
VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8")


def decoded_seconds(path: Path) -> float:
    """Returns the end of the last frame or sample that ffmpeg decodes, in seconds."""
    tracks = ("-map", "0:v:0", "-map", "0:a:0?", "-fps_mode", "passthrough", "-f", "null", "-")
    command = [str(word) for word in (ffmpeg_program(), "-nostdin", "-i", path, *tracks)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    hours, minutes, seconds = re.findall(r"time=(\d+):(\d+):([\d.]+)", done.stderr)[-1]
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def _made(*arguments: str) -> Callable[[Path], None]:
    return lambda path: media.ffmpeg(*arguments, path)


def _trimmed(path: Path) -> None:
    """Edit lists that begin after the start of the media, and end before its end."""
    whole = path.with_name(f"whole{path.suffix}")
    media.ffmpeg(*LONG, *H264, whole)
    media.ffmpeg("-ss", "2.2", "-t", "3", "-i", whole, "-c", "copy", path)


MADE: dict[str, Callable[[Path], None]] = {
    **{f"plain.{ending}": _made(*PICTURE, *SOUND, *H264, *AAC) for ending in ("mp4", "mov", "mkv", "ts", "flv")},
    "plain.webm": _made(*PICTURE, *SOUND, *VP9, *OPUS),
    "plain.avi": _made(*PICTURE, *SOUND, "-c:v", "mpeg4", *MP3),
    "plain.mpg": _made(*PICTURE, *SOUND, "-c:v", "mpeg2video", "-c:a", "mp2"),
    "fragmented.mp4": _made(*PICTURE, *SOUND, *H264, *AAC, "-movflags", "frag_keyframe+empty_moov"),
    "edited.mp4": _trimmed,
    "edited.mov": _trimmed,
    "edited.mkv": _trimmed,
    "late.mp4": _made(*SOUND, *LATE, *H264, *AAC, "-map", "1:v", "-map", "0:a"),
    "late.mkv": _made(*SOUND, *LATE, *H264, *AAC, "-map", "1:v", "-map", "0:a"),
    "late.ts": _made(*SOUND, *LATE, *H264, *AAC, "-map", "1:v", "-map", "0:a"),
    "negative.mkv": _made("-itsoffset", "-0.5", *PICTURE, *H264, "-avoid_negative_ts", "disabled"),
    "variable.mp4": _made(*PICTURE, "-vf", "select='lt(n,20)+not(mod(n,7))'", "-fps_mode", "vfr", *H264),
    "variable.mkv": _made(*PICTURE, "-vf", "select='lt(n,20)+not(mod(n,7))'", "-fps_mode", "vfr", *H264),
    "stands.mkv": _made("-f", "lavfi", "-i", "testsrc2=s=160x90:r=1:d=1", "-f", "lavfi", "-i", "sine=d=3", *H264, *AAC),
    "stands.ts": _made("-f", "lavfi", "-i", "testsrc2=s=160x90:r=5:d=1", "-f", "lavfi", "-i", "sine=d=3", *H264, *AAC),
    "moving.gif": _made("-f", "lavfi", "-i", "testsrc2=s=160x90:r=10:d=1"),
    "moving.apng": _made("-f", "lavfi", "-i", "testsrc2=s=160x90:r=10:d=1", "-f", "apng"),
    "moving.webp": _made("-f", "lavfi", "-i", "testsrc2=s=160x90:r=10:d=1", "-c:v", "libwebp_anim"),
}


def made(name: str, folder: Path) -> Path:
    path = folder / name
    MADE[name](path)
    return path


@pytest.mark.parametrize("name", MADE)
async def test_a_clip_has_the_length_that_ffmpeg_decodes(tool: Tool, tmp_path: Path, name: str) -> None:
    path = made(name, tmp_path)
    seconds = (await probe(path, TimeRange(), LIMITS)).duration_seconds or 0.0
    assert seconds == pytest.approx(decoded_seconds(path), abs=0.06)
    # All of it is rendered, to its end.
    spec = Spec((Shot(Clip(0)),), int(seconds * 25), CANVAS, Quality.DRAFT)
    assert media.probe(await render_clips(tool, tmp_path / "work", [path], spec)).frames == spec.frame_count


@pytest.mark.parametrize("suffix", ["ts", "mpg"])
async def test_recordings_joined_byte_by_byte_are_refused_whole(tmp_path: Path, suffix: str) -> None:
    """Their times begin anew, so that seeking finds one of them; the advice of the message makes one clip of both."""
    parts, joined, whole = tmp_path / f"part.{suffix}", tmp_path / f"joined.{suffix}", tmp_path / "whole.mp4"
    media.ffmpeg(*PICTURE, *(H264 if suffix == "ts" else ("-c:v", "mpeg2video")), parts)
    seconds = (await probe(parts, TimeRange(), LIMITS)).duration_seconds or 0.0
    joined.write_bytes(parts.read_bytes() * 2)
    with pytest.raises(
        InvalidArgument, match=rf"several recordings.*anew after {seconds:.1f}\d* s.*-c copy"
    ) as refused:
        await probe(joined, TimeRange(), LIMITS)
    assert refused.value.reason == "CLIP_NOT_PLAYABLE"
    media.ffmpeg("-i", joined, "-c", "copy", whole)
    assert (await probe(whole, TimeRange(), LIMITS)).duration_seconds == pytest.approx(2 * seconds, abs=0.1)


@pytest.mark.parametrize(
    ("name", "seconds"), [("C27_static.mp4", 6.0), ("C27_static.webm", 6.0), ("C24_alt_first.mp4", 4.0)]
)
async def test_the_last_frame_is_held_while_the_sound_continues(
    tool: Tool, tmp_path: Path, name: str, seconds: float
) -> None:
    facts = await probe(FILES / name, TimeRange(), LIMITS)
    assert facts.duration_seconds == pytest.approx(seconds, abs=0.05)
    for start in (place for place in (0.0, 3.0, 5.0) if place < seconds):
        spec = Spec((Shot(Clip(0, timedelta(seconds=start))),), 24, CANVAS, Quality.NEAR_LOSSLESS)
        frames = list(media.pictures(await render_clips(tool, tmp_path / f"{start}", [FILES / name], spec)))
        assert len(frames) == 24
    spec = Spec((Shot(Clip(0)),), int(seconds * 25), CANVAS, Quality.DRAFT)
    assert media.probe(await render_clips(tool, tmp_path / "all", [FILES / name], spec)).frames == spec.frame_count


@pytest.mark.parametrize("start", [0.5, 8.0, 13.6])
async def test_a_stream_without_an_index_is_shown_from_any_time(tool: Tool, tmp_path: Path, start: float) -> None:
    """Its key frames may be ten seconds apart, as ffmpeg places them by default."""
    path = tmp_path / "long.ts"
    sound = ("-f", "lavfi", "-i", "sine=d=14", *AAC)
    chain = "color=black:s=64x36:r=25:d=14,format=yuv420p,geq=lum='16+mod(N,70)*3':cb=128:cr=128"
    media.ffmpeg("-f", "lavfi", "-i", chain, *sound[:4], "-c:v", "libx264", "-preset", "ultrafast", *AAC, path)
    spec = Spec((Shot(Clip(0, timedelta(seconds=start))),), 5, CANVAS, Quality.NEAR_LOSSLESS)
    frames = list(media.pictures(await render_clips(tool, tmp_path / "work", [path], spec)))
    shown = [float(frame[45, 80].mean()) * 219 / 255 / 3 for frame in frames]
    # The picture begins a little after the sound.
    first = (start - (await probe(path, TimeRange(), LIMITS)).source["picture_start"]) * 25
    for number, value in enumerate(shown):
        assert value == pytest.approx((first + number) % 70, abs=1.2), number


async def test_a_video_of_one_frame_is_a_still(tool: Tool, tmp_path: Path) -> None:
    facts = await probe(FILES / "C14_oneframe.mp4", TimeRange(), LIMITS)
    assert facts.still
    spec = Spec((Shot(Still(0)),), 50, CANVAS, Quality.DRAFT)
    made = await render_clips(tool, tmp_path / "work", [FILES / "C14_oneframe.mp4"], spec)
    assert media.probe(made).frames == 50


@pytest.mark.parametrize("name", ["C19_short.gif", "C16_anim.png"])
async def test_an_animation_is_looped(tool: Tool, tmp_path: Path, name: str) -> None:
    seconds = (await probe(FILES / name, TimeRange(), LIMITS)).duration_seconds or 0.0
    assert seconds == pytest.approx({"C19_short.gif": 0.3, "C16_anim.png": 3.0}[name])
    spec = Spec((Shot(Clip(0), Fit.STRETCH),), round(2 * seconds * 25) + 20, CANVAS, Quality.NEAR_LOSSLESS)
    frames = list(media.pictures(await render_clips(tool, tmp_path / "work", [FILES / name], spec)))
    assert len(frames) == spec.frame_count
    period = round(seconds * 25)
    if name == "C16_anim.png":
        difference = abs(frames[5].astype(int) - frames[5 + period]).mean()
        moved = abs(frames[5].astype(int) - frames[5 + period // 3 + 2]).mean()
        assert difference < 3 < moved, "it moves, and comes again"


async def test_the_default_track_is_shown(tool: Tool, tmp_path: Path) -> None:
    facts = await probe(FILES / "C24_alt_first.mp4", TimeRange(), LIMITS)
    assert (facts.width, facts.height) == (320, 180), "not the 640x360 of the first track"


async def test_the_default_sound_is_chosen_over_a_commentary(tmp_path: Path) -> None:
    path = tmp_path / "tracks.mkv"
    tones = [("-f", "lavfi", "-i", f"sine=frequency={tone}:d=2") for tone in (300, 600, 900)]
    maps = ("-map", "0:v", "-map", "1:a", "-map", "2:a", "-map", "3:a")
    marks = ("-disposition:a:0", "comment", "-disposition:a:1", "0", "-disposition:a:2", "default")
    media.ffmpeg(*PICTURE, *(word for tone in tones for word in tone), *maps, *H264, *AAC, *marks, path)
    assert (await probe(path, TimeRange(), LIMITS)).sound_track == 2
    spoken = tmp_path / "languages.mkv"
    languages = (
        "-metadata:s:v:0",
        "language=ger",
        "-metadata:s:a:0",
        "language=eng",
        "-metadata:s:a:1",
        "language=ger",
    )
    plain = ("-disposition:a:0", "0", "-disposition:a:1", "0")
    both = (*tones[0], *tones[1], "-map", "0:v", "-map", "1:a", "-map", "2:a")
    media.ffmpeg(*PICTURE, *both, *H264, *AAC, *languages, *plain, spoken)
    assert (await probe(spoken, TimeRange(), LIMITS)).sound_track == 1


async def test_a_cover_is_not_a_video(tmp_path: Path) -> None:
    cover, path = tmp_path / "cover.png", tmp_path / "covered.mp4"
    media.ffmpeg("-f", "lavfi", "-i", "color=red:s=500x500", "-frames:v", "1", cover)
    mapped = ("-map", "1", "-map", "0", "-disposition:v:0", "attached_pic", "-c:v:0", "png")
    media.ffmpeg(*PICTURE, "-i", cover, *mapped, "-c:v:1", "libx264", "-disposition:v:1", "default", path)
    facts = await probe(path, TimeRange(), LIMITS)
    assert (facts.width, facts.height, facts.still) == (160, 90, False)
