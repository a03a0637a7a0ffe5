"""Pipe: give a child what comes in, from the very bytes that came."""

from __future__ import annotations

import asyncio
import os

from services.media.pipes import enlarge_pipe
from services.runtime import children


class Pipe:
    """The standard input of a child. Unlike asyncio's own, it copies nothing that the pipe has no room for yet."""

    def __init__(self, child: children.Child) -> None:
        self._fd = os.dup(child.stdin.get_extra_info("pipe").fileno())
        child.stdin.close()
        enlarge_pipe(self._fd)

    async def write(self, data: bytes) -> None:
        """Write all of it. Raises BrokenPipeError when the child reads no more."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                await self._room()

    def close(self) -> None:
        """Let the child see the end; a second time does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    async def _room(self) -> None:
        loop, room = asyncio.get_running_loop(), asyncio.Event()
        loop.add_writer(self._fd, room.set)
        try:
            await room.wait()
        finally:
            loop.remove_writer(self._fd)
