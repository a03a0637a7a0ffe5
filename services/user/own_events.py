"""Own events: what this service does with accounts, told to the audit trail before anybody is answered."""

from __future__ import annotations

import structlog

from services.runtime.access import Outbox

log = structlog.get_logger()


class TrailAudit:
    """An Audit in the trail, and in the log. If the trail cannot be written just now, the event waits in memory."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def record(
        self, action: str, *, actor: str, target: str, result: str, address: str, details: dict[str, str]
    ) -> None:
        """Tell of one event of the running call."""
        log.info("audit", action=action, actor=actor, target=target, result=result, address=address, **details)
        event = self._outbox.event(action, actor=actor, target=target, result=result, address=address, details=details)
        await self._outbox.keep(event)
