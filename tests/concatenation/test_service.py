"""ConcatenationService over mTLS, with the storage service."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from moneyprinter import errors
from moneyprinter.concatenation.v1 import concatenation_service_pb2 as pb
from moneyprinter.concatenation.v1 import concatenation_service_pb2_grpc as pb_grpc
from moneyprinter.media.v1 import media_pb2
from services.concatenation.config import Config
from tests import media
from tests.concatenation.test_join import segment
from tests.mesh import Mesh
from tests.stored import fetch, start_storage, wait_until


@pytest.fixture
async def stub(mesh: Mesh, tmp_path: Path) -> Any:
    """The service."""
    await start_storage(mesh, tmp_path / "storage")
    await mesh.start("concatenation", Config())
    return mesh.stub(pb_grpc.ConcatenationServiceStub)


@pytest.fixture
async def segments(mesh: Mesh, stub: Any, tmp_path: Path) -> list[media_pb2.Object]:
    """Two stored segments of ten frames, and one of another size."""
    clip = media.numbered(tmp_path / "clip.mp4", seconds=1)
    stored = []
    for place, size in enumerate(((64, 36), (64, 36), (128, 72)), 1):
        path = await segment(tmp_path, place, clip, 10, size=size, start=timedelta(seconds=(place - 1) / 3))
        stored.append(await mesh.objects().put_file(f"cache/processing/{place}.mp4", path))
    return stored


async def concatenate(stub: Any, wanted: list[media_pb2.Object]) -> tuple[list[float], pb.JoinedVideo]:
    """Returns the progress and the result of a call, and checks that the result is its last message."""
    *before, last = [response async for response in stub.Concatenate(pb.ConcatenateRequest(segments=wanted))]
    assert all(response.WhichOneof("update") == "progress" for response in before)
    return [response.progress.fraction for response in before], last.video


def scratch(mesh: Mesh) -> list[Path]:
    """Returns the files in the scratch folder of the service."""
    return list(mesh.config.scratch.glob("concatenation-*/*"))


async def test_segments_are_joined_and_stored(mesh: Mesh, stub: Any, segments: Any, tmp_path: Path) -> None:
    progress, video = await concatenate(stub, [segments[1], segments[0], segments[1]])
    assert progress == sorted(progress) and progress[0] == 0 and progress[-1] <= 1
    assert video.frame_count == 30
    assert video.video.key.startswith("cache/concatenation/") and video.video.key.endswith(".mp4")
    made = await fetch(mesh, video.video, tmp_path / "joined.mp4")
    assert media.numbers(made) == [*range(10, 20), *range(10), *range(10, 20)]
    assert scratch(mesh) == []


async def test_a_joined_video_is_found_in_the_store(mesh: Mesh, stub: Any, segments: Any) -> None:
    _, first = await concatenate(stub, segments[:2])
    _, other = await concatenate(stub, segments[1::-1])
    progress, again = await concatenate(stub, segments[:2])
    assert (again, progress) == (first, [])
    assert other.video.key != first.video.key, "the order matters"
    assert scratch(mesh) == []


async def test_segments_that_differ_are_refused_and_leave_nothing(mesh: Mesh, stub: Any, segments: Any) -> None:
    with pytest.raises(errors.FailedPrecondition, match="segment 3 is 128x72, the first is 64x36") as refused:
        await concatenate(stub, segments)
    assert refused.value.reason == "SEGMENTS_MISMATCHED"
    assert scratch(mesh) == []


async def test_no_segments_are_refused_by_the_contract(stub: Any) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        await concatenate(stub, [])
    assert refused.value.reason == "REQUEST_INVALID"


async def test_a_missing_segment_is_reported(stub: Any, segments: Any) -> None:
    missing = media_pb2.Object(key="cache/processing/none.mp4", sha256="0" * 64, size_bytes=1)
    with pytest.raises(errors.NotFound, match=missing.key) as refused:
        await concatenate(stub, [segments[0], missing])
    assert refused.value.reason == "OBJECT_NOT_FOUND"


async def test_a_cancelled_call_leaves_no_file(mesh: Mesh, stub: Any, segments: Any) -> None:
    call = stub.Concatenate(pb.ConcatenateRequest(segments=[segments[0]] * 2000))
    await anext(call)
    await anext(call)
    assert len(scratch(mesh)) == 1
    call.cancel()
    await wait_until(lambda: scratch(mesh) == [])
