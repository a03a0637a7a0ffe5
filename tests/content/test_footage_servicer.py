"""Footage over the mesh: the choice for the orchestrator, the search for the gateway, with a server as a provider."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from moneyprinter import errors
from moneyprinter.content.v1 import footage_search_service_pb2 as search_pb
from moneyprinter.content.v1 import footage_search_service_pb2_grpc as search_grpc
from moneyprinter.content.v1 import footage_service_pb2 as pb
from moneyprinter.content.v1 import footage_service_pb2_grpc as pb_grpc
from services.config.config import Config as SecretsConfig
from services.content.config import Config
from services.content.moderation.policy import DEFAULT_POLICY, Action, Category
from services.embedded import binaries
from tests.mesh import Mesh
from tests.providers.footage_servers import KEYS, PexelsServer, pexels_video
from tests.providers.provider_server import Answer

ROLE = ("content.manage",)


@pytest.fixture
async def footage(mesh: Mesh) -> pb_grpc.FootageServiceAsyncStub:
    await mesh.start("content", Config(fonts=tuple(binaries.font_folders())))
    return mesh.stub(pb_grpc.FootageServiceStub)


@pytest.fixture
async def pexels(mesh: Mesh, tmp_path: Path) -> AsyncIterator[PexelsServer]:
    """A running content service with a key for Pexels, and the server that stands for Pexels."""
    videos = [pexels_video(1), pexels_video(2, seconds=4), pexels_video(3)]
    async with PexelsServer({"sea waves": videos}) as server:
        file = tmp_path / "providers.json"
        file.write_text(json.dumps({"pexels": {"keys": [KEYS[0]], "base_url": server.url}}))
        (tmp_path / "master-key").write_bytes(bytes(range(32)))
        await mesh.start("config", SecretsConfig(store=tmp_path / "secrets", master_key_file=tmp_path / "master-key"))
        await mesh.start("content", Config(fonts=tuple(binaries.font_folders()), providers_file=file))
        yield server


async def search(mesh: Mesh, **fields: Any) -> search_pb.SearchFootageResponse:
    """Search as the gateway does, until the service has read its keys."""
    stub = mesh.stub(search_grpc.FootageSearchServiceStub, caller="gateway")
    request = search_pb.SearchFootageRequest(terms="sea waves", **fields)
    async with asyncio.timeout(10):
        while True:
            try:
                return await stub.SearchFootage(request, metadata=mesh.bearer(roles=ROLE))
            except errors.FailedPrecondition as missing:
                assert missing.reason == "FOOTAGE_PROVIDER_MISSING"
                await asyncio.sleep(0.02)


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
    assert response.notices[0].message.startswith("scene 2: no provider of footage has a key")


async def test_a_refused_term_is_not_searched_for(mesh: Mesh) -> None:
    policy = {**DEFAULT_POLICY, Category.HATE: Action.REFUSE}
    await mesh.start("content", Config(fonts=tuple(binaries.font_folders()), moderation_policy=policy))
    stub = mesh.stub(pb_grpc.FootageServiceStub)
    with pytest.raises(errors.InvalidArgument) as refused:
        await stub.ChooseFootage(pb.ChooseFootageRequest(scenes=[scene(3, "sea", "Heil Hitler")], width=16, height=16))
    assert (refused.value.reason, "search_terms" in refused.value.message) == ("CONTENT_REFUSED", True)


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


async def test_a_search_returns_clips_with_their_credits(mesh: Mesh, pexels: PexelsServer) -> None:
    response = await search(mesh, orientation="portrait", min_seconds=5, page_size=1)
    (clip,) = response.clips
    assert (clip.id, clip.provider, clip.width, clip.height, clip.seconds) == ("pexels:1", "pexels", 1080, 1920, 14)
    assert (clip.author, clip.licence) == ("Ana Silva", "Pexels License")
    assert clip.page_url == "https://www.pexels.com/video/sea-waves-1/"
    larger = await search(mesh, min_width=2000, max_seconds=5)
    assert [(each.id, each.width) for each in larger.clips] == [("pexels:2", 2160)]
    assert not (await search(mesh, min_width=4000)).clips
    assert not (await search(mesh, orientation="landscape")).clips
    assert not pexels.violations


async def test_a_failing_provider_is_unavailable_for_a_search(mesh: Mesh, pexels: PexelsServer) -> None:
    pexels.answers[:] = [Answer(500)] * 10
    with pytest.raises(errors.Unavailable, match="pexels answered with HTTP 500") as failed:
        await search(mesh)
    assert failed.value.reason == "FOOTAGE_UNAVAILABLE"


async def test_a_search_needs_the_key_of_its_source(mesh: Mesh, footage: pb_grpc.FootageServiceAsyncStub) -> None:
    stub = mesh.stub(search_grpc.FootageSearchServiceStub, caller="gateway")
    request = search_pb.SearchFootageRequest(terms="sea", source="pixabay")
    with pytest.raises(errors.FailedPrecondition, match="no key for pixabay") as missing:
        await stub.SearchFootage(request, metadata=mesh.bearer(roles=ROLE))
    assert missing.value.reason == "FOOTAGE_PROVIDER_MISSING"
    chosen = await footage.ChooseFootage(
        pb.ChooseFootageRequest(scenes=[scene(3)], width=16, height=16, source="coverr")
    )
    assert [notice.reason for notice in chosen.notices] == ["FOOTAGE_PROVIDER_FAILED", "FOOTAGE_NOT_FOUND"]


async def test_the_cuts_of_a_video_have_their_credits(mesh: Mesh, pexels: PexelsServer) -> None:
    await search(mesh)
    request = pb.ChooseFootageRequest(scenes=[scene(9, "sea waves")], topic="The sea", width=1080, height=1920)
    response = await mesh.stub(pb_grpc.FootageServiceStub).ChooseFootage(request)
    cuts = response.scenes[0].cuts
    assert [cut.id for cut in cuts] == ["pexels:1", "pexels:3"]
    assert {cut.credit.author for cut in cuts} == {"Ana Silva"}
    assert all(cut.url.startswith("https://videos.pexels.com/") for cut in cuts)
    assert not response.notices
    # A clip whose download failed is replaced.
    again = pb.ChooseFootageRequest(
        scenes=[scene(4, "sea waves")], width=1080, height=1920, source="pexels", excluded_ids=["pexels:1"]
    )
    replaced = await mesh.stub(pb_grpc.FootageServiceStub).ChooseFootage(again)
    assert not replaced.notices
    long = pb.ChooseFootageRequest(scenes=[scene(90, "sea waves"), scene(5, "rock")], width=1080, height=1920)
    (notice,) = (await mesh.stub(pb_grpc.FootageServiceStub).ChooseFootage(long)).notices
    assert notice.message.startswith("scenes 1, 2: too few clips were found, so that")
    assert [cut.id for cut in replaced.scenes[0].cuts] == ["pexels:3"]
