"""Scrubber: verifies all objects in the background, a bounded number of bytes an hour, and goes on where it stopped.

Damaged objects that can be made again are deleted, as by reads (`damage.py`). Damaged originals are reported until they
are whole again or deleted. The reconciliation of the orchestrator finds what the database has and the store lost, and
objects that belong to nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol

import structlog

from moneyprinter.errors import DataLoss, Error, NotFound
from services.storage import objects
from services.storage.damage import DamageMonitor
from services.storage.objects import Blobs, Ciphers, Header, Trailer

# No caller can use such a key.
STATE_KEY = "scrubber!/state"
PAGE_SIZE = 100
# The position is stored after this much work, and at the end of a pass.
SAVE_BYTES = 256 * 1024 * 1024
# An object counts as this many bytes at least, since a request has a cost of its own.
MIN_BYTES = 64 * 1024
# The bytes that are read between two pauses.
PAUSE_BYTES = 4 * 1024 * 1024
# A pass over few objects does not begin again at once.
MIN_PASS_SECONDS = 6 * 3600.0
START_SECONDS = 60.0
MAX_DAMAGED = 100
"""How many damaged originals the state names."""

log = structlog.get_logger()


class SortedBlobs(Blobs, Protocol):
    """A store that lists its blobs in an order of their names."""

    async def names_after(self, name: str, count: int) -> Sequence[str]:
        """Return the first `count` names that follow `name` in the order of the store; empty: from the beginning."""


@dataclass
class ScrubState:
    """How far the current pass is, and what it found. It is kept in the store, so that a new instance continues."""

    position: str = ""
    """The name of the last blob that was verified; empty: a pass begins."""
    end_time: float = 0.0
    """When the last pass over all objects ended, in seconds since 1970; 0: none has."""
    verified: int = 0
    """The number of objects that this pass has verified."""
    removed: int = 0
    """The number of damaged objects that this pass has deleted, since they can be made again."""
    damaged: list[str] = field(default_factory=list)
    """The keys of originals that are damaged."""


@dataclass
class Scrubber:
    """Verifies all objects in the order of their names."""

    blobs: SortedBlobs
    ciphers: Ciphers
    damage: DamageMonitor
    bytes_per_hour: float
    now: Callable[[], float]
    """Returns the time in seconds since 1970."""
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    state: ScrubState = field(default_factory=ScrubState)
    _unpaused: int = 0
    _unsaved: int = 0

    async def run(self) -> None:
        """Make passes, with a pause between them, until cancelled. With 0 bytes an hour, returns at once."""
        while self.bytes_per_hour:
            # The start of a service has more urgent work.
            await self.sleep(START_SECONDS)
            try:
                self.state = await self._load()
                if not self.state.position:
                    await self.sleep(max(0.0, self.state.end_time + MIN_PASS_SECONDS - self.now()))
                await self.make_pass()
            except Error as failure:
                log.warning("objects not verified, retrying later", reason=failure.reason, error=failure.message)

    async def make_pass(self) -> None:
        """Verify the objects behind the position, up to the last one. Raises an error of the store."""
        state = self.state
        if not state.position:
            state.verified = state.removed = 0
        for key in list(state.damaged):
            await self._verify(key)
        while names := await self.blobs.names_after(state.position, PAGE_SIZE):
            for name in names:
                if "!/" not in name:
                    await self._verify(objects.key_of_blob(name))
                    state.verified += 1
                state.position = name
                if self._unsaved >= SAVE_BYTES:
                    await self._save()
        state.position, state.end_time = "", self.now()
        await self._save()
        log.info("all objects verified", objects=state.verified, removed=state.removed, damaged=len(state.damaged))

    async def check(self) -> None:
        """Raise `DataLoss` while an original is known to be damaged."""
        if self.state.damaged:
            count, first = len(self.state.damaged), self.state.damaged[0]
            raise DataLoss(
                f"{count} stored originals are damaged, such as {first}; restore them from a backup, or delete their "
                "videos or uploads",
                reason="DATA_CORRUPT",
            )

    async def _verify(self, key: str) -> None:
        """Read an object, and record whether it is damaged. Raises an error of the store, but none of the object."""
        damaged, before = self.state.damaged, self.damage.counts.total()
        size_bytes = 0
        try:
            async with self.damage.watch(key):
                async for part in objects.get(self.blobs, self.ciphers, key):
                    if isinstance(part, bytes):
                        size_bytes += len(part)
                        await self._pause(len(part))
        except DataLoss:
            if key not in damaged and len(damaged) < MAX_DAMAGED:
                damaged.append(key)
        except NotFound:
            # It was deleted meanwhile, or was damaged and can be made again.
            self.state.removed += self.damage.counts.total() - before
            if key in damaged:
                damaged.remove(key)
        else:
            if key in damaged:
                damaged.remove(key)
        await self._pause(max(0, MIN_BYTES - size_bytes))

    async def _pause(self, size_bytes: int) -> None:
        """Count bytes that were read, and pause for the time that they may take."""
        self._unsaved += size_bytes
        self._unpaused += size_bytes
        if self._unpaused >= PAUSE_BYTES:
            await self.sleep(3600.0 * self._unpaused / self.bytes_per_hour)
            self._unpaused = 0

    async def _load(self) -> ScrubState:
        try:
            parts = [part async for part in objects.get(self.blobs, self.ciphers, STATE_KEY)]
            return ScrubState(**json.loads(b"".join(part for part in parts if isinstance(part, bytes))))
        except (NotFound, DataLoss, ValueError, TypeError):
            # Only the position is lost; a pass finds all damage again.
            return ScrubState()

    async def _save(self) -> None:
        content = json.dumps(asdict(self.state)).encode()

        async def parts() -> AsyncIterator[Header | bytes | Trailer]:
            yield Header(STATE_KEY)
            yield content
            yield Trailer(hashlib.sha256(content).hexdigest())

        self._unsaved = 0
        await objects.put(self.blobs, self.ciphers, parts())
