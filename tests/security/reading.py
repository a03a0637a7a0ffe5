"""Reading: lets the services read hostile files, in a process of its own, so that its resource usage can be measured.

`python -m tests.security.reading CERTIFICATES FOLDER FILE...` validates each file over mTLS, renders the accepted ones,
and prints one line of JSON for each, and at the end one with the totals.
"""

from __future__ import annotations

import asyncio
import io
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from moneyprinter import errors
from moneyprinter.media.v1 import media_pb2
from moneyprinter.processing.v1 import processing_service_pb2 as processing_pb
from moneyprinter.processing.v1 import processing_service_pb2_grpc as processing_grpc
from moneyprinter.validation.v1 import validation_service_pb2 as validation_pb
from moneyprinter.validation.v1 import validation_service_pb2_grpc as validation_grpc
from services.processing.config import Config as ProcessingConfig
from services.runtime import telemetry
from services.runtime.config import PORTS, RuntimeConfig
from services.validation.config import Config as ValidationConfig
from tests.mesh import Mesh, ffmpeg_program
from tests.stored import start_storage

CANVAS = media_pb2.Canvas(width=160, height=90, frames_per_second=30)


def _largest_child() -> int:
    """The largest memory usage of any ended child process, in bytes."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


class Reader:
    """Calls the validation and processing services."""

    def __init__(self, mesh: Mesh) -> None:
        self._objects = mesh.objects()
        self._validation = mesh.stub(validation_grpc.ValidationServiceStub)
        self._processing = mesh.stub(processing_grpc.ProcessingServiceStub)

    async def validate(self, file: Path) -> tuple[dict[str, Any], media_pb2.Clip | None]:
        """Validate a file; returns the outcome with the resource usage, and the clip if it is valid."""
        stored = await self._objects.put_file(f"uploads/{file.name}", file)
        began = time.monotonic()
        outcome: dict[str, Any] = {"name": file.name, "error": "", "reason": "", "message": ""}
        clip = None
        try:
            request = validation_pb.ValidateClipRequest(object=stored)
            *_, last = [step async for step in self._validation.ValidateClip(request)]
            clip = last.clip
            outcome |= {"pixels": clip.width * clip.height, "length": clip.duration.ToTimedelta().total_seconds()}
        except errors.Error as failure:
            outcome |= {"error": type(failure).__name__, "reason": failure.reason, "message": failure.message}
        return {**outcome, "seconds": time.monotonic() - began, "largest_child": _largest_child()}, clip

    async def render(self, clip: media_pb2.Clip) -> str:
        """Render a clip; returns the error reason, empty for a success."""
        shot = media_pb2.Shot(source=clip.source, fit=media_pb2.FIT_COVER)
        segment = media_pb2.Segment(shots=[shot], frame_count=6, canvas=CANVAS, quality=media_pb2.QUALITY_DRAFT)
        request = processing_pb.RenderSegmentRequest(segment=segment)
        try:
            *_, last = [step async for step in self._processing.RenderSegment(request)]
        except errors.Error as failure:
            return failure.reason
        assert last.segment.video.size_bytes > 0
        return ""


async def main(certificates: Path, folder: Path, files: list[Path]) -> None:
    scratch = folder / "scratch"
    config = RuntimeConfig(
        certificates=certificates,
        ports=dict.fromkeys(PORTS, 0),
        scratch=scratch,
        ffmpeg=ffmpeg_program(),
        grace_seconds=1.0,
    )
    log = io.StringIO()
    telemetry.configure(config, log)
    me = psutil.Process()
    async with Mesh(config) as mesh:
        await start_storage(mesh, folder / "storage")
        await mesh.start("validation", ValidationConfig())
        await mesh.start("processing", ProcessingConfig(slots=1, threads=1))
        reader = Reader(mesh)
        # Warm up everything that is loaded once.
        for file in files[:3]:
            await reader.validate(file)
        before = me.memory_info().rss
        clips = {}
        for file in files:
            outcome, clip = await reader.validate(file)
            if clip is not None:
                clips[file.name] = clip
            print(json.dumps({**outcome, "parent": me.memory_info().rss - before}), flush=True)
        whole: dict[str, Any] = {"grown": me.memory_info().rss - before, "largest_child": _largest_child()}
        whole["rendered"] = {name: await reader.render(clip) for name, clip in clips.items()}
        whole["log"] = log.getvalue()
        whole["children"] = len(me.children(recursive=True))
        whole["left"] = [str(path) for path in scratch.glob("validation-*/*")]
        print(json.dumps(whole), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]]))
