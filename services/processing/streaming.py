"""Streaming: draw a segment here, and have the encoder service encode its frames, on a GPU.

Frames pass from the pipe of ffmpeg to the encoder as they are drawn, each size in a stream of its own. Packets come
back and are written to the files of the segment. Nothing is buffered: the slowest of them makes the others wait.
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
from services.media.ffmpeg import QUIET
from services.media.flv import Encoded, Packet, SequenceHeader
from services.media.pipes import PIPE_BYTES, enlarge_pipe
from services.processing import command
from services.processing.fragment import Fragment
from services.processing.render import Tool, check_segment, prepare_captions
from services.processing.source import Source
from services.processing.spec import Size, Spec
from services.runtime import children
from services.runtime.progress import OnProgress, ignore_progress
from services.runtime.tasks import run_all

# One read takes all that a pipe holds.
CHUNK_BYTES = PIPE_BYTES
# The sample entries of the codecs in an MP4. VP9 is not among them: its packets do not declare their colour primaries.
_SAMPLE_ENTRIES = {Codec.H264: "avc1", Codec.H265: "hvc1", Codec.AV1: "av01"}
CODECS = tuple(_SAMPLE_ENTRIES)

_MUX_CHILD = Path(__file__).with_name("mux_child.py")
_MUX_LIMITS = children.Limits(memory_bytes=2 << 30, open_files=64)


@dataclass(frozen=True)
class Format:
    """The format of the frames of a stream, and of its encode."""

    size: Size
    frames_per_second: int
    codec: Codec
    quality: Quality


class Encoder(Protocol):
    """Encodes streams of frames."""

    async def is_free(self, codec: Codec) -> bool:
        """Whether an encoder for that codec has a free slot."""

    def encode(self, format: Format, frames: AsyncIterator[bytes]) -> AsyncGenerator[Encoded, None]:
        """Yields the sequence header, then the packets in decoding order. Raises `moneyprinter.errors.Error`."""


async def render(
    spec: Spec,
    sources: Sequence[Source],
    folder: Path,
    tool: Tool,
    encoder: Encoder,
    on_progress: OnProgress = ignore_progress,
) -> Fragment:
    """Render a segment as `render.render` does, with an encoder.

    Raises the error of the encoder or of ffmpeg. The files in `folder` are then incomplete.
    """
    await _draw_and_encode(spec, sources, folder, tool, encoder, on_progress)
    return await check_segment(spec, folder)


async def _draw_and_encode(
    spec: Spec,
    sources: Sequence[Source],
    folder: Path,
    tool: Tool,
    encoder: Encoder,
    on_progress: OnProgress,
) -> None:
    sizes = [Size(spec.canvas.width, spec.canvas.height), *spec.renditions]
    environment = await asyncio.to_thread(prepare_captions, spec, folder, tool)
    with ExitStack() as stack:
        pipes = [_FramePipe() for _ in sizes]
        for pipe in pipes:
            stack.callback(pipe.close)
        write_ends = [pipe.write_end for pipe in pipes]
        arguments = command.rawvideo_arguments(spec, sources, tool.threads, tool.max_pixels, write_ends)
        try:
            async with children.start(
                (tool.ffmpeg, *QUIET, *arguments),
                limits=tool.limits,
                folder=folder,
                environment=environment,
                descriptors=write_ends,
                niceness=tool.niceness,
            ) as child:
                for pipe in pipes:
                    pipe.close_write_end()
                writers = []
                for size, pipe, file in zip(sizes, pipes, command.segment_files(spec), strict=True):
                    format = Format(size, spec.canvas.frames_per_second, spec.codec, spec.quality)
                    packets = encoder.encode(format, pipe.read_chunks())
                    report = on_progress if pipe is pipes[0] else ignore_progress
                    writers.append(_write_file(spec, packets, folder, file, report))
                await run_all(*writers)
                await child.check_success()
        except children.ChildFailed as failure:
            raise children.to_error(failure, "frames cannot be streamed", Internal, reason="RENDER_FAILED") from None


async def _write_file(
    spec: Spec,
    packets: AsyncGenerator[Encoded, None],
    folder: Path,
    file: str,
    on_progress: OnProgress,
) -> None:
    """Write the packets of one size to a file of the segment."""
    async with aclosing(packets):
        header, first = await anext(packets, None), await anext(packets, None)
        if not isinstance(header, SequenceHeader) or not isinstance(first, Packet):
            raise DataLoss("the encoder gave no packets", reason="RENDER_FAILED")
        rate = spec.canvas.frames_per_second
        options = json.dumps({name: str(value) for name, value in command.muxer_options(rate).items()})
        figures = (_SAMPLE_ENTRIES[spec.codec], str(rate), str(-first.dts))
        muxer: Sequence[str | Path] = (sys.executable, "-I", _MUX_CHILD, file, options, *figures)
        async with children.start(muxer, limits=_MUX_LIMITS, folder=folder, stdin=True) as child:
            child.stdin.write(flv.FILE_HEADER + flv.sequence_header_tag(spec.codec, header.data))
            written = 0
            async for packet in _prepend(first, packets):
                child.stdin.write(flv.packet_tag(spec.codec, packet, first.dts))
                try:
                    await child.stdin.drain()
                except ConnectionError:  # The child has ended; its exit code has the reason.
                    await child.check_success()
                    raise
                written += 1
                on_progress(written / spec.frame_count)
            child.stdin.close()
            await child.check_success()


async def _prepend(first: Packet, rest: AsyncIterator[Encoded]) -> AsyncIterator[Packet]:
    yield first
    async for packet in rest:
        assert isinstance(packet, Packet)
        yield packet


class _FramePipe:
    """A pipe to which ffmpeg writes frames, and from which they are read as they come."""

    def __init__(self) -> None:
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        enlarge_pipe(self._read_end)

    async def read_chunks(self) -> AsyncIterator[bytes]:
        """Yields what is written, until the write end is closed."""
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
        """Close the write end in this process, when the child has its own copy."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def close(self) -> None:
        """Close both ends."""
        self.close_write_end()
        os.close(self._read_end)
