"""Replies: what the gateway says itself, in the form of all other errors: `google.rpc.Status` with a reason."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from google.rpc import code_pb2

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
NO_TOKEN = (
    f"the call carries no access token, or not a whole one; {SIGN_IN}; an API key is traded for one at /v1/auth/token"
)
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
    """Whether Envoy's own words are added, which must then be about the request alone."""
    unimplemented: bool = False
    """Whether gRPC knows it as UNIMPLEMENTED, which no service of ours says."""

    @property
    def code(self) -> int:
        """Its google.rpc.Code over REST."""
        return int(status.to_status(self.error).code)

    @property
    def native_code(self) -> int:
        """Its google.rpc.Code over gRPC."""
        return code_pb2.UNIMPLEMENTED if self.unimplemented else self.code

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
        found = status.to_status(self.error)
        found.code = self.native_code
        return base64.b64encode(found.SerializeToString()).decode()

    @property
    def body(self) -> str:
        """Its body over REST."""
        return json.dumps({"code": self.code, "message": self.message, "details": self.details})

    @property
    def retry_after(self) -> str | None:
        """The seconds after which the request may be sent again, if that helps."""
        seconds = self.error.retry_after_seconds
        return None if seconds is None else f"{seconds:.0f}"


def pause(per_minute: int) -> int:
    """After how many seconds a bucket that is empty has room for one more."""
    return max(1, -(-60 // per_minute))


IN_ITS_FORM = InvalidArgument(
    "the path is not in its one form: write each part as /openapi.json does, without `;`, `.`, `..`, `#`, empty parts"
    " and escapes of what needs none",
    reason="REQUEST_INVALID",
)
ONE_HOST = InvalidArgument("send one `host` header, of a host and a port", reason="REQUEST_INVALID")

UNKNOWN = Reply(
    404,
    NotFound("there is nothing at this path; /openapi.json lists what there is", reason="METHOD_UNKNOWN"),
    unimplemented=True,
)
TOO_LARGE = Reply(431, InvalidArgument("the path or the headers are too large or too many", reason="REQUEST_TOO_LARGE"))

BY_THE_SCRIPT = {
    "unknown": UNKNOWN,
    "verb": Reply(
        405,
        NotFound("this path does not take this verb; the header `allow` lists those it takes", reason="METHOD_UNKNOWN"),
        unimplemented=True,
    ),
    "path": Reply(400, IN_ITS_FORM),
    "host": Reply(400, ONE_HOST),
    "lines": Reply(
        400,
        InvalidArgument(
            "each line of the headers must end with CR and LF",
            reason="REQUEST_INVALID",
        ),
    ),
    "path_length": Reply(414, InvalidArgument("the path is too long", reason="REQUEST_TOO_LARGE")),
    "headers": TOO_LARGE,
    "native": Reply(
        415,
        InvalidArgument(
            "this is a gRPC method, which takes `content-type: application/grpc`; /openapi.json lists its REST path",
            reason="REQUEST_INVALID",
        ),
    ),
    "multipart": Reply(
        415,
        InvalidArgument(
            "forms (multipart/form-data) are not taken: send the bytes themselves as the body, as in"
            " `curl --data-binary @walk.mp4 -H 'content-type: application/octet-stream' ...`",
            reason="REQUEST_INVALID",
        ),
    ),
    "encoding": Reply(
        415,
        InvalidArgument(
            "the request is compressed, which the platform does not take; send it as it is",
            reason="COMPRESSION_UNSUPPORTED",
        ),
    ),
    "large": Reply(
        413,
        ResourceExhausted(
            "the request is larger than a valid one of its kind; send less at once, and files to /v1/assets",
            reason="REQUEST_TOO_LARGE",
        ),
    ),
}
"""What the script `edge.lua` replies, before any filter decides, by the names that it has for it."""

STOPPING = Reply(503, Unavailable(status.STOPPING, reason="SERVICE_UNAVAILABLE", retry_after_seconds=1))
"""What the gateway says for a server that stops, and has said CANCELLED."""


def _token(words: str) -> Error:
    return Unauthenticated(f"{SIGN_IN}; the one that was sent {words}", reason="TOKEN_INVALID")


def replies(gateway: Gateway) -> list[Reply]:
    """All of them; the first that fits is given."""

    def unavailable(message: str) -> Error:
        return Unavailable(f"{message}; {LATER}", reason="SERVICE_UNAVAILABLE", retry_after_seconds=1)

    def limited(message: str, per_minute: int) -> Error:
        return ResourceExhausted(message, reason="RATE_LIMITED", retry_after_seconds=pause(per_minute))

    nobody = Unauthenticated(NO_TOKEN, reason="TOKEN_INVALID")
    malformed = InvalidArgument("the request is malformed", reason="REQUEST_INVALID")
    per_user, per_address = gateway.user_per_minute, gateway.address_per_minute
    return [
        Reply(401, _token("has expired"), begins="jwt_authn_access_denied{Jwt_is_expired"),
        Reply(401, _token("was issued for another platform"), begins="jwt_authn_access_denied{Audiences"),
        Reply(401, _token("was issued by another platform"), begins="jwt_authn_access_denied{Jwt_issuer"),
        Reply(401, nobody, begins="jwt_authn_access_denied{Jwt_is_missing"),
        Reply(503, unavailable("tokens cannot be verified yet"), begins="jwt_authn_access_denied{Jwks_remote_fetch"),
        Reply(
            429, limited(f"too many tries; {per_address} a minute are let through", per_address), trades_secrets=True
        ),
        Reply(429, limited(f"too many requests, or too large ones; {per_user} a minute are let through", per_user)),
        # The transcoder's words name what is wrong in the query or in the body.
        *(Reply(400, malformed, begins=f"{when}grpc_json_transcode_failure", told=True) for when in ("", "early_")),
        *(Reply(400, IN_ITS_FORM, begins=begins) for begins in ("path_normalization_failed", "absolute_path_rejected")),
        Reply(400, ONE_HOST, begins="missing_host_header"),
        Reply(400, malformed),
        Reply(401, _token("is none of this platform, or was altered (API keys are exchanged at /v1/auth/token)")),
        Reply(403, PermissionDenied("this is not allowed", reason="CALLER_NOT_ALLOWED")),
        Reply(404, UNKNOWN.error, unimplemented=True),
        Reply(408, DeadlineExceeded("the request did not arrive in time", reason="DEADLINE_EXCEEDED")),
        BY_THE_SCRIPT["large"],
        BY_THE_SCRIPT["encoding"],
        Reply(426, FailedPrecondition("this version of HTTP is not spoken here", reason="REQUEST_INVALID")),
        Reply(431, TOO_LARGE.error),
        Reply(500, Internal("the gateway met a defect", reason="INTERNAL")),
        Reply(501, malformed),
        Reply(502, unavailable("this part of the platform gave no answer")),
        Reply(503, unavailable("this part of the platform cannot be reached")),
        Reply(504, DeadlineExceeded("this part of the platform did not answer in time", reason="DEADLINE_EXCEEDED")),
    ]
