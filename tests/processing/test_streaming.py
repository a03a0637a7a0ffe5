"""The encoder service gives the same segments as this service, and this service replaces it when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from moneyprinter.encoder.v1 import encoder_service_pb2_grpc as encoder_grpc
from moneyprinter.errors import Error, Unavailable
from services.concatenation import join
from services.embedded import ports
from services.encoder.config import Config as EncoderConfig
from services.media.encoding import Codec, Quality
from services.media.flv import Encoded, Packet
from services.processing import command, graph, streaming
from services.processing.encoder_client import GrpcEncoder
from services.processing.fragment import Fragment
from services.processing.render import Tool
from services.processing.segments import RenderRequest
from services.processing.spec import Canvas, Clip, Shot, Size, Spec
from services.processing.streaming import Encoder, Format
from tests import media
from tests.concatenation.test_join import join_files
from tests.killing import kill_children
from tests.media.drawing import captions, render_clips
from tests.mesh import Mesh
from tests.processing.test_segments import Folder, StoredFile, segment_renderer
from tests.progress import after_first_report
from tests.sources import probe_source

WIDE = Canvas(320, 180, 30)


@pytest.fixture
async def encoder(mesh: Mesh) -> GrpcEncoder:
    """A client of the encoder service that accepts software backends."""
    await mesh.start("encoder", EncoderConfig(slots=4, threads=1))
    return GrpcEncoder(mesh.stub(encoder_grpc.EncoderServiceStub, caller="processing"), hardware=False)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return media.clip(tmp_path / "clip.mp4", seconds=2)


def spec(frames: int = 40, codec: Codec = Codec.H264, quality: Quality = Quality.STANDARD) -> Spec:
    return Spec((Shot(Clip(0)),), frames, WIDE, quality, captions_ass=captions(), codec=codec)


async def stream_segment(
    tool: Tool, work: Path, clip: Path, wanted: Spec, encoder: Encoder
) -> tuple[list[float], Fragment]:
    """Render with an encoder, in a new folder."""
    work.mkdir()
    (work / graph.source_name(0)).symlink_to(clip)
    fractions: list[float] = []
    made = await streaming.render(wanted, [await probe_source(clip)], work, tool, encoder, fractions.append)
    return fractions, made


@pytest.mark.parametrize("codec", streaming.CODECS)
async def test_the_encoder_service_gives_the_same_segment(
    tool: Tool, tmp_path: Path, clip: Path, encoder: GrpcEncoder, codec: Codec
) -> None:
    wanted = spec(codec=codec)
    steps, made = await stream_segment(tool, tmp_path / "there", clip, wanted, encoder)
    here = media.probe(await render_clips(tool, tmp_path / "here", [clip], wanted))
    there = media.probe(tmp_path / "there" / command.SEGMENT)
    assert steps == sorted(steps) and len(steps) == made.frame_count == 40
    assert made.ticks_per_second == 30 * command.FRAME_TICKS
    assert replace(there, seconds=here.seconds) == here
    assert there.seconds == pytest.approx(here.seconds, abs=1e-3)
    pairs = zip(*(media.pictures(tmp_path / side / command.SEGMENT) for side in ("here", "there")), strict=True)
    assert all(abs(one.astype(int) - other).mean() < 1.5 for one, other in pairs), "with captions and all"


async def test_segments_of_both_services_are_joined(
    tool: Tool, tmp_path: Path, clip: Path, encoder: GrpcEncoder
) -> None:
    await stream_segment(tool, tmp_path / "there", clip, spec(), encoder)
    (tmp_path / "there" / command.SEGMENT).rename(tmp_path / join.segment_file(2))
    for place in (1, 3):
        (await render_clips(tool, tmp_path / f"here{place}", [clip], spec())).rename(
            tmp_path / join.segment_file(place)
        )
    await join_files(tmp_path, 3)
    frames = [frame for place in (1, 2, 3) for frame in media.hashes(tmp_path / join.segment_file(place))]
    assert media.hashes(tmp_path / join.JOINED) == frames


async def test_all_sizes_come_from_one_decode(tool: Tool, tmp_path: Path, clip: Path, encoder: GrpcEncoder) -> None:
    wanted = replace(spec(), renditions=(Size(160, 90), Size(80, 46)))
    await stream_segment(tool, tmp_path / "there", clip, wanted, encoder)
    found = [media.probe(tmp_path / "there" / name) for name in command.segment_files(wanted)]
    assert [(video.width, video.height, video.frames) for video in found] == [
        *((320, 180, 40), (160, 90, 40), (80, 46, 40)),
    ]


async def test_an_encoder_without_a_gpu_is_not_used(mesh: Mesh, encoder: GrpcEncoder) -> None:
    hardware_only = GrpcEncoder(mesh.stub(encoder_grpc.EncoderServiceStub, caller="processing"), hardware=True)
    assert not await hardware_only.is_free(Codec.H264)
    assert await encoder.is_free(Codec.H264)
    assert not await encoder.is_free(Codec.VP9)


async def test_an_unreachable_encoder_is_not_called_again_soon(mesh: Mesh) -> None:
    mesh.config = mesh.config.model_copy(update={"ports": {**mesh.config.ports, "encoder": ports.pick_ports()[0]}})
    unreachable = GrpcEncoder(mesh.stub(encoder_grpc.EncoderServiceStub, caller="processing"), hardware=False)
    assert not await unreachable.is_free(Codec.H264)
    async with asyncio.timeout(0.1):
        assert not await unreachable.is_free(Codec.H264)


@dataclass
class FailingEncoder:
    """An encoder that fails after `packets` packets."""

    other: Encoder
    packets: int
    calls: int = 0

    async def is_free(self, codec: Codec) -> bool:
        return True

    async def encode(self, format: Format, frames: AsyncIterator[bytes]) -> AsyncGenerator[Encoded, None]:
        self.calls += 1
        left = self.packets
        async for each in self.other.encode(format, frames):
            if isinstance(each, Packet):
                if not left:
                    raise Unavailable("the encoder is gone", reason="SERVICE_UNAVAILABLE")
                left -= 1
            yield each


@pytest.mark.parametrize("packets", [0, 1, 20])
async def test_a_segment_is_rendered_locally_when_the_encoder_fails(
    tool: Tool, tmp_path: Path, clip: Path, encoder: GrpcEncoder, packets: int
) -> None:
    failing, objects = FailingEncoder(encoder, packets), Folder(tmp_path)
    objects.open.set()
    request = RenderRequest(((StoredFile(clip), await probe_source(clip)),), spec(), b"all")
    fractions: list[float] = []
    made = await segment_renderer(objects, tool, failing).render(request, fractions.append)
    assert failing.calls == 1
    assert fractions == sorted(fractions)
    here = await render_clips(tool, tmp_path / "here", [clip], spec())
    assert made.videos[0].path.read_bytes() == here.read_bytes()


@pytest.mark.parametrize("pattern", ["mux_child.py", "rawvideo"])
@pytest.mark.parametrize("cpu_seconds", [0.0, 0.02])
async def test_a_segment_is_rendered_locally_when_a_child_is_killed(
    tool: Tool,
    tmp_path: Path,
    clip: Path,
    encoder: GrpcEncoder,
    monkeypatch: pytest.MonkeyPatch,
    pattern: str,
    cpu_seconds: float,
) -> None:
    assert await encoder.is_free(Codec.H264)
    objects = Folder(tmp_path)
    objects.open.set()
    killer = kill_children(monkeypatch, tmp_path, pattern, 1000, cpu_seconds)
    request = RenderRequest(((StoredFile(clip), await probe_source(clip)),), spec(), b"all")
    made = await segment_renderer(objects, tool, encoder).render(request)
    assert killer.count
    here = await render_clips(tool, tmp_path / "here", [clip], spec())
    assert made.videos[0].path.read_bytes() == here.read_bytes()


async def test_a_codec_killed_in_the_middle_is_reported(
    tool: Tool, tmp_path: Path, clip: Path, encoder: GrpcEncoder
) -> None:
    wanted = replace(spec(60), canvas=Canvas(1920, 1080, 60), quality=Quality.HIGH)
    work = tmp_path / "there"
    work.mkdir()
    (work / graph.source_name(0)).symlink_to(clip)
    source = await probe_source(clip)
    async with after_first_report(
        lambda on_progress: streaming.render(wanted, [source], work, tool, encoder, on_progress)
    ) as rendering:
        [codec] = [child for child in psutil.Process().children() if "libx264" in child.cmdline()]
        codec.kill()
        with pytest.raises(Error):
            await rendering


async def test_a_source_that_ends_early_is_reported(
    tool: Tool, tmp_path: Path, encoder: GrpcEncoder, clip: Path
) -> None:
    short = spec(200)
    with pytest.raises(Error):
        await stream_segment(tool, tmp_path / "there", clip, replace(short, frame_count=900), encoder)
