"""A still picture and an animation go through validation and processing over mTLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from moneyprinter.media.v1 import media_pb2
from moneyprinter.processing.v1 import processing_service_pb2 as processing_pb
from moneyprinter.processing.v1 import processing_service_pb2_grpc as processing_grpc
from moneyprinter.validation.v1 import validation_service_pb2 as validation_pb
from moneyprinter.validation.v1 import validation_service_pb2_grpc as validation_grpc
from services.processing.config import Config as ProcessingConfig
from services.validation.config import Config as ValidationConfig
from tests import media
from tests.media.zoo import TO_THE_RIGHT, Zoo
from tests.mesh import Mesh
from tests.stored import fetch, start_storage


@pytest.mark.parametrize(("name", "still"), [("exif6.jpg", True), ("moving.gif", False)])
async def test_pictures_pass_the_services_as_clips_do(
    mesh: Mesh, zoo: Zoo, tmp_path: Path, name: str, still: bool
) -> None:
    await start_storage(mesh, tmp_path / "storage")
    await mesh.start("validation", ValidationConfig())
    await mesh.start("processing", ProcessingConfig(slots=1, threads=1))
    stored = await mesh.objects().put_file(f"assets/{name}", zoo[name])

    validate = mesh.stub(validation_grpc.ValidationServiceStub).ValidateClip
    *_, validated = [answer async for answer in validate(validation_pb.ValidateClipRequest(object=stored))]
    clip = validated.clip
    assert clip.source.still is still
    assert (clip.HasField("duration"), clip.HasField("frame_rate")) == (not still, not still)
    assert (clip.width, clip.height) == ((72, 128) if still else (128, 72))

    shot = media_pb2.Shot(source=clip.source, fit=media_pb2.FIT_STRETCH)
    segment = media_pb2.Segment(
        shots=[shot],
        frame_count=6,
        canvas=media_pb2.Canvas(width=160, height=90, frames_per_second=30),
        quality=media_pb2.QUALITY_HIGH,
    )
    render = mesh.stub(processing_grpc.ProcessingServiceStub).RenderSegment
    *_, rendered = [answer async for answer in render(processing_pb.RenderSegmentRequest(segment=segment))]
    pictures = list(media.pictures(await fetch(mesh, rendered.segment.video, tmp_path / "segment.mp4")))
    assert len(pictures) == 6
    colours = TO_THE_RIGHT if still else ("red", "lime", "blue", "white")
    for (x, y), colour in zip(((20, 10), (140, 10), (20, 80), (140, 80)), colours, strict=True):
        assert media.is_near(pictures[5][y, x], colour, tolerance=32), (colour, pictures[5][y, x])
