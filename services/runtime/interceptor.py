"""Interceptor: what every call passes on its way to a handler and back, outermost first.

Telemetry, error mapping and audit, peer identity, user, access rule, deadline, revocation of streams, concurrency
limits, and the contract's rules for each message.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, nullcontext, suppress
from typing import Any

import grpc
from google.protobuf.message import Message

from moneyprinter import contract
from moneyprinter.errors import PermissionDenied, Unauthenticated
from services.runtime import channels, errors, identity, request_checks, telemetry
from services.runtime.admission import Admission, MessageFlow, Slots, StallTimeout
from services.runtime.audit import AuditBuffer, AuditedCall
from services.runtime.authorizer import FOR_EVERY_WORKLOAD, Authorizer
from services.runtime.config import RuntimeConfig
from services.runtime.handshakes import HandshakeMonitor
from services.runtime.revocation import RevocationMonitor
from services.runtime.wire import Limits

# Metadata that the gateway adds to REST calls: the original path, and whether the client requests only the headers.
TRANSCODED = "x-envoy-original-path"
HEAD = "x-http-head"

CUT = b"\x7a\x7f"
"""Bytes that are no valid message: a field that is longer than the rest.

Over REST, an error after the first bytes of a file would look like the end of the file, because HTTP/1.1 clients read
no trailers. On these bytes, Envoy's transcoder resets the stream, which breaks the connection.
"""

_EXPECTED_ENDS = ("AUTHORITY_ENDED", "DEADLINE_EXCEEDED")


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the handler of every call of a server."""

    def __init__(
        self,
        service: str,
        config: RuntimeConfig,
        authorizer: Authorizer,
        audit: AuditBuffer,
        handshakes: HandshakeMonitor,
        revocation: RevocationMonitor,
        admission: Admission,
    ) -> None:
        self._service = service
        self._config = config
        self._authorizer = authorizer
        self._audit = audit
        self._handshakes = handshakes
        self._revocation = revocation
        self._admission = admission

    async def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        handler = await continuation(details)
        if handler is None:
            return None
        method, metadata = details.method, _combine(details.invocation_metadata or ())
        kind = ("stream" if handler.request_streaming else "unary") + (
            "_stream" if handler.response_streaming else "_unary"
        )
        behaviour = getattr(handler, kind)
        message = handler.request_deserializer.__self__
        limits = request_checks.request_limits(method, message)
        streams = handler.request_streaming or handler.response_streaming

        async def parse(request: Any, call: AuditedCall, flow: MessageFlow) -> Any:
            if handler.request_streaming:
                call.reached_handler = True
                return _parse_stream(flow.receive(request), message, limits, call)
            parsed = await request_checks.parse_request(request, message, limits)
            call.observe_request(parsed)
            call.reached_handler = True
            return parsed

        async def respond(request: Any, context: Any) -> Any:
            async with (
                self._call(method, metadata, context, streams=streams) as (call, flow),
                self._admission.turn(method, request, identity.client()),
            ):
                response = await behaviour(await parse(request, call, flow), context)
                call.observe_response(response)
                return response

        async def stream(request: Any, context: Any) -> None:
            # Messages are written here, not yielded: gRPC leaves the generator of a cancelled call to the collector.
            async with self._call(method, metadata, context, streams=streams) as (call, flow):
                responses = behaviour(await parse(request, call, flow), context)
                if inspect.iscoroutine(responses):
                    await responses  # The handler writes by itself, as the health service's Watch does.
                    return
                async with aclosing(responses):
                    async for response in responses:
                        call.observe_response(response)
                        await flow.send(response, context)
                        if HEAD in metadata:
                            break

        make = getattr(grpc, f"{kind}_rpc_method_handler")
        return make(
            stream if handler.response_streaming else respond,
            # Requests are parsed only after the call is authorized.
            request_deserializer=None,
            response_serializer=lambda response: CUT if response is CUT else handler.response_serializer(response),
        )

    @asynccontextmanager
    async def _call(
        self, method: str, metadata: dict[str, Any], context: Any, *, streams: bool
    ) -> AsyncIterator[tuple[AuditedCall, MessageFlow]]:
        with (
            telemetry.trace_context(metadata.get(telemetry.TRACEPARENT)),
            telemetry.log_call(self._service, method) as outcome,
        ):
            self._handshakes.mark_identified(context.peer())
            call = AuditedCall(self._audit, method)
            flow = None
            try:
                await self._authorizer.authorize(method, context.auth_context(), metadata, context.peer())
                seconds = min(contract.deadline_seconds(method), context.time_remaining() or float("inf"))
                channels.set_deadline(seconds)
                revocation = self._revocation.guard(method) if streams else nullcontext()
                async with asyncio.timeout(seconds), revocation:
                    with self._admit(method, streams=streams) as flow:
                        yield call, flow
                call.end("OK")
            except (Exception, asyncio.CancelledError) as failure:
                if isinstance(failure, asyncio.CancelledError) and _is_cancelled():
                    outcome["code"] = "CANCELLED"
                    call.end("CANCELLED")
                    raise
                error = errors.to_error(failure)
                outcome.update(code=type(error).__name__, reason=error.reason)
                if notes := getattr(error, "__notes__", None):
                    outcome["note"] = notes[0]
                call.end(error.reason, refused=isinstance(error, PermissionDenied | Unauthenticated))
                # Event streams end at their deadline or with their credential, and clients resume them.
                breaks = flow is not None and flow.has_begun and (flow.sends_file or error.reason not in _EXPECTED_ENDS)
                if breaks and TRANSCODED in metadata:
                    with suppress(Exception):
                        await context.write(CUT)
                await errors.abort(context, error)

    @contextmanager
    def _admit(self, method: str, *, streams: bool) -> Iterator[MessageFlow]:
        if method.startswith(FOR_EVERY_WORKLOAD):
            # Health checks are answered however busy the server is.
            yield MessageFlow(Slots(), None)
            return
        from_client, config = identity.caller() == "gateway", self._config
        timeout = StallTimeout(config.client_grace_seconds, config.client_bytes_per_second) if from_client else None
        with self._admission.admit(method, identity.client(), directly=from_client, streams=streams) as slots:
            yield MessageFlow(slots, timeout)


def _is_cancelled() -> bool:
    """Whether this task itself is cancelled, not only what it awaits: clients take CANCELLED for a call never begun."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _combine(metadata: Any) -> dict[str, Any]:
    """Return metadata by name. Repeated keys are joined into one value, as in HTTP, so that no value is overlooked."""
    found: dict[str, Any] = {}
    for name, value in metadata:
        found[name] = f"{found[name]}, {value}" if name in found and isinstance(value, str) else value
    return found


async def _parse_stream(
    requests: AsyncIterator[bytes], kind: type[Message], limits: Limits, call: AuditedCall
) -> AsyncIterator[Message]:
    async for request in requests:
        parsed = await request_checks.parse_request(request, kind, limits)
        call.observe_request(parsed)
        yield parsed
