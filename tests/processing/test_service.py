"""ProcessingService over mTLS with the storage service: render, reuse, refuse, cancel."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from google.protobuf.duration_pb2 import Duration

from moneyprinter import errors
from moneyprinter.media.v1 import media_pb2
from moneyprinter.processing.v1 import processing_service_pb2 as pb
from moneyprinter.processing.v1 import processing_service_pb2_grpc as pb_grpc
from services.processing import command
from services.processing.config import Config
from services.runtime import children
from services.runtime.config import ConfigError
from tests import media
from tests.media.drawing import CHINESE, FONTS, captions, still
from tests.mesh import Mesh
from tests.sources import stored_source
from tests.stored import fetch, start_storage, wait_until


@pytest.fixture
async def stub(mesh: Mesh, tmp_path: Path) -> pb_grpc.ProcessingServiceAsyncStub:
    """The service, with one slot."""
    await start_storage(mesh, tmp_path / "storage")
    await mesh.start("processing", Config(slots=1, threads=1, fonts=FONTS))
    return mesh.stub(pb_grpc.ProcessingServiceStub)


@pytest.fixture
async def clip(mesh: Mesh, stub: Any, tmp_path: Path) -> media_pb2.Source:
    """A numbered clip of two seconds in storage."""
    file = media.numbered(tmp_path / "clip.mp4", seconds=2)
    return await stored_source(await mesh.objects().put_file("assets/clip.mp4", file), file)


def request(clip: media_pb2.Source, shot: dict[str, Any] | None = None, **changes: Any) -> pb.RenderSegmentRequest:
    """Returns a request for a second segment of 20 frames, with the fields of `shot` and `changes`."""
    start = Duration()
    start.FromTimedelta(timedelta(seconds=10 / 30))
    segment = media_pb2.Segment(
        index=1,
        shots=[media_pb2.Shot(source=clip, source_start=start, fit=media_pb2.FIT_COVER)],
        frame_count=20,
        canvas=media_pb2.Canvas(width=64, height=36, frames_per_second=30),
        quality=media_pb2.QUALITY_DRAFT,
    )
    segment.shots[0].MergeFrom(media_pb2.Shot(**(shot or {})))
    segment.MergeFrom(media_pb2.Segment(**changes))
    return pb.RenderSegmentRequest(segment=segment)


def long_request(clip: media_pb2.Source) -> pb.RenderSegmentRequest:
    """Returns a request that takes many seconds."""
    canvas = media_pb2.Canvas(width=2560, height=1440, frames_per_second=120)
    return request(clip, frame_count=150, canvas=canvas, quality=media_pb2.QUALITY_HIGH)


async def render(stub: Any, wanted: pb.RenderSegmentRequest) -> tuple[list[float], pb.RenderedSegment]:
    """Returns the progress and the result of a call, and checks that the result is its last message."""
    *before, last = [response async for response in stub.RenderSegment(wanted)]
    assert all(response.WhichOneof("update") == "progress" for response in before)
    return [response.progress.fraction for response in before], last.segment


def list_ffmpegs() -> list[psutil.Process]:
    """Returns the ffmpeg children of this process."""
    found = []
    for child in psutil.Process().children():
        try:
            if "ffmpeg" in child.name():
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def count_renders(mesh: Mesh) -> int:
    """Returns how many renders have a scratch folder, besides the source cache and the bold fonts."""
    return sum(path.is_dir() for path in mesh.config.scratch.glob("processing-*/*")) - 2


async def test_a_segment_is_rendered_and_stored(mesh: Mesh, stub: Any, clip: media_pb2.Source, tmp_path: Path) -> None:
    progress, segment = await render(stub, request(clip))
    assert progress == sorted(progress) and progress[0] == 0 and progress[-1] <= 1
    assert (segment.frame_count, segment.reused, segment.ticks_per_second) == (20, False, 30 * command.FRAME_TICKS)
    assert segment.video.key.startswith("cache/processing/") and segment.video.key.endswith(".mp4")
    made = await fetch(mesh, segment.video, tmp_path / "segment.mp4")
    assert media.numbers(made) == list(range(10, 30))
    assert count_renders(mesh) == 0


async def test_a_stored_segment_is_found_at_any_index(
    mesh: Mesh, stub: Any, clip: media_pb2.Source, tmp_path: Path
) -> None:
    _, first = await render(stub, request(clip))
    same = await stored_source(
        await mesh.objects().put_file("assets/copy.mp4", tmp_path / "clip.mp4"), tmp_path / "clip.mp4"
    )
    progress, again = await render(stub, request(same, index=7))
    assert again.reused and not first.reused
    again.reused = False
    assert again == first
    assert progress == []


@pytest.mark.parametrize(
    "change",
    [
        {"frame_count": 21},
        {"shot": {"fit": media_pb2.FIT_CONTAIN}},
        {"quality": media_pb2.QUALITY_STANDARD},
        {"captions_ass": captions()},
        {"canvas": media_pb2.Canvas(width=64, height=36, frames_per_second=25)},
        {"shot": {"source_start": Duration(seconds=1)}},
    ],
)
async def test_a_different_segment_is_rendered(stub: Any, clip: media_pb2.Source, change: dict[str, Any]) -> None:
    _, first = await render(stub, request(clip))
    _, other = await render(stub, request(clip, **change))
    assert not other.reused
    assert other.video.key != first.video.key


@pytest.mark.parametrize(("index", "is_first"), [(0, True), (1, False)])
async def test_only_the_first_segment_of_a_video_is_not_niced(
    stub: Any, clip: media_pb2.Source, index: int, is_first: bool
) -> None:
    wanted = long_request(clip)
    wanted.segment.index = index
    call = stub.RenderSegment(wanted)
    await wait_until(
        lambda: any(child.nice() == (0 if is_first else children.BACKGROUND_NICENESS) for child in list_ffmpegs())
    )
    call.cancel()
    await wait_until(lambda: not list_ffmpegs())


def whole_request(clip: media_pb2.Source, image: media_pb2.Source) -> pb.RenderSegmentRequest:
    """Returns a request for a transition from a clip to a moving still, with the same picture as a logo."""
    second = media_pb2.Shot(
        source=image, fit=media_pb2.FIT_BLUR, motion=media_pb2.MOTION_ZOOM_IN, motion_frames=60, motion_first_frame=7
    )
    logo = media_pb2.Overlay(
        image=image, centre=media_pb2.Point(x=0.9, y=0.1), width=0.2, opacity=0.5, first_frame=3, frame_count=9
    )
    wanted = request(clip, shot={"speed": 1.5, "focus": media_pb2.Point(x=0.2, y=0.4)}, overlays=[logo])
    wanted.segment.shots.append(second)
    wanted.segment.transition = media_pb2.TRANSITION_SLIDE_LEFT
    return wanted


async def test_every_field_of_a_segment_counts_and_object_keys_do_not(
    mesh: Mesh, stub: Any, clip: media_pb2.Source, tmp_path: Path
) -> None:
    file = still(tmp_path / "image.png", media.CORNERS, size=(64, 36))
    image = await stored_source(await mesh.objects().put_file("assets/image.png", file), file)
    _, first = await render(stub, whole_request(clip, image))
    assert (first.frame_count, first.reused) == (20, False)
    assert media.probe(await fetch(mesh, first.video, tmp_path / "segment.mp4")).frames == 20
    copy = await stored_source(await mesh.objects().put_file("assets/copy.png", file), file)
    _, again = await render(stub, whole_request(clip, copy))
    assert again.reused and again.video == first.video
    wanted = [whole_request(clip, image).segment for _ in range(9)]
    wanted[0].overlays[0].opacity = 0.6
    wanted[1].overlays[0].frame_count = 10
    wanted[2].shots[0].focus.x = 0.3
    wanted[3].shots[0].speed = 1.25
    wanted[4].shots[1].motion = media_pb2.MOTION_PAN_LEFT
    wanted[5].shots[1].motion_first_frame = 8
    wanted[6].transition = media_pb2.TRANSITION_WIPE_LEFT
    wanted[7].shots[1].colour = "#336699"
    del wanted[8].overlays[:]
    keys = {(await render(stub, pb.RenderSegmentRequest(segment=segment)))[1].video.key for segment in wanted}
    assert len(keys | {first.video.key}) == 10


@pytest.mark.parametrize("speed", [0.1, 0.001])
async def test_a_speed_out_of_range_is_refused(stub: Any, clip: media_pb2.Source, speed: float) -> None:
    with pytest.raises(errors.InvalidArgument, match="8 times its speed") as refused:
        await render(stub, request(clip, shot={"speed": speed}))
    assert refused.value.reason == "REQUEST_INVALID"


async def test_a_broken_picture_is_a_typed_error(mesh: Mesh, stub: Any, clip: media_pb2.Source) -> None:
    broken = await mesh.objects().put_bytes("assets/broken.png", b"this is no picture" * 100)
    # The probe of another file, as if the object had been replaced.
    image = media_pb2.Source(object=broken, width=64, height=36, still=True, format="png_pipe")
    with pytest.raises(errors.FailedPrecondition, match="its input is damaged") as refused:
        await render(stub, whole_request(clip, image))
    assert refused.value.reason == "RENDER_FAILED"


@pytest.mark.parametrize(
    ("fonts", "threads", "text", "same"),
    [
        ((FONTS,), 2, "", False),
        ((), 1, "", True),
        ((), 1, "Hello", False),
        ((CHINESE, FONTS), 1, "Hello", True),
        ((CHINESE, FONTS), 1, r"Hello {\fnNotoSansCJKjp-Bold}你", False),
    ],
)
async def test_other_threads_or_caption_fonts_change_the_object_key(
    mesh: Mesh, stub: Any, clip: media_pb2.Source, fonts: tuple[Path, ...], threads: int, text: str, same: bool
) -> None:
    script = captions(text, start="0:00:00.00") if text else ""
    _, first = await render(stub, request(clip, captions_ass=script))
    mesh.config = mesh.config.model_copy(update={"ports": {**mesh.config.ports, "processing": 0}})
    await mesh.start("processing", Config(slots=1, threads=threads, fonts=fonts))
    _, other = await render(mesh.stub(pb_grpc.ProcessingServiceStub), request(clip, captions_ass=script))
    assert (other.video.key == first.video.key) == same and other.reused == same


async def test_renders_beyond_the_slots_wait_and_further_ones_are_refused(
    mesh: Mesh, stub: Any, clip: media_pb2.Source
) -> None:
    _, known = await render(stub, request(clip))
    long = stub.RenderSegment(long_request(clip))
    await anext(long)
    waiting = stub.RenderSegment(request(clip, frame_count=6))
    assert (await anext(waiting)).progress.fraction == 0
    with pytest.raises(errors.ResourceExhausted) as refused:
        await render(stub, request(clip, frame_count=5))
    assert (refused.value.reason, refused.value.retry_after_seconds) == ("BUSY", 1.0)
    assert (await render(stub, request(clip)))[1].video == known.video, "a stored segment needs no slot"
    long.cancel()
    assert [response async for response in waiting][-1].segment.frame_count == 6, "its turn came"
    await wait_until(lambda: count_renders(mesh) == 0)
    assert (await render(stub, request(clip, frame_count=5)))[1].frame_count == 5


@pytest.mark.parametrize("how", ["cancel", "deadline"])
async def test_a_call_that_ends_early_leaves_no_process_and_no_file(
    mesh: Mesh, stub: Any, clip: media_pb2.Source, how: str
) -> None:
    call = stub.RenderSegment(long_request(clip), timeout=20 if how == "cancel" else 1.5)
    await anext(call)
    await wait_until(lambda: bool(list_ffmpegs()))
    processes = list_ffmpegs()
    assert count_renders(mesh) == 1
    if how == "cancel":
        call.cancel()
    else:
        with pytest.raises(errors.DeadlineExceeded):
            async for _ in call:
                pass
    await wait_until(lambda: not any(process.is_running() for process in processes))
    await wait_until(lambda: count_renders(mesh) == 0)


async def test_a_stopping_server_ends_its_children(mesh: Mesh, stub: Any, clip: media_pb2.Source) -> None:
    call = stub.RenderSegment(long_request(clip))
    await anext(call)
    await wait_until(lambda: bool(list_ffmpegs()))
    processes = list_ffmpegs()
    await mesh.__aexit__()
    # The server cancels its calls when it stops, and they take a moment to end.
    await wait_until(lambda: not any(process.is_running() for process in processes))
    with pytest.raises((errors.Unavailable, asyncio.CancelledError)):
        async for _ in call:
            pass


async def test_a_broken_source_is_a_typed_error(mesh: Mesh, stub: Any) -> None:
    broken = await mesh.objects().put_bytes("assets/broken.mp4", b"this is no video" * 100)
    with pytest.raises(errors.FailedPrecondition, match="its input is damaged") as refused:
        await render(stub, request(media_pb2.Source(object=broken, width=64, height=36)))
    assert refused.value.reason == "RENDER_FAILED"
    assert count_renders(mesh) == 0


async def test_a_missing_source_is_reported(mesh: Mesh, stub: Any) -> None:
    missing = media_pb2.Object(key="assets/none.mp4", sha256="0" * 64, size_bytes=1)
    with pytest.raises(errors.NotFound) as refused:
        await render(stub, request(media_pb2.Source(object=missing, width=64, height=36)))
    assert refused.value.reason == "OBJECT_NOT_FOUND"


async def test_a_source_that_was_replaced_is_not_rendered(mesh: Mesh, stub: Any, clip: media_pb2.Source) -> None:
    other = media_pb2.Source()
    other.CopyFrom(clip)
    other.object.sha256 = "0" * 64
    with pytest.raises(errors.DataLoss) as refused:
        await render(stub, request(other))
    assert refused.value.reason == "CHECKSUM_MISMATCH"


async def test_invalid_settings_prevent_the_start(mesh: Mesh, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="MONEYPRINTER_PROCESSING_FONTS"):
        await mesh.start("processing", Config(fonts=tmp_path / "none"))
    mesh.config = mesh.config.model_copy(update={"ffmpeg": tmp_path / "none"})
    with pytest.raises(ConfigError, match="MONEYPRINTER_RUNTIME_FFMPEG"):
        await mesh.start("processing", Config())
