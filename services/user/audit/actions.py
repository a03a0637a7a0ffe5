"""Actions: what is done with accounts is recorded with its actor and result; never a secret or an unknown username."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from moneyprinter.errors import Error


class AuditRecorder(Protocol):
    """Records the outcome of actions."""

    async def record(
        self, action: str, *, actor: str, target: str, result: str, address: str, details: dict[str, str]
    ) -> None:
        """Record that `actor` did, or tried to do, `action` with `target`.

        `actor` is an account's id, empty before signing in; `result` is `OK`, or the reason of the error.
        """


@dataclass
class AuditEntry:
    """What is known of a running action; it is recorded when the action ends."""

    actor: str
    target: str
    details: dict[str, str] = field(default_factory=dict)


@asynccontextmanager
async def audit_action(
    recorder: AuditRecorder, action: str, address: str, *, actor: str = "", target: str = ""
) -> AsyncIterator[AuditEntry]:
    """Record how the body of this context ends, also when it raises."""
    entry = AuditEntry(actor, target)
    result = "FAILED"
    try:
        yield entry
        result = "OK"
    except Error as failure:
        result = failure.reason
        raise
    finally:
        await recorder.record(
            action, actor=entry.actor, target=entry.target, result=result, address=address, details=entry.details
        )
