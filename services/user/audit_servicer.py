"""Audit servicer: AuditService, which appends to the audit log and reads it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from typing import Any

import structlog

from moneyprinter.errors import PermissionDenied
from moneyprinter.user.v1 import audit_service_pb2 as audit
from moneyprinter.user.v1 import (
    audit_service_pb2_grpc,
)
from services.runtime import identity
from services.runtime.pagination import PageRequest
from services.runtime.request_checks import parse_time
from services.user.audit.audit_log import AuditLog
from services.user.audit.model import Event, Head, Record, RecordFilter
from services.user.audit.policy import find_refusal
from services.user.audit.queries import list_records, verify_log
from services.user.context import Context
from services.user.messages import (
    read_actor,
    to_timestamp,
)

log = structlog.get_logger()


class AuditServicer(audit_service_pb2_grpc.AuditServiceServicer):
    """Implements AuditService: services append events, administrators read and verify them."""

    def __init__(self, context: Context, audit_log: AuditLog, spiffe_id: Callable[[str], str]) -> None:
        self._context = context
        self._audit_log = audit_log
        self._spiffe_id = spiffe_id

    async def AppendEvents(self, request: audit.AppendEventsRequest, context: Any) -> audit.AppendEventsResponse:
        """Append events. Raises `PermissionDenied` when the caller may not record one of them."""
        # A sender reports only the calls that it serves itself, in its own name.
        events = [read_event(event, identity.caller()) for event in request.events]
        for event in events:
            if refusal := find_refusal(event, self._spiffe_id):
                log.warning("audit event refused", sender=event.service, action=event.action, method=event.method)
                raise PermissionDenied(
                    f"none of these events is recorded, since {event.service} may not record one of them: {refusal}",
                    reason="AUDIT_EVENT_REFUSED",
                )
        await self._audit_log.append([event.with_receive_time(self._context.now()) for event in events])
        return audit.AppendEventsResponse()

    async def ListAuditRecords(
        self, request: audit.ListAuditRecordsRequest, context: Any
    ) -> audit.ListAuditRecordsResponse:
        record_filter = RecordFilter(
            actor=request.actor,
            action=request.action,
            target=request.target,
            result=request.result,
            from_time=parse_time(request.from_time, "from_time"),
            to_time=parse_time(request.to_time, "to_time"),
            omits_routine=request.omit_routine,
        )
        page = PageRequest(request.page_size, request.page_token)
        actor = read_actor(context)
        records, token = await list_records(self._context, self._audit_log, actor, record_filter, page)
        return audit.ListAuditRecordsResponse(records=map(_record_message, records), next_page_token=token)

    async def VerifyAuditLog(self, request: audit.VerifyAuditLogRequest, context: Any) -> audit.VerifyAuditLogResponse:
        known_head = Head(request.known_count, bytes.fromhex(request.known_hash))
        verification = await verify_log(self._context, self._audit_log, read_actor(context), known_head)
        return audit.VerifyAuditLogResponse(
            intact=not verification.fault,
            record_count=verification.head.number,
            head_hash=verification.head.hash.hex() if verification.head.number else "",
            fault=verification.fault,
            fault_number=verification.number,
        )


def read_event(event: audit.AuditEvent, service: str) -> Event:
    """Return the event that `service` reported."""
    return Event(
        id=event.event_id,
        time=event.time.ToDatetime(UTC),
        service=service,
        action=event.action,
        actor=event.actor,
        result=event.result,
        target=event.target,
        credential=event.credential,
        peer=event.peer,
        address=event.address,
        trace_id=event.trace_id,
        method=event.method,
        details=dict(event.details),
    )


def _record_message(record: Record) -> audit.AuditRecord:
    event = record.event
    message = audit.AuditEvent(
        event_id=event.id,
        time=to_timestamp(event.time),
        action=event.action,
        actor=event.actor,
        credential=event.credential,
        peer=event.peer,
        target=event.target,
        result=event.result,
        address=event.address,
        trace_id=event.trace_id,
        method=event.method,
        details=event.details,
    )
    return audit.AuditRecord(number=record.number, service=event.service, event=message, hash=record.hash.hex())
