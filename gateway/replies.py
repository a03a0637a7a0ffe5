"""Replies: what the gateway says itself, in the form of all other errors: `google.rpc.Status` with a reason."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format

from gateway.config import Gateway
from moneyprinter import status
from moneyprinter.errors import (
    DeadlineExceeded,
    Error,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)

SIGN_IN = "sign in, and send the header `authorization: Bearer <access token>`"
LATER = "try again in a moment"


@dataclass(frozen=True)
class Reply:
    """One of Envoy's own replies: when it is given, and what it says."""

    status: int
    """The HTTP status that Envoy gives it, or that is given in its place."""
    error: Error
    """What it says."""
    begins: str = ""
    """How Envoy's reason for it begins, where the status misleads."""
    trades_secrets: bool = False
    """Whether it is said only by methods that trade secrets."""
    told: bool = False
    """Whether Envoy's own words are added."""

    @property
    def code(self) -> int:
        """Its google.rpc.Code."""
        return int(status.to_status(self.error).code)

    @property
    def message(self) -> str:
        """Its message; `%LOCAL_REPLY_BODY%` stands for Envoy's own words."""
        return self.error.message + (": %LOCAL_REPLY_BODY%" if self.told else "")

    @property
    def details(self) -> list[dict[str, Any]]:
        """Its details as JSON, as the transcoder prints those of services."""
        return [
            json_format.MessageToDict(
                detail, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
            )
            for detail in status.to_status(self.error).details
        ]

    @property
    def trailer(self) -> str:
        """Its details as gRPC's clients read them: `grpc-status-details-bin`."""
        return base64.b64encode(status.to_status(self.error).SerializeToString()).decode()

    @property
    def retry_after(self) -> str | None:
        """The seconds after which the request may be sent again, if that helps."""
        seconds = self.error.retry_after_seconds
        return None if seconds is None else f"{seconds:.0f}"


def pause(per_minute: int) -> int:
    """After how many seconds a bucket that is empty has room for one more."""
    return max(1, -(-60 // per_minute))


STOPPING = Reply(503, Unavailable(status.STOPPING, reason="SERVICE_UNAVAILABLE", retry_after_seconds=1))
"""What the gateway says for a server that stops, and has said CANCELLED."""


def replies(gateway: Gateway) -> list[Reply]:
    """All of them; the first that fits is given."""

    def unavailable(message: str) -> Error:
        return Unavailable(f"{message}; {LATER}", reason="SERVICE_UNAVAILABLE", retry_after_seconds=1)

    def limited(message: str, per_minute: int) -> Error:
        return ResourceExhausted(message, reason="RATE_LIMITED", retry_after_seconds=pause(per_minute))

    nobody = Unauthenticated(SIGN_IN, reason="TOKEN_INVALID")
    per_user, per_address = gateway.user_per_minute, gateway.address_per_minute
    return [
        Reply(401, nobody, begins="jwt_authn_access_denied{Audiences", told=True),
        Reply(503, unavailable("tokens cannot be verified yet"), begins="jwt_authn_access_denied{Jwks_remote_fetch"),
        Reply(
            429, limited(f"too many tries; {per_address} a minute are let through", per_address), trades_secrets=True
        ),
        Reply(429, limited(f"too many requests; {per_user} a minute are let through", per_user)),
        Reply(400, InvalidArgument("the request is malformed", reason="REQUEST_INVALID"), told=True),
        Reply(401, nobody, told=True),
        Reply(403, PermissionDenied("this method is not public", reason="METHOD_UNKNOWN")),
        Reply(404, NotFound("there is nothing at this path, or not for this verb", reason="METHOD_UNKNOWN")),
        Reply(408, DeadlineExceeded("the request did not arrive in time", reason="DEADLINE_EXCEEDED")),
        Reply(
            413,
            ResourceExhausted(
                "the request is larger than a valid one of its kind; send less at once, and files to /v1/assets",
                reason="REQUEST_TOO_LARGE",
            ),
        ),
        Reply(
            415,
            InvalidArgument(
                "the request is compressed, which the platform does not take; send it as it is",
                reason="COMPRESSION_UNSUPPORTED",
            ),
        ),
        Reply(426, FailedPrecondition("this version of HTTP is not spoken here", reason="REQUEST_INVALID")),
        Reply(431, InvalidArgument("the headers are too large or too many", reason="REQUEST_TOO_LARGE")),
        Reply(500, Internal("the gateway met a defect", reason="INTERNAL")),
        Reply(502, unavailable("this part of the platform gave no answer")),
        Reply(503, unavailable("this part of the platform cannot be reached")),
        Reply(504, DeadlineExceeded("this part of the platform did not answer in time", reason="DEADLINE_EXCEEDED")),
    ]
