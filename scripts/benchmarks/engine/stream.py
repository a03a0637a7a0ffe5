"""Times the encoder service over mTLS and a local ffmpeg child on the same raw frames."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

from moneyprinter.encoder.v1 import encoder_service_pb2 as pb
from moneyprinter.encoder.v1 import encoder_service_pb2_grpc as pb_grpc
from moneyprinter.media.v1 import media_pb2
from scripts.benchmarks.engine import plan
from services.embedded import authority
from services.encoder.config import Config
from services.processing.streaming import CHUNK_BYTES
from services.runtime import telemetry
from services.runtime.config import PORTS, RuntimeConfig
from tests.mesh import Mesh, ffmpeg_program

WIDTH, HEIGHT = 1920, 1080
THREADS = 2


def frames(folder: Path, clip: str, count: int) -> Path:
    """Decode frames of a clip into a raw file."""
    path = folder / "frames.yuv"
    command = (ffmpeg_program(), "-hide_banner", "-loglevel", "error", "-y", "-i", clip, "-frames:v", count)
    scaled = (*command, "-vf", f"fps={plan.RATE},scale={WIDTH}:{HEIGHT},format=yuv420p", "-f", "rawvideo", path)
    subprocess.run(list(map(str, scaled)), check=True)
    return path


def encode_locally(raw: Path, quality: str) -> float:
    """Encode with a local ffmpeg child, fed through its standard input. Returns the seconds."""
    preset, crf = plan.QUALITIES[quality]
    command = (
        *(ffmpeg_program(), "-hide_banner", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p"),
        *("-s", f"{WIDTH}x{HEIGHT}", "-r", plan.RATE, "-i", "pipe:0", "-c:v", "libx264", "-preset", preset),
        *("-crf", crf, "-g", 2 * plan.RATE, "-flags", "+cgop", "-threads", THREADS, "-f", "h264"),
        raw.with_suffix(".h264"),
    )
    began = time.monotonic()
    with raw.open("rb") as file:
        process = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE)
        assert process.stdin is not None
        while chunk := file.read(CHUNK_BYTES):
            process.stdin.write(chunk)
        process.stdin.close()
        assert process.wait() == 0
    return time.monotonic() - began


async def service(raw: Path, quality: str, runs: int) -> list[tuple[float, float]]:
    """Encode with the service and with a local child, in turns. Returns the seconds of both for each turn."""
    folder = raw.parent
    authority.issue_certificates(folder / "certificates", PORTS, trust_domain="cluster.local", namespace="moneyprinter")
    config = RuntimeConfig(
        certificates=folder / "certificates",
        ports=dict.fromkeys(PORTS, 0),
        scratch=folder / "scratch",
        ffmpeg=ffmpeg_program(),
        log_level="error",
    )
    telemetry.configure(config)
    took = []
    async with Mesh(config) as mesh:
        await mesh.start("encoder", Config(slots=1, threads=THREADS))
        stub = mesh.stub(pb_grpc.EncoderServiceStub, caller="processing")
        best = (await stub.GetLoad(pb.GetLoadRequest())).backends[0].name
        assert best == "libx264", f"this machine has {best}; the figure is for libx264"
        for _ in range(runs):
            began = time.monotonic()
            async for response in stub.Encode(_requests(raw, quality)):
                if response.HasField("summary"):
                    assert response.summary.frame_count * WIDTH * HEIGHT * 3 // 2 == raw.stat().st_size
            took.append((time.monotonic() - began, await asyncio.to_thread(encode_locally, raw, quality)))
    return took


async def _requests(raw: Path, quality: str) -> AsyncIterator[pb.EncodeRequest]:
    canvas = media_pb2.Canvas(width=WIDTH, height=HEIGHT, frames_per_second=plan.RATE)
    level = media_pb2.Quality.Value(f"QUALITY_{quality.upper()}")
    yield pb.EncodeRequest(format=pb.Format(canvas=canvas, quality=level))
    with raw.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield pb.EncodeRequest(chunk=chunk)
