"""Errors: what a handler raised becomes a status with a reason, and what it was is logged.

The tree itself is `moneyprinter.errors`; this is the server's side of it.
"""

from __future__ import annotations

import asyncio
import errno
import math
import uuid

import grpc
import structlog

from moneyprinter import status
from moneyprinter.errors import DeadlineExceeded, Error, Internal, InvalidArgument, ResourceExhausted, Unavailable

# What a system says that cannot write on: no fault of who writes, nor of what is written.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# How long the end of a call may take to be sent.
ABORT_SECONDS = 2.0
# What is away comes back within a second or two when it restarts.
RETRY_AFTER_SECONDS = 1.0

log = structlog.get_logger()

# Faults of the one who calls; everything else is logged as ours or our neighbours'.
_EXPECTED = (InvalidArgument, Unavailable, DeadlineExceeded, ResourceExhausted)


def typed(failure: BaseException) -> Error:
    """The error that stands for any exception. One that nobody expected becomes Internal, with an id to find it by."""
    match failure:
        case Error():
            return failure
        case grpc.aio.AioRpcError():
            return status.from_rpc_error(failure)
        case TimeoutError() | asyncio.TimeoutError():
            return DeadlineExceeded("the work did not end within its deadline", reason="DEADLINE_EXCEEDED")
        case OSError(errno=number) if number in FULL:
            return disk_full()
    incident = uuid.uuid4().hex[:12]
    log.error("defect", incident=incident, exc_info=failure)
    return Internal(f"a defect of the platform (incident {incident} in its log)", reason="INTERNAL")


def disk_full() -> ResourceExhausted:
    """The error for what cannot be written on."""
    return ResourceExhausted("the disk is full; free some space and try again", reason="STORAGE_FULL")


async def abort(context: grpc.aio.ServicerContext, error: Error) -> None:  # type: ignore[type-arg]
    """End a call with an error; one of something that is away says when to try again. Always raises."""
    if isinstance(error, Unavailable) and error.retry_after_seconds is None:
        error.retry_after_seconds = RETRY_AFTER_SECONDS
    details: tuple[tuple[str, str | bytes], ...] = ((status.DETAILS_KEY, status.to_status(error).SerializeToString()),)
    if error.retry_after_seconds is not None:
        # The header of HTTP, which counts in whole seconds; the gateway passes it on.
        details += (("retry-after", str(math.ceil(error.retry_after_seconds))),)
    try:
        async with asyncio.timeout(ABORT_SECONDS):
            await context.abort(status.code_of(error), error.message[: status.MAX_MESSAGE], details)
    except TimeoutError:
        # The client reads nothing, so that the end waits behind what was sent before. gRPC sends it when it can; the
        # gateway resets the stream when it cannot.
        raise asyncio.CancelledError from None
