"""Audit: the events that this service sends to the audit log of the user service.

The method's access rule names the action and the target of its calls. Refused calls are recorded for every method.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, reduce
from itertools import islice

import structlog
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from moneyprinter import contract
from moneyprinter.errors import Error, InvalidArgument, PermissionDenied
from moneyprinter.user.v1.audit_service_pb2 import AuditEvent
from services.runtime import identity, telemetry, tls
from services.runtime.config import RuntimeConfig

log = structlog.get_logger()

# Events within this time are sent in one batch.
FLUSH_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
BATCH = 500
# This many events wait while the user service is unreachable; further ones are only counted.
MAX_WAITING = 10_000
DRAIN_SECONDS = 5.0
# The longest time that `record_durably` waits.
DURABLE_SECONDS = 1.0

# A user's failed call keeps its target only when it looks like one of our ids: users type anything.
_ID = re.compile(r"[a-z]{1,16}_[0-9A-Za-z]{1,64}")
_RESULT = re.compile(r"[A-Z0-9_]{1,64}")
MAX_TEXT = 256


@dataclass(frozen=True)
class _AuditRule:
    """What is recorded of the calls of a method."""

    action: str
    records_success: bool
    """Whether successful calls are recorded too."""
    by_service: bool
    """Whether the service itself records the calls that reach it."""
    for_user: bool
    request_path: tuple[str, ...]
    """The path to the target in the request; empty when it is not there."""
    response_path: tuple[str, ...]
    """The path to the target in the response; empty when it is not there."""


@cache
def _audit_rule(method: str) -> _AuditRule:
    rule = contract.rule(method)
    if rule is None or not rule.HasField("audit"):
        return _AuditRule(contract.UNNAMED_ACTION, False, False, bool(rule and rule.role), (), ())
    side, *path = rule.audit.target.split(".")
    paths = {side: tuple(path)}
    return _AuditRule(
        action=rule.audit.action,
        records_success=True,
        by_service=rule.audit.by_service,
        for_user=bool(rule.role),
        request_path=paths.get("request", ()),
        response_path=paths.get("response", ()),
    )


class AuditedCall:
    """A call in progress, which is recorded in the audit log when it ends."""

    def __init__(self, buffer: AuditBuffer, method: str) -> None:
        self.reached_handler = False
        """Whether the handler has begun to serve the call."""
        self._buffer = buffer
        self._method = method
        self._rule = _audit_rule(method)
        self._target = ""

    def observe_request(self, message: Message) -> None:
        """Take the target from a valid message of the request, when the rule finds it there."""
        if self._rule.request_path and not self._target:
            self._target = str(reduce(getattr, self._rule.request_path, message))

    def observe_response(self, message: Message) -> None:
        """Take the target from a message of the response, when the rule finds it there."""
        if self._rule.response_path and not self._target:
            self._target = str(reduce(getattr, self._rule.response_path, message))

    def end(self, result: str, *, refused: bool = False) -> None:
        """Record the end of the call: `result` is `OK` or an error reason, `refused` means that it was not allowed."""
        if not (self._rule.records_success or refused) or (self._rule.by_service and self.reached_handler):
            return
        target = self._target
        if self._rule.for_user and result != "OK" and not _ID.fullmatch(target):
            target = ""
        event = self._buffer.new_event(
            self._rule.action, target=target, result=result, address=identity.client_address(), method=self._method
        )
        self._buffer.record(event)


class AuditBuffer:
    """Audit events in memory, until the user service has stored them.

    No call waits for the audit log, and no call fails because the user service is unreachable. When the process is
    killed, the buffered events are lost: those of the last FLUSH_SECONDS and of the batch in flight, or, during an
    outage of the user service, all events since its beginning, up to MAX_WAITING.
    """

    def __init__(
        self, config: RuntimeConfig, service: str, send: Callable[[Sequence[AuditEvent]], Awaitable[object]]
    ) -> None:
        self.send = send
        """Sends events and returns when they are stored. It must accept the same events again."""
        self._config = config
        self._service = service
        self._waiting: deque[AuditEvent] = deque()
        self._lost = 0
        self._stored: dict[str, asyncio.Future[None]] = {}
        """Futures that complete when an event is stored, by event id."""
        self._has_sent = False
        """Whether any batch was ever stored."""
        self._is_away = False
        """Whether the last batch failed."""
        self._any = asyncio.Event()
        self._soon = asyncio.Event()

    def new_event(
        self,
        action: str,
        *,
        target: str = "",
        result: str,
        address: str = "",
        method: str = "",
        actor: str | None = None,
        details: Mapping[str, str] | None = None,
    ) -> AuditEvent:
        """Return an event of the running call. `actor` defaults to its user or else its calling workload."""
        peer, found = identity.find_caller(), identity.find_user()
        if actor is None:
            actor = found.id if found else tls.spiffe_id(self._config, peer) if peer else identity.spiffe_id()
            if peer == "gateway" and not found:
                # The gateway calls for people, and this one has not signed in.
                actor = ""
        return AuditEvent(
            event_id=uuid.uuid4().hex,
            time=_now(),
            action=action,
            actor=_clean(actor),
            credential=_clean(found.session) if found else "",
            peer=peer,
            target=_clean(target),
            result=result if _RESULT.fullmatch(result) else "UNKNOWN",
            address=identity.parse_address(address),
            trace_id=telemetry.trace_id(),
            method=_clean(method),
            details={name: _clean(value) for name, value in (details or {}).items()},
        )

    def record_failed_handshake(self, address: str) -> None:
        """Record a connection from `address` that ended before its peer was identified."""
        own = tls.spiffe_id(self._config, self._service)
        self.record(self.new_event("connect", actor="", target=own, result="PEER_UNIDENTIFIED", address=address))

    def record(self, event: AuditEvent) -> None:
        """Queue an event; it is sent within about FLUSH_SECONDS."""
        if len(self._waiting) >= MAX_WAITING:
            # The newest event is dropped, so that a flood of later events cannot displace an earlier one.
            self._lost += 1
        else:
            self._waiting.append(event)
        self._any.set()

    async def record_durably(self, event: AuditEvent) -> None:
        """Queue an event and wait until it is stored, for at most DURABLE_SECONDS; then it stays queued."""
        stored = self._stored[event.event_id] = asyncio.get_running_loop().create_future()
        try:
            self.record(event)
            self._soon.set()
            if not self._is_away:
                await asyncio.wait({stored}, timeout=DURABLE_SECONDS)
        finally:
            del self._stored[event.event_id]

    async def run(self) -> None:
        """Send queued events until cancelled."""
        pause = FLUSH_SECONDS
        while True:
            await self._any.wait()
            # Events that arrive meanwhile go into the same batch.
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._soon.wait()
            pause = FLUSH_SECONDS if await self._flush() else min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def drain(self) -> None:
        """Send the queued events within DRAIN_SECONDS, and log how many are lost."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                # When no batch was ever stored, there is no user service to wait for.
                while not await self._flush() and self._has_sent:  # noqa: ASYNC110  no event announces its return
                    await asyncio.sleep(FLUSH_SECONDS)
        if lost := len(self._waiting) + self._lost:
            log.error("audit events lost", service=self._service, events=lost)

    async def _flush(self) -> bool:
        """Send all queued events; returns False when the user service is unreachable."""
        self._soon.clear()
        one_by_one = 0
        while self._waiting:
            batch = list(islice(self._waiting, 1 if one_by_one else BATCH))
            one_by_one = max(0, one_by_one - 1)
            try:
                await self.send(batch)
            except (InvalidArgument, PermissionDenied) as failure:
                # A defect of ours. It must not block the other events for ever, so the batch is sent one by one.
                if len(batch) > 1:
                    one_by_one = len(batch)
                    continue
                log.error("audit event refused", service=self._service, action=batch[0].action, error=failure.message)
                self._lost += 1
                loss = []
            except Error as failure:
                log.debug("audit events wait", service=self._service, events=len(self._waiting), reason=failure.reason)
                self._is_away = True
                return False
            else:
                self._has_sent, self._is_away = True, False
                loss = [self._loss_event()] if self._lost else []
            for event in batch:
                self._waiting.popleft()
                if (stored := self._stored.get(event.event_id)) and not stored.done():
                    stored.set_result(None)
            self._waiting.extend(loss)
        self._any.clear()
        return True

    def _loss_event(self) -> AuditEvent:
        """Return the event that records the number of lost events, and reset that number."""
        lost, self._lost = self._lost, 0
        own = tls.spiffe_id(self._config, self._service)
        return self.new_event("audit.lost", actor=own, result="LOST", details={"events": str(lost)})


def _clean(text: str) -> str:
    """Return a text as the audit log accepts it: printable, on one line, at most MAX_TEXT characters."""
    if text.isascii() and text.isprintable() and len(text) <= MAX_TEXT:
        return text
    return "".join(letter if letter.isprintable() else "?" for letter in text[:MAX_TEXT])


def _now() -> Timestamp:
    # To the microsecond, which is the resolution of the database.
    nanoseconds = time.time_ns() // 1000 * 1000
    return Timestamp(seconds=nanoseconds // 1_000_000_000, nanos=nanoseconds % 1_000_000_000)
