"""A process that renders and joins as the processing and concatenation services do, without a mesh.

It wires both services as their servers do, but with objects in a folder, so that only the engine is measured. It reads
one task per line, and answers with the figures.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import imageio_ffmpeg

from moneyprinter.concatenation.v1 import concatenation_service_pb2 as concatenation
from moneyprinter.media.v1 import media_pb2
from moneyprinter.processing.v1 import processing_service_pb2 as processing
from scripts.benchmarks.engine import plan
from services.processing import server as processing_server
from services.processing.config import Config as ProcessingConfig
from services.runtime.config import RuntimeConfig


class Files:
    """Objects in a folder. Files are linked, not copied, since other benchmarks measure storage."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def head(self, key: str) -> media_pb2.Object | None:
        path = self._root / key
        return await asyncio.to_thread(self._describe, key, path) if path.exists() else None

    async def get_bytes(self, key: str, offset: int = 0, length: int = 0) -> bytes:
        data = (self._root / key).read_bytes()
        return data[offset : offset + length if length else None]

    async def get_file(self, source: media_pb2.Object, path: Path) -> None:
        os.link(self._root / source.key, path)

    async def put_file(self, key: str, path: Path) -> media_pb2.Object:
        (self._root / key).parent.mkdir(parents=True, exist_ok=True)
        os.link(path, self._root / key)
        return await asyncio.to_thread(self._describe, key, path)

    def _describe(self, key: str, path: Path) -> media_pb2.Object:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
        return media_pb2.Object(key=key, sha256=digest.hexdigest(), size_bytes=path.stat().st_size)


class Bench:
    """Stands in for the runtime of a server."""

    def __init__(self, root: Path) -> None:
        self.config = RuntimeConfig(ffmpeg=Path(imageio_ffmpeg.get_ffmpeg_exe()), scratch=root)
        self.servicer: Any = None
        self.max_calls = 0
        self._root = root

    def objects(self) -> Files:
        return Files(self._root / "objects")

    def add(self, register: Callable[[Any, Any], None], servicer: Any) -> None:
        self.servicer = servicer

    @asynccontextmanager
    async def scratch(self) -> AsyncIterator[Path]:
        folder = Path(tempfile.mkdtemp(dir=self._root))
        try:
            yield folder
        finally:
            await asyncio.to_thread(shutil.rmtree, folder)


async def make(message: dict[str, Any], root: Path) -> dict[str, Any]:
    """Make the video of a task, or only render the segments in `only`. Returns the figures."""
    task = plan.Task.read(message["task"])
    folder = root / "objects" / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    for clip in task.clips:
        if not (folder / clip.sha256).exists():
            os.link(clip.path, folder / clip.sha256)
    async with AsyncExitStack() as stack:
        renderer = Bench(root)
        slots, threads = message["slots"], message.get("threads")
        fonts = Path(message["fonts"])
        settings = ProcessingConfig(slots=slots, threads=threads, fonts=fonts, encoders="none")
        await stack.enter_async_context(processing_server.wire(settings, renderer))  # type: ignore[arg-type]
        if not message.get("keep"):
            shutil.rmtree(root / "objects" / "cache", ignore_errors=True)
        began, cpu = time.monotonic(), cpu_seconds()
        segments = plan.segments(task, {clip.sha256: f"clips/{clip.sha256}" for clip in task.clips})
        only = message.get("only", [segment.index for segment in segments])
        segments = [segment for segment in segments if segment.index in only]
        # As many segments as an instance accepts.
        at_once = asyncio.Semaphore(2 * slots)
        each: list[float] = []
        ended: dict[int, float] = {}

        async def render(segment: media_pb2.Segment) -> processing.RenderedSegment:
            async with at_once:
                started = time.monotonic()
                request = processing.RenderSegmentRequest(segment=segment)
                *_, last = [update async for update in renderer.servicer.RenderSegment(request, None)]
                ended[segment.index] = time.monotonic()
                each.append(ended[segment.index] - started)
                return last.segment  # type: ignore[no-any-return]

        rendered = await asyncio.gather(*map(render, segments))
        drawn = time.monotonic()
        if "only" in message:
            return {"wall": drawn - began, "cpu": cpu_seconds() - cpu}
        shown = sorted(zip(segments, rendered, strict=True), key=lambda pair: pair[0].index)
        last = await join([one.video for _, one in shown], root)
        wall = time.monotonic() - began
        figures = {
            "wall": wall,
            "cpu": cpu_seconds() - cpu,
            "segments": len(segments),
            "reused": sum(one.reused for one in rendered),
            "join": wall - (drawn - began),
            "each": each,
            "first": playable(segments, ended) - began,
        }
    shutil.copyfile(root / "objects" / last.video.video.key, message["out"])
    assert last.video.frame_count == task.frame_count
    return figures


async def join(videos: Sequence[media_pb2.Object], root: Path) -> concatenation.ConcatenateResponse:
    """Join segments, as a concatenation instance does."""
    # Imported late: a rendering instance does not load these libraries.
    from services.concatenation import server as concatenation_server
    from services.concatenation.config import Config

    joiner = Bench(root)
    async with concatenation_server.wire(Config(), joiner):  # type: ignore[arg-type]
        request = concatenation.ConcatenateRequest(segments=videos)
        *_, last = [update async for update in joiner.servicer.Concatenate(request, None)]
    return last  # type: ignore[no-any-return]


def playable(segments: Sequence[media_pb2.Segment], ended: Mapping[int, float]) -> float:
    """Return when the first second was playable: the end of the last segment that it needs."""
    frames, latest = 0, 0.0
    for segment in sorted(segments, key=lambda segment: segment.index):
        if frames >= segment.canvas.frames_per_second:
            break
        frames, latest = frames + segment.frame_count, max(latest, ended[segment.index])
    return latest


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and its children."""
    usages = [resource.getrusage(kind) for kind in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    root = Path(sys.argv[1])
    print("{}", flush=True)
    for line in sys.stdin:
        print(json.dumps(asyncio.run(make(json.loads(line), root))), flush=True)


if __name__ == "__main__":
    main()
