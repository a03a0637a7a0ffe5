"""Status: converts errors to and from `google.rpc.Status`, their form on the wire."""

from __future__ import annotations

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2

from moneyprinter import errors

DOMAIN = "moneyprinter"
DETAILS_KEY = "grpc-status-details-bin"

# Common clients drop trailers over 8 KiB, and the message is in them twice.
MAX_MESSAGE = 1000
MAX_VIOLATIONS = 20

_CODES: dict[type[errors.Error], grpc.StatusCode] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.Conflict: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.DataLoss: grpc.StatusCode.DATA_LOSS,
    errors.Internal: grpc.StatusCode.INTERNAL,
}
_ERRORS = {code: error for error, code in _CODES.items()} | {
    grpc.StatusCode.ABORTED: errors.Conflict,
    # The gateway's response for a path without a public method.
    grpc.StatusCode.UNIMPLEMENTED: errors.NotFound,
    # gRPC's status for calls that a stopping server has not begun (grpc/grpc#41785). A caller that cancels a call
    # gets an `asyncio.CancelledError` instead.
    grpc.StatusCode.CANCELLED: errors.Unavailable,
}

# These replace gRPC's own messages, which contain addresses of the mesh.
STOPPING = "this part of the platform is being stopped; try again in a moment"
_MESSAGES = {
    grpc.StatusCode.CANCELLED: STOPPING,
    grpc.StatusCode.UNAVAILABLE: "the platform, or a part of it, cannot be reached; try again in a moment",
}
_RETRY_AFTER_SECONDS = 1.0

# The reasons for a status without ErrorInfo, which comes from gRPC itself or from a proxy.
_PLAIN_REASONS = {
    grpc.StatusCode.UNAVAILABLE: "SERVICE_UNAVAILABLE",
    grpc.StatusCode.CANCELLED: "SERVICE_UNAVAILABLE",
    grpc.StatusCode.DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "BUSY",
    grpc.StatusCode.UNIMPLEMENTED: "METHOD_UNKNOWN",
    grpc.StatusCode.UNAUTHENTICATED: "TOKEN_INVALID",
    grpc.StatusCode.PERMISSION_DENIED: "CALLER_NOT_ALLOWED",
}


def code_of(error: errors.Error) -> grpc.StatusCode:
    """Return the status code of an error."""
    return _CODES[type(error)]


def to_status(error: errors.Error) -> status_pb2.Status:
    """Return the status of an error: code, message, ErrorInfo, and BadRequest or RetryInfo where they apply."""
    status = status_pb2.Status(
        code=code_pb2.Code.Value(code_of(error).name),
        message=error.message[:MAX_MESSAGE],
    )
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN))
    if error.violations:
        bad = error_details_pb2.BadRequest()
        for violation in error.violations[:MAX_VIOLATIONS]:
            bad.field_violations.add(field=violation.field[:200], description=violation.description[:200])
        status.details.add().Pack(bad)
    if error.retry_after_seconds is not None:
        delay = Duration()
        delay.FromNanoseconds(int(error.retry_after_seconds * 1e9))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def from_rpc_error(failure: grpc.aio.AioRpcError) -> errors.Error:
    """Return the error of a failed call, whether the server, gRPC or a proxy ended it.

    When gRPC itself ended it, its own message is a note of the error (`__notes__`), for logs.
    """
    code = failure.code()
    kind = _ERRORS.get(code, errors.Internal)
    for key, value in failure.trailing_metadata() or ():
        if key == DETAILS_KEY:
            return _unpack(kind, status_pb2.Status.FromString(value))
    error = kind(
        _MESSAGES.get(code) or failure.details() or code.name,
        reason=_PLAIN_REASONS.get(code, "INTERNAL"),
        retry_after_seconds=_RETRY_AFTER_SECONDS if code in _MESSAGES else None,
    )
    error.add_note(failure.details() or code.name)
    return error


def _unpack(kind: type[errors.Error], status: status_pb2.Status) -> errors.Error:
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for detail in status.details:
        for message in (info, bad, retry):
            detail.Unpack(message)
    return kind(
        status.message,
        reason=info.reason or "INTERNAL",
        violations=[errors.Violation(v.field, v.description) for v in bad.field_violations],
        retry_after_seconds=retry.retry_delay.ToNanoseconds() / 1e9 if retry.HasField("retry_delay") else None,
    )
