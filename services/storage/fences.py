"""Fences: when the work of a folder's writers has ended, the writes that such a writer still sends are refused.

Each writer uses a folder of its own in the folder, whose name is an increasing number: `<folder>/<number>/<name>`. A
fence is an empty blob whose name holds the folder and the last number whose work has ended. Several fences may exist;
the highest counts, so a fence that a stopped process raises late changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from moneyprinter.errors import FailedPrecondition

FENCES = "fences!/"
"""The prefix of the names of fences; no key can begin like this."""

_NUMBERED = re.compile(r"(.+)/([0-9]{1,9})/[^/]+")


@dataclass(frozen=True)
class BlobEntry:
    """A blob in a listing."""

    name: str
    store_time: float
    """When it was stored, in seconds since 1970."""


class Blobs(Protocol):
    """A store of blobs."""

    async def write(self, name: str, parts: AsyncIterator[bytes]) -> None:
        """Store all of `parts`."""

    async def delete(self, name: str) -> None:
        """Delete a blob, if it exists."""

    def entries(self, folder: str) -> AsyncIterator[Sequence[BlobEntry]]:
        """Yield batches of at most 1000 blobs below a folder, in no order."""


def blob_path(key: str) -> str:
    """Return the path of a key or folder in the store, where no part of a path may be longer than 255 bytes."""
    return re.sub(r"([^/]{200})(?=[^/])", r"\1+/", key)


async def check_writer(blobs: Blobs, key: str) -> None:
    """Raise `FailedPrecondition` (WRITER_FENCED) when the writer of a key was fenced off."""
    numbered = _NUMBERED.fullmatch(key)
    if numbered is None:
        return
    folder, number = numbered[1], int(numbered[2])
    async for entries in blobs.entries(_fence_folder(folder)):
        if any(
            number <= up_to for entry in entries if (up_to := _number(entry.name, _fence_folder(folder))) is not None
        ):
            raise FailedPrecondition(
                f"{key} is not stored: another attempt took this writer's place, or its job ended",
                reason="WRITER_FENCED",
            )


async def raise_fence(blobs: Blobs, folder: str, up_to: int) -> None:
    """Refuse further writes of the writers up to a number, and delete what they have stored.

    A concurrent write either finds the fence after it has stored its blob, and deletes the blob itself, or has stored
    it before the fence existed, and it is deleted here.
    """

    async def empty() -> AsyncIterator[bytes]:
        yield b""

    await blobs.write(f"{_fence_folder(folder)}/{up_to}!", empty())
    path = blob_path(folder)
    async for entries in blobs.entries(path):
        for entry in entries:
            number = entry.name.removeprefix(f"{path}/").partition("/")[0]
            if number.isdigit() and int(number) <= up_to:
                await blobs.delete(entry.name)


def _fence_folder(folder: str) -> str:
    return f"{FENCES}{blob_path(folder)}"


def _number(name: str, fence: str) -> int | None:
    """Return the number of a fence of a folder; None when the blob is a fence of a folder below it."""
    last = name.removeprefix(f"{fence}/").removesuffix("!")
    return int(last) if last.isdigit() else None
