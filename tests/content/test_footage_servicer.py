"""FootageService over the mesh, called as the orchestrator and the gateway call it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from google.protobuf.duration_pb2 import Duration

from moneyprinter import errors
from moneyprinter.content.v1 import footage_service_pb2 as pb
from moneyprinter.content.v1 import footage_service_pb2_grpc as pb_grpc
from services.content.config import Config
from services.embedded import binaries
from tests.mesh import Mesh


@pytest.fixture
async def footage(mesh: Mesh) -> pb_grpc.FootageServiceAsyncStub:
    await mesh.start("content", Config(fonts=tuple(binaries.font_folders())))
    return mesh.stub(pb_grpc.FootageServiceStub)


def seconds(value: float) -> Duration:
    message = Duration()
    message.FromTimedelta(timedelta(seconds=value))
    return message


def scene(value: float, *terms: str) -> pb.FootageScene:
    return pb.FootageScene(terms=terms, narration="Waves come and go.", duration=seconds(value))


async def test_uploads_and_backgrounds_fill_the_scenes(footage: pb_grpc.FootageServiceAsyncStub) -> None:
    request = pb.ChooseFootageRequest(
        scenes=[scene(4, "waves"), scene(5.5, "robots")],
        topic="The sea",
        width=1080,
        height=1920,
        assets=[pb.LibraryAsset(asset_id="ast_1", filename="waves.mp4", duration=seconds(20))],
        used_ids=["library:ast_1"],
    )
    response = await footage.ChooseFootage(request)
    first, second = (scene.cuts[0] for scene in response.scenes)
    assert (first.asset_id, first.id, first.query) == ("ast_1", "library:ast_1", "waves")
    assert first.start.ToTimedelta() == timedelta(seconds=1)
    assert second.background.seed > 0
    assert len(second.background.colours) == 4
    assert second.duration.ToTimedelta() == timedelta(seconds=5.5)
    assert [notice.reason for notice in response.notices] == ["FOOTAGE_NOT_FOUND", "FOOTAGE_REUSED"]
    assert response.notices[0].message.startswith("scene 2: too few clips were found")


async def test_without_footage_every_scene_has_a_background(footage: pb_grpc.FootageServiceAsyncStub) -> None:
    request = pb.ChooseFootageRequest(
        scenes=[scene(30, "waves")] * 3,
        width=1920,
        height=1080,
        source="none",
        assets=[pb.LibraryAsset(asset_id="ast_1", filename="waves.mp4")],
    )
    response = await footage.ChooseFootage(request)
    assert [cut.WhichOneof("shows") for scene in response.scenes for cut in scene.cuts] == ["background"] * 3
    assert not response.notices


async def test_only_the_orchestrator_chooses(mesh: Mesh, footage: pb_grpc.FootageServiceAsyncStub) -> None:
    request = pb.ChooseFootageRequest(scenes=[scene(3)], width=16, height=16)
    with pytest.raises(errors.PermissionDenied) as refused:
        await mesh.stub(pb_grpc.FootageServiceStub, caller="gateway").ChooseFootage(request)
    assert refused.value.reason == "CALLER_NOT_ALLOWED"
