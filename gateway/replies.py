"""The gateway's own error replies, in the form of all other errors: `google.rpc.Status` with a reason."""

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
NO_TOKEN = f"the request has no complete access token; {SIGN_IN}, or exchange an API key for a token at /v1/auth/token"
LATER = "try again in a moment"


@dataclass(frozen=True)
class Reply:
    """An error reply of Envoy: its condition and its content."""

    status: int
    """The HTTP status that Envoy would send, or that replaces it."""
    error: Error
    """The error in the body."""
    details_prefix: str = ""
    """The prefix of Envoy's response code details, where the status alone is ambiguous."""
    exchanges_credentials: bool = False
    """Whether it applies only to methods that exchange credentials."""
    adds_envoy_message: bool = False
    """Whether Envoy's own message is added, which must then concern only the request."""
    unimplemented: bool = False
    """Whether its gRPC status is UNIMPLEMENTED, which no service returns."""

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
        """Its message; Envoy replaces `%LOCAL_REPLY_BODY%` with its own message."""
        return self.error.message + (": %LOCAL_REPLY_BODY%" if self.adds_envoy_message else "")

    @property
    def details(self) -> list[dict[str, Any]]:
        """Its details as JSON, in the transcoder's format."""
        return [
            json_format.MessageToDict(
                detail, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
            )
            for detail in status.to_status(self.error).details
        ]

    @property
    def trailer(self) -> str:
        """Its details for gRPC clients: the value of `grpc-status-details-bin`."""
        found = status.to_status(self.error)
        found.code = self.native_code
        return base64.b64encode(found.SerializeToString()).decode()

    @property
    def body(self) -> str:
        """Its body over REST."""
        return json.dumps({"code": self.code, "message": self.message, "details": self.details})

    @property
    def retry_after(self) -> str | None:
        """The seconds after which the client may retry; None when a retry does not help."""
        seconds = self.error.retry_after_seconds
        return None if seconds is None else f"{seconds:.0f}"


def retry_seconds(per_minute: int) -> int:
    """Return the seconds until an empty token bucket admits one more request."""
    return max(1, -(-60 // per_minute))


PATH_NOT_CANONICAL = InvalidArgument(
    "the path is not in its canonical form: write each segment as in /openapi.json, without `;`, `.`, `..`, `#`, empty"
    " segments and needless escapes",
    reason="REQUEST_INVALID",
)
ONE_HOST = InvalidArgument("send exactly one `host` header, with a host and an optional port", reason="REQUEST_INVALID")

UNKNOWN = Reply(
    404,
    NotFound("there is nothing at this path; /openapi.json lists all paths", reason="METHOD_UNKNOWN"),
    unimplemented=True,
)
TOO_LARGE = Reply(431, InvalidArgument("the path or the headers are too large or too many", reason="REQUEST_TOO_LARGE"))

SCRIPT_REPLIES = {
    "unknown": UNKNOWN,
    "verb": Reply(
        405,
        NotFound(
            "this path does not support this method; the header `allow` lists the supported ones",
            reason="METHOD_UNKNOWN",
        ),
        unimplemented=True,
    ),
    "path": Reply(400, PATH_NOT_CANONICAL),
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
            "this is a gRPC path, which needs `content-type: application/grpc`; /openapi.json lists its REST path",
            reason="REQUEST_INVALID",
        ),
    ),
    "multipart": Reply(
        415,
        InvalidArgument(
            "forms (multipart/form-data) are not supported: send the bytes as the body, as in"
            " `curl --data-binary @walk.mp4 -H 'content-type: application/octet-stream' ...`",
            reason="REQUEST_INVALID",
        ),
    ),
    "encoding": Reply(
        415,
        InvalidArgument(
            "compressed requests are not supported; send the body uncompressed",
            reason="COMPRESSION_UNSUPPORTED",
        ),
    ),
    "large": Reply(
        413,
        ResourceExhausted(
            "the request is larger than any valid one for this path; send less at once, and upload files to /v1/assets",
            reason="REQUEST_TOO_LARGE",
        ),
    ),
}
"""The replies of the script `edge.lua`, by the names that it uses."""

STOPPING = Reply(503, Unavailable(status.STOPPING, reason="SERVICE_UNAVAILABLE", retry_after_seconds=1))
"""The reply in place of CANCELLED from a server that stops."""


def _token_error(words: str) -> Error:
    return Unauthenticated(f"{SIGN_IN}; the sent token {words}", reason="TOKEN_INVALID")


def list_replies(gateway: Gateway) -> list[Reply]:
    """Return all replies of Envoy. Envoy sends the first whose condition holds."""

    def unavailable(message: str) -> Error:
        return Unavailable(f"{message}; {LATER}", reason="SERVICE_UNAVAILABLE", retry_after_seconds=1)

    def rate_limited(message: str, per_minute: int) -> Error:
        return ResourceExhausted(message, reason="RATE_LIMITED", retry_after_seconds=retry_seconds(per_minute))

    no_token = Unauthenticated(NO_TOKEN, reason="TOKEN_INVALID")
    malformed = InvalidArgument("the request is malformed", reason="REQUEST_INVALID")
    per_user, per_address = gateway.user_per_minute, gateway.address_per_minute
    return [
        Reply(401, _token_error("has expired"), details_prefix="jwt_authn_access_denied{Jwt_is_expired"),
        Reply(401, _token_error("was issued for another platform"), details_prefix="jwt_authn_access_denied{Audiences"),
        Reply(401, _token_error("was issued by another platform"), details_prefix="jwt_authn_access_denied{Jwt_issuer"),
        Reply(401, no_token, details_prefix="jwt_authn_access_denied{Jwt_is_missing"),
        Reply(
            503,
            unavailable("tokens cannot be verified yet"),
            details_prefix="jwt_authn_access_denied{Jwks_remote_fetch",
        ),
        Reply(
            429,
            rate_limited(f"too many attempts; the limit is {per_address} per minute", per_address),
            exchanges_credentials=True,
        ),
        Reply(429, rate_limited(f"too many requests, or too large ones; the limit is {per_user} per minute", per_user)),
        # The transcoder's message names the fault in the query or the body.
        *(
            Reply(400, malformed, details_prefix=f"{when}grpc_json_transcode_failure", adds_envoy_message=True)
            for when in ("", "early_")
        ),
        *(
            Reply(400, PATH_NOT_CANONICAL, details_prefix=prefix)
            for prefix in ("path_normalization_failed", "absolute_path_rejected")
        ),
        Reply(400, ONE_HOST, details_prefix="missing_host_header"),
        Reply(400, malformed),
        Reply(
            401, _token_error("is not from this platform, or was altered (API keys are exchanged at /v1/auth/token)")
        ),
        Reply(403, PermissionDenied("this is not allowed", reason="CALLER_NOT_ALLOWED")),
        Reply(404, UNKNOWN.error, unimplemented=True),
        Reply(408, DeadlineExceeded("the request did not arrive in time", reason="DEADLINE_EXCEEDED")),
        SCRIPT_REPLIES["large"],
        SCRIPT_REPLIES["encoding"],
        Reply(426, FailedPrecondition("this version of HTTP is not supported", reason="REQUEST_INVALID")),
        Reply(431, TOO_LARGE.error),
        Reply(500, Internal("the gateway has an internal error", reason="INTERNAL")),
        Reply(501, malformed),
        Reply(502, unavailable("this part of the platform did not answer")),
        Reply(503, unavailable("this part of the platform cannot be reached")),
        Reply(504, DeadlineExceeded("this part of the platform did not answer in time", reason="DEADLINE_EXCEEDED")),
    ]
