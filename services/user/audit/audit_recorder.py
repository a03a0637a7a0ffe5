"""Audit recorder: the actions of this service are recorded in the audit log before their caller gets a response."""

from __future__ import annotations

import structlog

from services.runtime.audit import AuditBuffer

log = structlog.get_logger()


class AuditLogRecorder:
    """An AuditRecorder on the audit log and the service's log. While the audit log cannot be written, events wait."""

    def __init__(self, buffer: AuditBuffer) -> None:
        self._buffer = buffer

    async def record(
        self, action: str, *, actor: str, target: str, result: str, address: str, details: dict[str, str]
    ) -> None:
        """Record one event of the running call."""
        log.info("audit", action=action, actor=actor, target=target, result=result, address=address, **details)
        event = self._buffer.new_event(
            action, actor=actor, target=target, result=result, address=address, details=details
        )
        await self._buffer.record_durably(event)
