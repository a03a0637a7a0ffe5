"""RenderingService over mTLS, with the storage service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from google.protobuf.duration_pb2 import Duration

from moneyprinter import errors
from moneyprinter.media.v1 import media_pb2
from moneyprinter.rendering.v1 import rendering_service_pb2 as pb
from moneyprinter.rendering.v1 import rendering_service_pb2_grpc as pb_grpc
from services.rendering import finish
from services.rendering.config import Config
from tests import media
from tests.media.parts import audio_track, video_track
from tests.mesh import Mesh
from tests.stored import fetch, start_storage, wait_until


@pytest.fixture
async def stub(mesh: Mesh, tmp_path: Path) -> Any:
    """The service."""
    await start_storage(mesh, tmp_path / "storage")
    await mesh.start("rendering", Config())
    return mesh.stub(pb_grpc.RenderingServiceStub)


async def request(
    mesh: Mesh, files: Path, expression: str = "sine=440", chain: str = media.CORNERS, **changes: Any
) -> pb.FinishVideoRequest:
    """Store the tracks of a video of two seconds. Returns the request to finish it."""
    video = await mesh.objects().put_file("cache/concatenation/1.mp4", video_track(files, chain))
    audio = await mesh.objects().put_file("cache/audio/1.wav", audio_track(files, expression))
    wanted = {
        "duration": Duration(seconds=2),
        "title": "A walk",
        "folder": "jobs/vid_1",
        "container": pb.CONTAINER_MP4,
        **changes,
    }
    return pb.FinishVideoRequest(video=video, audio=audio, **wanted)


def scratch(mesh: Mesh) -> list[Path]:
    """Returns the files in the scratch folder of the service."""
    return list(mesh.config.scratch.glob("rendering-*/*"))


async def test_a_video_and_its_poster_are_stored(mesh: Mesh, stub: Any, tmp_path: Path) -> None:
    *before, last = [response async for response in stub.FinishVideo(await request(mesh, tmp_path))]
    progress = [response.progress.fraction for response in before]
    assert progress == sorted(progress) and progress[0] == 0 and progress[-1] <= 1
    video = last.video
    files = {file.name: file.object for file in video.files}
    assert list(files) == ["video.mp4", "poster.jpg", "thumbnails.jpg"]
    assert [stored.key for stored in files.values()] == [f"jobs/vid_1/{name}" for name in files]
    assert video.duration.ToTimedelta().total_seconds() == pytest.approx(2, abs=1e-3)
    made = await fetch(mesh, files["video.mp4"], tmp_path / "made.mp4")
    assert media.probe(made).has_audio
    assert video.loudness_lufs == pytest.approx(media.loudness(made), abs=0.3)
    heard, _ = media.samples(made)
    assert video.true_peak_dbtp == pytest.approx(20 * np.log10(np.abs(heard).max()), abs=0.1)
    (poster,) = media.pictures(await fetch(mesh, files["poster.jpg"], tmp_path / "made.jpg"))
    assert poster.shape == (180, 320, 3)
    (strip,) = media.pictures(await fetch(mesh, files["thumbnails.jpg"], tmp_path / "strip.jpg"))
    assert strip.shape == (160, 10 * 284, 3)
    assert scratch(mesh) == []


async def test_other_sizes_and_an_animation_are_made_on_request(mesh: Mesh, stub: Any, tmp_path: Path) -> None:
    wanted = await request(mesh, tmp_path, gif=True)
    wanted.renditions.add(name="480p", video=wanted.video)
    *_, last = [response async for response in stub.FinishVideo(wanted)]
    names = [file.name for file in last.video.files]
    assert names == ["video.mp4", "video-480p.mp4", "poster.jpg", "thumbnails.jpg", "preview.gif"]
    for file in last.video.files:
        assert media.probe(await fetch(mesh, file.object, tmp_path / file.name)).frames


async def test_a_video_that_fails_its_check_is_not_stored(mesh: Mesh, stub: Any, tmp_path: Path) -> None:
    with pytest.raises(errors.FailedPrecondition, match="silent") as refused:
        async for _ in stub.FinishVideo(await request(mesh, tmp_path, "anullsrc")):
            pass
    assert refused.value.reason == "QUALITY_CHECK_FAILED"
    assert await mesh.objects().head("jobs/vid_1/video.mp4") is None
    assert scratch(mesh) == []


async def test_a_black_video_is_not_stored(mesh: Mesh, stub: Any, tmp_path: Path) -> None:
    with pytest.raises(errors.FailedPrecondition, match=r"all of its 2\.00 s are black") as refused:
        async for _ in stub.FinishVideo(await request(mesh, tmp_path, chain="color=black:s={w}x{h}:r={rate}")):
            pass
    assert refused.value.reason == "QUALITY_CHECK_FAILED"
    assert await mesh.objects().head("jobs/vid_1/video.mp4") is None
    assert scratch(mesh) == []


async def test_a_video_may_be_black_or_silent_on_request(mesh: Mesh, stub: Any, tmp_path: Path) -> None:
    black = await request(mesh, tmp_path, chain="color=black:s={w}x{h}:r={rate}", may_be_black=True)
    *_, last = [response async for response in stub.FinishVideo(black)]
    assert last.HasField("video")
    silent = await request(mesh, tmp_path, "anullsrc", may_be_silent=True)
    *_, last = [response async for response in stub.FinishVideo(silent)]
    assert last.HasField("video")
    assert (last.video.loudness_lufs, last.video.true_peak_dbtp) == (-70, -120), "numbers that JSON has"


async def test_a_long_video_reports_its_progress(mesh: Mesh, stub: Any, tmp_path: Path) -> None:
    video_track(tmp_path, "color=red:s=64x36:r=5", seconds=300)
    (tmp_path / finish.VIDEO_TRACK).rename(tmp_path / "long")
    video = await mesh.objects().put_file("cache/concatenation/long.mp4", tmp_path / "long")
    wanted = await request(mesh, tmp_path, "sine=440", duration=Duration(seconds=300))
    wanted.video.CopyFrom(video)
    *before, last = [response async for response in stub.FinishVideo(wanted)]
    fractions = [response.progress.fraction for response in before]
    assert fractions == sorted(fractions)
    assert len([fraction for fraction in fractions if 0.1 < fraction < 0.95]) >= 3, "also between its parts"
    assert last.HasField("video")


async def test_a_poster_is_taken_from_a_frame(mesh: Mesh, stub: Any, tmp_path: Path) -> None:
    *_, last = [response async for response in stub.FinishVideo(await request(mesh, tmp_path))]
    assert 0 <= last.video.poster_time.ToTimedelta().total_seconds() <= 2
    blue = media.clip(tmp_path / "blue.mp4", "color=blue:s=320x180:r={rate}", seconds=1 / 30)
    frame = await mesh.objects().put_file("cache/processing/1.mp4", blue)
    taken = (await stub.TakePoster(pb.TakePosterRequest(video=frame, folder="jobs/vid_1/2"))).poster
    assert (taken.name, taken.object.key) == ("poster.jpg", "jobs/vid_1/2/poster.jpg")
    (poster,) = media.pictures(await fetch(mesh, taken.object, tmp_path / "poster.jpg"))
    assert media.is_near(poster[90, 160], "blue")
    assert scratch(mesh) == []


async def test_a_short_video_that_fades_in_from_black_passes(mesh: Mesh, stub: Any, tmp_path: Path) -> None:
    wanted = await request(mesh, tmp_path, chain=media.CORNERS + ",fade=in:0:20")
    assert media.probe(tmp_path / finish.VIDEO_TRACK).key_frames == (0,)
    *_, last = [response async for response in stub.FinishVideo(wanted)]
    assert last.HasField("video")


async def test_a_missing_track_is_reported(mesh: Mesh, stub: Any, tmp_path: Path) -> None:
    wanted = await request(mesh, tmp_path)
    wanted.audio.CopyFrom(media_pb2.Object(key="cache/audio/none.wav", sha256="0" * 64, size_bytes=1))
    with pytest.raises(errors.NotFound, match=r"none\.wav") as refused:
        async for _ in stub.FinishVideo(wanted):
            pass
    assert refused.value.reason == "OBJECT_NOT_FOUND"
    assert scratch(mesh) == []


async def test_unreadable_tracks_are_reported(mesh: Mesh, stub: Any, tmp_path: Path) -> None:
    wanted = await request(mesh, tmp_path)
    wanted.video.CopyFrom(wanted.audio)
    with pytest.raises(errors.FailedPrecondition) as refused:
        async for _ in stub.FinishVideo(wanted):
            pass
    assert refused.value.reason == "RENDER_FAILED"
    assert scratch(mesh) == []


@pytest.mark.parametrize("folder", ["", "jobs/../x", "cache/x", "jobs/VID"])
async def test_a_folder_outside_the_jobs_is_refused(mesh: Mesh, stub: Any, tmp_path: Path, folder: str) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        async for _ in stub.FinishVideo(await request(mesh, tmp_path, folder=folder)):
            pass
    assert [violation.field for violation in refused.value.violations] == ["folder"]


async def test_a_cancelled_call_leaves_no_process_and_no_file(mesh: Mesh, stub: Any, tmp_path: Path) -> None:
    # An hour of sound takes seconds to encode.
    wanted = await request(mesh, tmp_path, duration=Duration(seconds=3600))
    call = stub.FinishVideo(wanted)

    def is_encoding() -> bool:
        return any("ffmpeg" in child.name() for child in psutil.Process().children() if child.is_running())

    await anext(call)
    await wait_until(is_encoding)
    assert len(scratch(mesh)) == 1
    call.cancel()
    await wait_until(lambda: scratch(mesh) == [])
    assert not is_encoding()
