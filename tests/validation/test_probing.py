"""ProbeClip and ProbeFile: the facts of a clip or the reason why it cannot be used; nothing is stored."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path

import psutil
import pytest
from google.protobuf.duration_pb2 import Duration

from moneyprinter import errors
from moneyprinter.validation.v1 import validation_service_pb2 as pb
from moneyprinter.validation.v1 import validation_service_pb2_grpc as pb_grpc
from services.config.config import Config as SecretsConfig
from services.storage.config import Config as StorageConfig
from services.validation.config import Config
from tests.mesh import Mesh
from tests.validation.footage import Footage
from tests.validation.site import Site


@pytest.fixture
async def probing_mesh(mesh: Mesh, certificates: Path, tmp_path: Path) -> Mesh:
    """A mesh with validation and its dependencies; 127.0.0.1 is allowed, and one ProbeClip call at a time."""
    (tmp_path / "master-key").write_bytes(bytes(range(32)))
    await mesh.start("config", SecretsConfig(store=tmp_path / "secrets", master_key_file=tmp_path / "master-key"))
    await mesh.start("storage", StorageConfig(root=tmp_path / "objects"))
    config = Config(
        allowed_networks=(ip_network("127.0.0.1/32"),),
        extra_authority=certificates / "ca.pem",
        max_bytes=1_000_000,
        max_probe_clip_calls=1,
    )
    await mesh.start("validation", config)
    return mesh


@pytest.fixture
async def validation(probing_mesh: Mesh) -> pb_grpc.ValidationServiceAsyncStub:
    return probing_mesh.stub(pb_grpc.ValidationServiceStub)


def is_nothing_stored(mesh: Mesh, tmp_path: Path) -> bool:
    stored = [path for path in (tmp_path / "objects").rglob("*") if path.is_file()]
    return not stored and not any(mesh.config.scratch.glob("validation-*/*"))


async def requests_of(path: Path) -> AsyncIterator[pb.ProbeFileRequest]:
    data = path.read_bytes()
    for start in range(0, len(data), 50_000):
        yield pb.ProbeFileRequest(chunk=data[start : start + 50_000])


@pytest.mark.parametrize("way", ["address", "bytes"])
async def test_the_facts_of_a_clip_are_returned(
    probing_mesh: Mesh,
    validation: pb_grpc.ValidationServiceAsyncStub,
    site: Site,
    footage: Footage,
    tmp_path: Path,
    way: str,
) -> None:
    path = footage["turned.mov"]
    body = path.read_bytes()
    if way == "bytes":
        probed = (await validation.ProbeFile(requests_of(path))).probed
    else:
        probed = (await validation.ProbeClip(pb.ProbeClipRequest(url=site.file("/clip.mov", body)))).probed
    clip = probed.clip
    assert (clip.width, clip.height, clip.source.width, clip.source.height) == (180, 320, 320, 180)
    # The display matrix of the clip rotates it to the left by 90 degrees.
    assert probed.rotation == 270
    assert (clip.video_codec, clip.has_audio, probed.audio_codec) == ("h264", True, "aac")
    assert (clip.duration, clip.frame_rate.numerator) == (Duration(seconds=2), 25)
    assert (probed.sha256, probed.size_bytes) == (hashlib.sha256(body).hexdigest(), len(body))
    assert len(clip.key_frames) > 1
    assert not clip.source.HasField("object")
    assert is_nothing_stored(probing_mesh, tmp_path)


async def test_still_pictures_and_silent_clips_are_reported_as_such(
    validation: pb_grpc.ValidationServiceAsyncStub, footage: Footage
) -> None:
    still = (await validation.ProbeFile(requests_of(footage["still.png"]))).probed
    assert (still.clip.source.still, still.clip.video_codec, still.rotation) == (True, "png", 0)
    assert not still.clip.HasField("duration")
    silent = (await validation.ProbeFile(requests_of(footage["silent.mp4"]))).probed
    assert (silent.clip.has_audio, silent.audio_codec) == (False, "")


async def test_a_range_limits_key_frames_and_must_be_in_the_clip(
    validation: pb_grpc.ValidationServiceAsyncStub, site: Site, footage: Footage
) -> None:
    url = site.file("/clip.mp4", footage["good.mp4"].read_bytes())
    part = pb.ProbeClipRequest(url=url, start=Duration(seconds=1))
    found = (await validation.ProbeClip(part)).probed.clip.key_frames
    assert found and all(at.ToTimedelta().total_seconds() >= 1 for at in found)
    with pytest.raises(errors.InvalidArgument) as refused:
        await validation.ProbeClip(pb.ProbeClipRequest(url=url, start=Duration(seconds=9)))
    assert refused.value.reason == "CLIP_RANGE_INVALID"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("text.mp4", "CLIP_NOT_PLAYABLE"),
        ("empty.mp4", "CLIP_NOT_PLAYABLE"),
        ("cut.mp4", "CLIP_NOT_PLAYABLE"),
        ("sound.mp3", "CLIP_NOT_PLAYABLE"),
        ("huge.mp4", "CLIP_TOO_LARGE"),
    ],
)
async def test_an_unusable_clip_is_refused_with_a_reason(
    probing_mesh: Mesh,
    validation: pb_grpc.ValidationServiceAsyncStub,
    footage: Footage,
    tmp_path: Path,
    name: str,
    reason: str,
) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        await validation.ProbeFile(requests_of(footage[name]))
    assert refused.value.reason == reason
    assert is_nothing_stored(probing_mesh, tmp_path)


async def test_a_probe_of_too_many_bytes_is_refused(validation: pb_grpc.ValidationServiceAsyncStub, site: Site) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        await validation.ProbeClip(pb.ProbeClipRequest(url=site.file("/clip.mp4", bytes(1_000_001))))
    assert refused.value.reason == "CLIP_TOO_LARGE"


async def test_a_busy_service_returns_retry_after_and_a_cancelled_call_leaves_nothing(
    probing_mesh: Mesh, validation: pb_grpc.ValidationServiceAsyncStub, site: Site, footage: Footage
) -> None:
    begun = asyncio.Event()

    async def slow(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nsome")
        begun.set()
        await site.closing.wait()

    call = asyncio.create_task(_probe(validation, site.page("/slow.mp4", slow)))
    async with asyncio.timeout(10):
        await begun.wait()
    with pytest.raises(errors.ResourceExhausted) as full:
        await validation.ProbeClip(pb.ProbeClipRequest(url="http://refused"))
    assert (full.value.reason, full.value.retry_after_seconds) == ("BUSY", 1.0)
    # The calls of jobs have capacity of their own.
    url = site.file("/clip.mp4", footage["good.mp4"].read_bytes())
    assert [update async for update in validation.ValidateClip(pb.ValidateClipRequest(url=url))]
    call.cancel()
    await asyncio.wait([call])
    async with asyncio.timeout(10):
        while any(probing_mesh.config.scratch.glob("validation-*/*")):
            with suppress(errors.InvalidArgument, errors.ResourceExhausted):
                await validation.ProbeClip(pb.ProbeClipRequest(url="http://refused"))
    assert not [child for child in psutil.Process().children() if "probe_child" in " ".join(child.cmdline())]


async def _probe(validation: pb_grpc.ValidationServiceAsyncStub, url: str) -> None:
    await validation.ProbeClip(pb.ProbeClipRequest(url=url))
