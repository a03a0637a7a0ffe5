"""Streaming: draw a segment here, and have an encoder that has a GPU encode its frames.

Frames go from ffmpeg's pipe to the encoder as they are drawn, each size to a stream of its own; packets come back
and are written into the segment's files. Nothing is held: whoever is slow makes the others wait.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from moneyprinter.errors import DataLoss, Internal
from services.media import flv
from services.media.encoding import Codec, Quality
from services.media.flv import Encoded, Packet, SequenceHeader
from services.media.pipes import PIPE_BYTES, enlarge_pipe
from services.processing import picture
from services.processing.fragment import Fragment
from services.processing.render import Tool, checked, lay_out
from services.processing.source import Source
from services.processing.spec import Size, Spec
from services.runtime import children
from services.runtime.progress import OnProgress, ignore_progress
from services.runtime.tasks import run_all

# One read takes all that a pipe holds.
CHUNK_BYTES = PIPE_BYTES
# How MP4 names the codecs. VP9 is not among them: its packets do not say which red, green and blue it means.
_TAGS = {Codec.H264: "avc1", Codec.H265: "hvc1", Codec.AV1: "av01"}
CODECS = tuple(_TAGS)

_MUX = Path(__file__).with_name("mux_child.py")
_MUX_LIMITS = children.Limits(memory_bytes=2 << 30, open_files=64)


@dataclass(frozen=True)
class Format:
    """How frames are, and are to be encoded."""

    size: Size
    frames_per_second: int
    codec: Codec
    quality: Quality


class Encoder(Protocol):
    """Encodes a stream of frames."""

    async def is_free(self, codec: Codec) -> bool:
        """Whether there is one with a GPU for that codec that has nothing better to do."""

    def encode(self, format: Format, frames: AsyncIterator[bytes]) -> AsyncGenerator[Encoded, None]:
        """The headers, then the packets in the order in which they are decoded. Raises typed errors."""


async def render(
    spec: Spec,
    sources: Sequence[Source],
    folder: Path,
    tool: Tool,
    encoder: Encoder,
    on_progress: OnProgress = ignore_progress,
) -> Fragment:
    """Render as `render.render` does. Raises an error when the encoder fails, or ffmpeg; what it wrote is worthless."""
    await _draw(spec, sources, folder, tool, encoder, on_progress)
    return await checked(spec, folder)


async def _draw(
    spec: Spec,
    sources: Sequence[Source],
    folder: Path,
    tool: Tool,
    encoder: Encoder,
    on_progress: OnProgress,
) -> None:
    sizes = [Size(spec.canvas.width, spec.canvas.height), *spec.renditions]
    environment = await asyncio.to_thread(lay_out, spec, folder, tool)
    with ExitStack() as stack:
        pipes = [_Pipe() for _ in sizes]
        for pipe in pipes:
            stack.callback(pipe.close)
        ends = [pipe.write_end for pipe in pipes]
        arguments = picture.raw(spec, sources, tool.threads, tool.max_pixels, ends)
        command: Sequence[str | Path] = (tool.ffmpeg, *children.QUIET, *arguments)
        try:
            async with children.start(
                command,
                limits=tool.limits,
                folder=folder,
                environment=environment,
                descriptors=ends,
                niceness=tool.niceness,
            ) as child:
                for pipe in pipes:
                    pipe.close_write_end()
                writing = []
                for size, pipe, file in zip(sizes, pipes, picture.files(spec), strict=True):
                    format = Format(size, spec.canvas.frames_per_second, spec.codec, spec.quality)
                    packets = encoder.encode(format, pipe.chunks())
                    report = on_progress if pipe is pipes[0] else ignore_progress
                    writing.append(_write(spec, packets, folder, file, report))
                await run_all(*writing)
                await child.succeeded()
        except children.ChildFailed as failure:
            raise children.to_error(failure, "frames cannot be streamed", Internal, reason="RENDER_FAILED") from None


async def _write(
    spec: Spec,
    packets: AsyncGenerator[Encoded, None],
    folder: Path,
    file: str,
    on_progress: OnProgress,
) -> None:
    """Write packets into a file of the segment."""
    async with aclosing(packets):
        header, first = await anext(packets, None), await anext(packets, None)
        if not isinstance(header, SequenceHeader) or not isinstance(first, Packet):
            raise DataLoss("the encoder gave no packets", reason="RENDER_FAILED")
        rate = spec.canvas.frames_per_second
        options = json.dumps({name: str(value) for name, value in picture.file_options(rate).items()})
        figures = (_TAGS[spec.codec], str(rate), str(-first.dts))
        command: Sequence[str | Path] = (sys.executable, "-I", _MUX, file, options, *figures)
        async with children.start(command, limits=_MUX_LIMITS, folder=folder, stdin=True) as child:
            child.stdin.write(flv.FILE_HEADER + flv.sequence_header_tag(spec.codec, header.data))
            done = 0
            async for packet in _and_then(first, packets):
                child.stdin.write(flv.packet_tag(spec.codec, packet, first.dts))
                try:
                    await child.stdin.drain()
                except ConnectionError:  # It is gone; how it ended is why.
                    await child.succeeded()
                    raise
                done += 1
                on_progress(done / spec.frame_count)
            child.stdin.close()
            await child.succeeded()


async def _and_then(first: Packet, rest: AsyncIterator[Encoded]) -> AsyncIterator[Packet]:
    yield first
    async for packet in rest:
        assert isinstance(packet, Packet)
        yield packet


class _Pipe:
    """Where ffmpeg writes frames, and where they are read as they come."""

    def __init__(self) -> None:
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        enlarge_pipe(self._read_end)

    async def chunks(self) -> AsyncIterator[bytes]:
        """What was written, until the write end is closed."""
        loop, readable = asyncio.get_running_loop(), asyncio.Event()
        while True:
            try:
                chunk = os.read(self._read_end, CHUNK_BYTES)
            except BlockingIOError:
                readable.clear()
                loop.add_reader(self._read_end, readable.set)
                try:
                    await readable.wait()
                finally:
                    loop.remove_reader(self._read_end)
                continue
            if not chunk:
                return
            yield chunk

    def close_write_end(self) -> None:
        """Let go of what the child has now."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def close(self) -> None:
        """Close what is still open."""
        self.close_write_end()
        os.close(self._read_end)
