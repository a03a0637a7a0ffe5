"""The validation service over mTLS, with the real storage service, as the orchestrator calls it."""

from __future__ import annotations

import asyncio
import hashlib
from ipaddress import ip_network
from pathlib import Path

import psutil
import pytest
from google.protobuf.duration_pb2 import Duration

from moneyprinter import errors
from moneyprinter.media.v1 import media_pb2
from moneyprinter.validation.v1 import validation_service_pb2 as pb
from moneyprinter.validation.v1 import validation_service_pb2_grpc as pb_grpc
from services.config.config import Config as SecretsConfig
from services.storage.config import Config as StorageConfig
from services.validation.config import Config
from tests.mesh import Mesh
from tests.validation.footage import Footage
from tests.validation.site import Site


@pytest.fixture
async def platform(mesh: Mesh, certificates: Path, tmp_path: Path) -> Mesh:
    """A mesh with validation and its dependencies; 127.0.0.1 is allowed."""
    (tmp_path / "master-key").write_bytes(bytes(range(32)))
    await mesh.start("config", SecretsConfig(store=tmp_path / "secrets", master_key_file=tmp_path / "master-key"))
    await mesh.start("storage", StorageConfig(root=tmp_path / "objects"))
    await mesh.start(
        "validation",
        Config(
            allowed_networks=(ip_network("127.0.0.1/32"),),
            extra_authority=certificates / "ca.pem",
            max_bytes=1_000_000,
        ),
    )
    return mesh


async def validate(mesh: Mesh, request: pb.ValidateClipRequest) -> tuple[list[float], media_pb2.Clip]:
    *progress, last = [update async for update in mesh.stub(pb_grpc.ValidationServiceStub).ValidateClip(request)]
    assert all(update.HasField("progress") for update in progress)
    return [update.progress.fraction for update in progress], last.clip


async def test_a_clip_at_an_address_is_fetched_and_stored(platform: Mesh, site: Site, footage: Footage) -> None:
    body = footage["turned.mov"].read_bytes()
    request = pb.ValidateClipRequest(
        url=site.file("/clip.mov", body), start=Duration(nanos=500_000_000), end=Duration(seconds=2)
    )
    fractions, clip = await validate(platform, request)
    digest = hashlib.sha256(body).hexdigest()
    stored = media_pb2.Object(key=f"cache/validation/{digest}.bin", sha256=digest, size_bytes=len(body))
    assert clip == media_pb2.Clip(
        source=media_pb2.Source(
            object=stored,
            width=320,
            height=180,
            rotation=270,
            picture_end=2.0,
            seconds=2.0,
            pixel_shape=1.0,
            has_matrix=clip.source.has_matrix,
            focus_x=clip.source.focus_x,
            focus_y=clip.source.focus_y,
        ),
        duration=Duration(seconds=2),
        width=180,
        height=320,
        frame_rate=media_pb2.FrameRate(numerator=25, denominator=1),
        video_codec="h264",
        has_audio=True,
        key_frames=clip.key_frames,
    )
    assert fractions
    assert fractions == sorted(fractions)
    assert await platform.objects().get_bytes(stored.key) == body


async def test_an_uploaded_clip_is_validated(platform: Mesh, footage: Footage) -> None:
    upload = await platform.objects().put_file("uploads/clip", footage["good.webm"])
    _, clip = await validate(platform, pb.ValidateClipRequest(object=upload))
    assert clip.source.object == upload
    assert (clip.video_codec, clip.width, clip.height, clip.has_audio) == ("vp8", 320, 180, False)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty.mp4", "CLIP_NOT_PLAYABLE"),
        ("text.mp4", "CLIP_NOT_PLAYABLE"),
        ("cut.mp4", "CLIP_NOT_PLAYABLE"),
        ("huge.mp4", "CLIP_TOO_LARGE"),
    ],
)
async def test_a_bad_upload_is_refused(platform: Mesh, footage: Footage, name: str, reason: str) -> None:
    upload = await platform.objects().put_file("uploads/clip", footage[name])
    with pytest.raises(errors.InvalidArgument) as refused:
        await validate(platform, pb.ValidateClipRequest(object=upload))
    assert refused.value.reason == reason


async def test_a_missing_upload_is_not_found(platform: Mesh) -> None:
    missing = media_pb2.Object(key="uploads/none", sha256="0" * 64, size_bytes=1)
    with pytest.raises(errors.NotFound) as refused:
        await validate(platform, pb.ValidateClipRequest(object=missing))
    assert refused.value.reason == "OBJECT_NOT_FOUND"


async def test_a_clip_at_a_private_address_is_refused(platform: Mesh) -> None:
    with pytest.raises(errors.InvalidArgument, match="private or reserved network") as refused:
        await validate(platform, pb.ValidateClipRequest(url="https://169.254.169.254/latest/meta-data"))
    assert refused.value.reason == "CLIP_ADDRESS_REFUSED"


async def test_a_missing_page_makes_the_clip_unreachable(platform: Mesh, site: Site) -> None:
    with pytest.raises(errors.InvalidArgument, match="404 Not Found") as refused:
        await validate(platform, pb.ValidateClipRequest(url=site.url("/none.mp4")))
    assert refused.value.reason == "CLIP_UNREACHABLE"


async def test_an_endless_clip_is_refused(platform: Mesh, site: Site) -> None:
    with pytest.raises(errors.InvalidArgument, match="larger than 1 MB") as refused:
        await validate(platform, pb.ValidateClipRequest(url=site.endless("/clip.mp4")))
    assert refused.value.reason == "CLIP_TOO_LARGE"


async def test_a_range_past_the_end_is_refused(platform: Mesh, footage: Footage) -> None:
    upload = await platform.objects().put_file("uploads/clip", footage["good.mp4"])
    with pytest.raises(errors.InvalidArgument, match=r"ends at 3\.00 s, and the clip is only 2\.00 s") as refused:
        await validate(platform, pb.ValidateClipRequest(object=upload, end=Duration(seconds=3)))
    assert refused.value.reason == "CLIP_RANGE_INVALID"


async def test_a_cancelled_call_leaves_no_files_and_processes(platform: Mesh, site: Site) -> None:
    scratch = platform.config.scratch
    before = psutil.Process().children()
    reached = asyncio.Event()

    async def page(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nbegin")
        await writer.drain()
        reached.set()
        await site.closing.wait()

    request = pb.ValidateClipRequest(url=site.page("/clip.mp4", page))
    call = platform.stub(pb_grpc.ValidationServiceStub).ValidateClip(request)
    first = asyncio.ensure_future(anext(aiter(call)))
    await reached.wait()
    assert len(list(scratch.glob("validation-*/*"))) == 1
    first.cancel()
    call.cancel()
    async with asyncio.timeout(30):
        while list(scratch.glob("validation-*/*")):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert psutil.Process().children() == before


async def test_the_sound_of_an_upload_is_probed(platform: Mesh) -> None:
    stub = platform.stub(pb_grpc.ValidationServiceStub)
    spoken = Path(__file__).parents[1] / "audio" / "alignment" / "pt.opus"
    upload = await platform.objects().put_file("uploads/pt.opus", spoken)
    whole = (await stub.ProbeSound(pb.ProbeSoundRequest(object=upload))).duration.ToTimedelta().total_seconds()
    request = pb.ProbeSoundRequest(object=upload, start=Duration(seconds=3))
    part = (await stub.ProbeSound(request)).duration.ToTimedelta().total_seconds()
    assert whole - part == pytest.approx(3.0, abs=0.01)
    silent = await platform.objects().put_bytes("uploads/words", b"only words")
    with pytest.raises(errors.InvalidArgument, match="no sound of a known kind"):
        await stub.ProbeSound(pb.ProbeSoundRequest(object=silent))
