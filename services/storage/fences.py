"""Fences: once the work of a folder's writers has ended, what such a writer still sends is refused.

Writers use folders of their own in the folder, whose names are numbers that grow: `<folder>/<number>/<name>`. A fence
is an empty blob whose name holds the folder and the last number whose work has ended. Several may stand; the highest
counts, so a fence that a stopped process raises late changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from moneyprinter.errors import FailedPrecondition

FENCES = "fences!/"
"""The first part of the names of fences; no key can begin like this."""

_NUMBERED = re.compile(r"(.+)/([0-9]{1,9})/[^/]+")


@dataclass(frozen=True)
class Entry:
    """A blob, as far as it is known without reading it."""

    name: str
    store_time: float
    """When it was stored, in seconds since 1970."""


class Blobs(Protocol):
    """Where blobs are kept."""

    async def write(self, name: str, parts: AsyncIterator[bytes]) -> None:
        """Keep all of `parts`."""

    async def delete(self, name: str) -> None:
        """Forget a blob; no error when there is none."""

    def entries(self, folder: str) -> AsyncIterator[Sequence[Entry]]:
        """The blobs below a folder, at most 1000 at a time, in no order."""


def blob_path(key: str) -> str:
    """Returns the path of a key or folder in the store, where no part of a path may be longer than 255 bytes."""
    return re.sub(r"([^/]{200})(?=[^/])", r"\1+/", key)


async def check_writer(blobs: Blobs, key: str) -> None:
    """Raise FailedPrecondition (WRITER_FENCED) when the work of the writer of a key has ended."""
    numbered = _NUMBERED.fullmatch(key)
    if numbered is None:
        return
    folder, number = numbered[1], int(numbered[2])
    async for entries in blobs.entries(_fence(folder)):
        if any(number <= up_to for entry in entries if (up_to := _number(entry.name, _fence(folder))) is not None):
            raise FailedPrecondition(
                f"{key} is not kept: another attempt took this writer's place, or its job ended", reason="WRITER_FENCED"
            )


async def raise_fence(blobs: Blobs, folder: str, up_to: int) -> None:
    """Refuse what writers up to a number still send, and delete what they stored.

    A write that was under way either finds the fence after it stored its blob, and removes that, or stored it before
    the fence was there, and it is found here.
    """

    async def nothing() -> AsyncIterator[bytes]:
        yield b""

    await blobs.write(f"{_fence(folder)}/{up_to}!", nothing())
    path = blob_path(folder)
    async for entries in blobs.entries(path):
        for entry in entries:
            number = entry.name.removeprefix(f"{path}/").partition("/")[0]
            if number.isdigit() and int(number) <= up_to:
                await blobs.delete(entry.name)


def _fence(folder: str) -> str:
    return f"{FENCES}{blob_path(folder)}"


def _number(name: str, fence: str) -> int | None:
    """The number of a fence of a folder; None when the blob is one of a folder in it."""
    last = name.removeprefix(f"{fence}/").removesuffix("!")
    return int(last) if last.isdigit() else None
