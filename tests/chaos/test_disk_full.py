"""Full disks, for scratch files and the store: the error names the cause, no file remains, and the next job works."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from moneyprinter.errors import ResourceExhausted
from moneyprinter.media.v1 import media_pb2
from moneyprinter.processing.v1 import processing_service_pb2 as pb
from moneyprinter.processing.v1 import processing_service_pb2_grpc as pb_grpc
from services.processing.config import Config
from tests import media
from tests.mesh import Mesh
from tests.sources import stored_source
from tests.stored import fetch, limit_file_size, start_storage


def segment(clip: media_pb2.Source, frame_count: int = 10) -> pb.RenderSegmentRequest:
    return pb.RenderSegmentRequest(
        segment=media_pb2.Segment(
            shots=[media_pb2.Shot(source=clip, fit=media_pb2.FIT_COVER)],
            frame_count=frame_count,
            canvas=media_pb2.Canvas(width=1280, height=720, frames_per_second=30),
            quality=media_pb2.QUALITY_DRAFT,
        )
    )


def left_in(scratch: Path) -> list[str]:
    """The files of work in progress, without cached sources."""
    return [path.name for path in scratch.rglob("*") if path.is_file() and len(path.name) != 64]


async def render(stub: Any, wanted: pb.RenderSegmentRequest) -> pb.RenderedSegment:
    *_, last = [update async for update in stub.RenderSegment(wanted)]
    return cast(pb.RenderedSegment, last.segment)


async def test_a_full_disk_ends_a_render_and_the_next_one_works(mesh: Mesh, tmp_path: Path) -> None:
    await start_storage(mesh, tmp_path / "storage")
    await mesh.start("processing", Config(slots=1, threads=1))
    stub = mesh.stub(pb_grpc.ProcessingServiceStub)
    noise = "nullsrc=s={w}x{h}:r={rate},geq=lum='random(1)*255':cb=128:cr=128"
    small = ("-c:v", "libx264", "-crf", "12", "-pix_fmt", "yuv420p")
    sizes: dict[int, int] = {}
    for number, seconds in enumerate((0.5, 0.54, 0.58, 0.62)):
        file = media.clip(tmp_path / f"{number}.mp4", noise, size=(320, 180), seconds=seconds, encode=small)
        clip = await stored_source(await mesh.objects().put_file(f"assets/{number}.mp4", file), file)
        if not sizes:
            whole = (await render(stub, segment(clip))).video.size_bytes
            assert 300_000 < file.stat().st_size < whole / 2, (file.stat(), whole)
            sizes = {1: file.stat().st_size // 2, 2: whole // 2, 3: 0}
            continue
        limit = sizes[number]
        if number == 3:
            # The stored object is a little larger than the rendered file.
            found = (await render(stub, segment(clip))).video
            await mesh.objects().delete(found.key)
            limit = found.size_bytes
        with limit_file_size(limit), pytest.raises(ResourceExhausted) as refused:
            await render(stub, segment(clip))
        assert refused.value.reason == "STORAGE_FULL", f"{number}: of fetching, rendering, storing"
        assert left_in(mesh.config.scratch) == []
        made = await render(stub, segment(clip))
        assert not made.reused, "nothing remains of the first attempt"
        await fetch(mesh, made.video, tmp_path / "out.mp4")
