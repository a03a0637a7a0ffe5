"""Errors: maps exceptions of handlers to gRPC statuses with a reason, and logs unexpected ones.

The exceptions themselves are in `moneyprinter.errors`.
"""

from __future__ import annotations

import asyncio
import math
import uuid

import grpc
import structlog

from moneyprinter import status
from moneyprinter.errors import DeadlineExceeded, Error, Internal, ResourceExhausted, Unavailable
from services.runtime.disk import DISK_FULL

# The time for sending the status of a call.
ABORT_SECONDS = 2.0
# An unreachable service returns within a second or two when it restarts.
RETRY_AFTER_SECONDS = 1.0

log = structlog.get_logger()


def to_error(failure: BaseException) -> Error:
    """Map an exception to an error. An unexpected one becomes `Internal` and is logged under the id in its message."""
    match failure:
        case Error():
            return failure
        case grpc.aio.AioRpcError():
            return status.from_rpc_error(failure)
        case TimeoutError() | asyncio.TimeoutError():
            return DeadlineExceeded("the work did not end within its deadline", reason="DEADLINE_EXCEEDED")
        case OSError(errno=number) if number in DISK_FULL:
            return disk_full()
    incident = uuid.uuid4().hex[:12]
    log.error("defect", incident=incident, exc_info=failure)
    return Internal(f"a defect of the platform (incident {incident} in its log)", reason="INTERNAL")


def disk_full() -> ResourceExhausted:
    """Return the error for a write to a full disk."""
    return ResourceExhausted("the disk is full; free some space and try again", reason="STORAGE_FULL")


async def abort(context: grpc.aio.ServicerContext, error: Error) -> None:  # type: ignore[type-arg]
    """End a call with an error. `Unavailable` gets a default retry delay. Always raises."""
    if isinstance(error, Unavailable) and error.retry_after_seconds is None:
        error.retry_after_seconds = RETRY_AFTER_SECONDS
    details: tuple[tuple[str, str | bytes], ...] = ((status.DETAILS_KEY, status.to_status(error).SerializeToString()),)
    if error.retry_after_seconds is not None:
        # The HTTP header, in whole seconds; the gateway passes it on.
        details += (("retry-after", str(math.ceil(error.retry_after_seconds))),)
    try:
        async with asyncio.timeout(ABORT_SECONDS):
            await context.abort(status.code_of(error), error.message[: status.MAX_MESSAGE], details)
    except TimeoutError:
        # The client reads nothing, so the status waits behind earlier messages. gRPC sends it when it can, or else
        # the gateway resets the stream.
        raise asyncio.CancelledError from None
