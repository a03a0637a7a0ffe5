"""A child that is killed is run again, whichever program it is; killed every time, it is an error that names it."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from moneyprinter.errors import Error, FailedPrecondition, Internal, InvalidArgument, ResourceExhausted
from services.audio import clip_sounds, export, loudness
from services.audio.espeak import open_espeak
from services.concatenation import join
from services.media.encoding import Quality
from services.media.ffmpeg import run_ffmpeg
from services.processing import render as rendering
from services.processing.render import Tool
from services.processing.source import Source
from services.processing.spec import Canvas, Clip, Shot, Spec
from services.rendering import check, finish, previews
from services.rendering.finish import Container, OutputSpec
from services.runtime import children
from services.validation import probe
from tests import media
from tests.audio.conftest import Folder, settings
from tests.concatenation.test_join import join_files
from tests.killing import kill_children, patch_launcher
from tests.media import parts
from tests.mesh import ffmpeg_program

LIMITS = "MB of memory"
SENTENCES = ["This is a sentence that takes a while to be spoken."] * 40

Work = Callable[[Path], Awaitable[object]]


# Every program that runs as a child, and what runs it.


async def read_clip(folder: Path) -> None:
    bounds = probe.ProbeLimits(1 << 24, 1 << 24, 60.0, 1 << 30, 20)
    await probe.probe(media.clip(folder / "clip.mp4"), probe.TimeRange(), bounds)


async def speak(folder: Path) -> None:
    config = settings()
    speaker = open_espeak(config.espeak_library, config.espeak_data, 150, ffmpeg_program())
    voice = speaker.voice("en-US")
    assert voice is not None
    spoken = await speaker.speak(SENTENCES, voice, folder / "speech.wav")
    assert len(spoken.sentences) == len(SENTENCES)


async def measure(folder: Path) -> None:
    media.sound(folder / "sound.wav", seconds=20)
    assert (await loudness.measure(ffmpeg_program(), "sound.wav", folder)).integrated_lufs > -40


async def code_speech(folder: Path) -> None:
    sound = media.sound(folder / "speech.wav", seconds=20)
    assert (await export.export_speech(ffmpeg_program(), sound, "mp3", -16.0, 20 * 48000)).stat().st_size


async def decode_clip_sound(folder: Path) -> None:
    objects = Folder(folder)
    media.clip(objects.path("a"), seconds=4, sound=True, container=("-f", "mp4"))
    second = timedelta(seconds=1)
    sound = clip_sounds.ClipSound("a", "a", 0 * second, 0 * second, 4 * second, 1.0, 1.0)
    await clip_sounds.place_clip_sounds(ffmpeg_program(), objects, [sound], 4 * clip_sounds.RATE, folder)


async def render_segment(folder: Path) -> None:
    media.clip(folder / "source0", container=("-f", "mp4"))
    spec = Spec((Shot(Clip(0)),), 20, Canvas(320, 180, 30), Quality.STANDARD)
    fonts: Any = None
    tool = Tool(ffmpeg_program(), "", 1, 1 << 24, children.Limits(), fonts)
    fractions: list[float] = []
    made = await rendering.render(spec, [Source(320, 180, has_matrix=False)], folder, tool, fractions.append)
    assert made.frame_count == 20
    assert fractions == sorted(fractions)


async def join_segments(folder: Path) -> None:
    for place in (1, 2):
        media.clip(
            folder / join.segment_file(place), encode=parts.ENCODE, container=("-video_track_timescale", "15360")
        )
    await join_files(folder, 2)


async def mux(folder: Path) -> None:
    parts.video_track(folder), parts.audio_track(folder)
    await finish.mux(folder, ffmpeg_program(), OutputSpec(Container.MP4, 2.0, "A title"))
    assert media.probe(folder / "video.mp4").has_audio


async def animate(folder: Path) -> None:
    parts.video_track(folder)
    await finish.make_animation(folder, ffmpeg_program(), 2.0)


async def take_pictures(folder: Path) -> None:
    parts.video_track(folder)
    assert not (await previews.write_previews(folder)).black


async def look_for_black(folder: Path) -> None:
    parts.video_track(folder)
    assert not await check.is_black(folder, ffmpeg_program())


PROGRAMS: dict[str, tuple[Work, str, str]] = {
    "clip reader": (read_clip, "probe_child", "probe"),
    "speech": (speak, "espeak_child.py", "espeak"),
    "speech's rate": (speak, "resampler=soxr", "ffmpeg"),
    "loudness": (measure, "ebur128", "ffmpeg"),
    "speech for people": (code_speech, "libmp3lame", "ffmpeg"),
    "clip's sound": (decode_clip_sound, "part-0", "ffmpeg"),
    "segment": (render_segment, "segment.mp4", "ffmpeg"),
    "joined video": (join_segments, join.LIST, "ffmpeg"),
    "finished video": (mux, "video.mp4", "ffmpeg"),
    "animation": (animate, finish.ANIMATION, "ffmpeg"),
    "poster": (take_pictures, "previews_child.py", "previews"),
    "black frames": (look_for_black, "blackframe", "ffmpeg"),
}


@pytest.mark.parametrize("cpu_seconds", [0.0, 0.01], ids=["at start", "in the middle"])
@pytest.mark.parametrize("name", PROGRAMS)
async def test_work_succeeds_after_its_child_is_killed_twice(
    name: str, cpu_seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, pattern, _ = PROGRAMS[name]
    killer = kill_children(monkeypatch, tmp_path, pattern, 2, cpu_seconds)
    await work(tmp_path)
    assert killer.count >= 3


@pytest.mark.parametrize("name", PROGRAMS)
async def test_the_error_of_a_child_that_is_always_killed_names_its_limits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, pattern, program = PROGRAMS[name]
    killer = kill_children(monkeypatch, tmp_path, pattern, 1000, 0.0)
    with pytest.raises(Internal) as failed:
        await work(tmp_path)
    assert killer.count == children.ATTEMPTS
    assert failed.value.reason == "CHILD_KILLED"
    message = failed.value.message
    assert f"{program} was killed (SIGKILL) in 3 of 3 attempts" in message
    assert LIMITS in message and ("s of CPU time" in message or "s," in message)
    assert "Traceback" not in message and str(tmp_path) not in message and str(Path(sys.prefix)) not in message
    assert failed.value.retry_after_seconds


# What ends a child, and what it becomes for a user.

ONE_SECOND = children.Limits(memory_bytes=1 << 30, cpu_seconds=1, wall_seconds=30.0)
ENDINGS: dict[str, tuple[str, type[Error], str, str]] = {
    "own memory": ("bytearray(1 << 32)", FailedPrecondition, "RENDER_FAILED", "reached its limit of 1024 MB of memory"),
    "own time": ("while True: pass", FailedPrecondition, "RENDER_FAILED", "reached its limit of 1 s of CPU time"),
    "crash": ("os.kill(os.getpid(), 11)", Internal, "CHILD_KILLED", r"killed \(SIGSEGV\)"),
    "abort": ("os.abort()", Internal, "CHILD_KILLED", r"killed \(SIGABRT\)"),
    "shell's child": ("sys.exit(137)", Internal, "CHILD_KILLED", r"killed \(SIGKILL\)"),
    "real-time signal": ("os.kill(os.getpid(), 40)", Internal, "CHILD_KILLED", r"killed \(signal 40\)"),
    "traceback": ("1 / 0", FailedPrecondition, "RENDER_FAILED", r"failed \(incident [0-9a-f]{12} in the log\)"),
    "disk": ("sys.exit('x: No space left on device')", ResourceExhausted, "STORAGE_FULL", "the disk is full"),
}


@pytest.mark.parametrize("name", ENDINGS)
async def test_each_exit_of_a_child_maps_to_one_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program, kind, reason, says = ENDINGS[name]
    monkeypatch.setattr(children, "PAUSES_SECONDS", (0.0, 0.0))
    with pytest.raises(kind, match=says) as failed:
        try:
            await children.run((sys.executable, "-I", "-S", "-c", f"import os, sys\n{program}"), limits=ONE_SECOND)
        except children.ChildFailed as failure:
            raise children.to_error(failure, "it cannot be made", FailedPrecondition, reason="RENDER_FAILED") from None
    assert failed.value.reason == reason
    assert "Traceback" not in failed.value.message and "/" not in failed.value.message


async def test_ffmpeg_runs_again_after_a_signal(tmp_path: Path) -> None:
    """It ends by itself then, with a file that is cut."""
    wrapper = tmp_path / "ffmpeg"
    wrapper.write_text(
        f"#!/bin/sh\n[ -e {tmp_path}/once ] || {{ touch {tmp_path}/once; echo a warning >&2; exit 255; }}\nexit 0\n"
    )
    wrapper.chmod(0o700)
    fractions: list[float] = []
    await run_ffmpeg(wrapper, (), seconds=1.0, folder=tmp_path, on_progress=fractions.append)
    assert fractions == []
    assert (tmp_path / "once").exists()


async def test_a_stalled_child_does_not_blame_the_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "PAUSES_SECONDS", (0.0, 0.0))
    patch_launcher(monkeypatch, tmp_path, "os.kill(os.getpid(), 19)\n")
    bounds = probe.ProbeLimits(1 << 24, 1 << 24, 60.0, 1 << 30, 1)
    with pytest.raises(Internal, match="stood still") as failed:
        await probe.probe(media.clip(tmp_path / "clip.mp4"), probe.TimeRange(), bounds)
    assert failed.value.reason == "CHILD_KILLED"


async def test_a_clip_that_reaches_the_limits_of_its_reader_is_refused(tmp_path: Path) -> None:
    media.clip(tmp_path / "clip.mp4", size=(1920, 1080))
    bounds = probe.ProbeLimits(1 << 24, 1 << 24, 60.0, 100 << 20, 20)
    with pytest.raises(InvalidArgument, match="the clip cannot be used"):
        await probe.probe(tmp_path / "clip.mp4", probe.TimeRange(), bounds)
