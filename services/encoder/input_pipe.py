"""Input pipe: write received chunks to the standard input of a child without copying them."""

from __future__ import annotations

import asyncio
import os

from services.media.pipes import enlarge_pipe
from services.runtime import children


class InputPipe:
    """The standard input of a child. Unlike asyncio's own stream, it does not copy what does not fit into the pipe."""

    def __init__(self, child: children.Child) -> None:
        self._fd = os.dup(child.stdin.get_extra_info("pipe").fileno())
        child.stdin.close()
        enlarge_pipe(self._fd)

    async def write(self, data: bytes) -> None:
        """Write all of `data`; waits while the pipe is full. Raises `BrokenPipeError` when the child has closed it."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                await self._wait_writable()

    def close(self) -> None:
        """Close the pipe, so that the child reads its end. Closing it again has no effect."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    async def _wait_writable(self) -> None:
        loop, writable = asyncio.get_running_loop(), asyncio.Event()
        loop.add_writer(self._fd, writable.set)
        try:
            await writable.wait()
        finally:
            loop.remove_writer(self._fd)
