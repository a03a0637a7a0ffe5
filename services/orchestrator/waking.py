"""Waking: wait to be told of something, and look by oneself now and then, since what others tell may be lost."""

from __future__ import annotations

import asyncio


async def woken(*events: asyncio.Event, seconds: float) -> None:
    """Wait until one of some events is set, but no longer than so many seconds."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
