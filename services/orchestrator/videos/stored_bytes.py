"""Stored bytes: a file of the store on its way to a user, and the error for one that is damaged or gone."""

from __future__ import annotations

from collections.abc import AsyncIterator

from moneyprinter.errors import DataLoss, Error, NotFound, Unavailable
from services.orchestrator.jobs.recovery import LOST

RETRY_SECONDS = 2.0


async def opened(chunks: AsyncIterator[bytes], lost: Error) -> AsyncIterator[bytes]:
    """Returns the chunks when the first one is here. Raises `lost` when the file is damaged or gone, here or later.

    So an answer that begins has begun well, and a damaged file is an error and not a download that breaks off.
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
    """The error for a finished video's file."""
    return DataLoss(
        f"the stored file {name} of this video is damaged or missing; make the video again (revise it without changes),"
        " or restore the storage from a backup",
        reason="DATA_CORRUPT",
    )


def lost_preview(name: str, *, ended: bool) -> Error:
    """The error for a preview's file: it is made again while its job runs, and is not kept for ever afterwards."""
    if ended:
        return NotFound(
            f"{name} of the preview is not kept any more; download the video itself", reason="FILE_NOT_FOUND"
        )
    return Unavailable(
        f"{name} of the preview is made again; ask again in a moment",
        reason="SERVICE_UNAVAILABLE",
        retry_after_seconds=RETRY_SECONDS,
    )
