"""Streams of stored files to clients, and the errors for files that are damaged or missing."""

from __future__ import annotations

from collections.abc import AsyncIterator

from moneyprinter.errors import DataLoss, Error, NotFound, Unavailable
from services.orchestrator.jobs.recovery import LOST

RETRY_SECONDS = 2.0


async def open_stream(chunks: AsyncIterator[bytes], lost: Error) -> AsyncIterator[bytes]:
    """Await the first chunk, and return all chunks. Raises `lost` when the file is damaged or missing, now or later.

    Since the first chunk is read before the response begins, most damaged files give an error status instead of a
    download that breaks off.
    """
    try:
        first = await anext(chunks, None)
    except Error as failure:
        raise (lost if failure.reason in LOST else failure) from failure

    async def rest() -> AsyncIterator[bytes]:
        if first is None:
            return
        yield first
        try:
            async for chunk in chunks:
                yield chunk
        except Error as failure:
            raise (lost if failure.reason in LOST else failure) from failure

    return rest()


def lost_file(name: str) -> DataLoss:
    """Return the error for a damaged or missing file of a finished video."""
    return DataLoss(
        f"the stored file {name} of this video is damaged or missing; make the video again (revise it without changes),"
        " or restore the storage from a backup",
        reason="DATA_CORRUPT",
    )


def lost_preview(name: str, *, ended: bool) -> Error:
    """Return the error for a missing file of a preview: it is made again while the job runs, and expires afterwards."""
    if ended:
        return NotFound(
            f"{name} of the preview is not kept any more; download the video itself", reason="FILE_NOT_FOUND"
        )
    return Unavailable(
        f"{name} of the preview is made again; ask again in a moment",
        reason="SERVICE_UNAVAILABLE",
        retry_after_seconds=RETRY_SECONDS,
    )
