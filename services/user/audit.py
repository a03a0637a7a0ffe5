"""Audit: what was done with accounts, by whom, and how it ended. Never a secret, and never a name that nobody has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from moneyprinter.errors import Error


class Audit(Protocol):
    """Where it is told."""

    async def record(
        self, action: str, *, actor: str, target: str, result: str, address: str, details: dict[str, str]
    ) -> None:
        """Tell that `actor` did, or tried, `action` with `target`.

        `actor` is an account's id, empty when nobody has signed in; `result` is `OK`, or the reason why not.
        """


@dataclass
class Entry:
    """What is known of an action while it goes on; it is told when it has ended."""

    actor: str
    target: str
    details: dict[str, str] = field(default_factory=dict)


@asynccontextmanager
async def audited(
    audit: Audit, action: str, address: str, *, actor: str = "", target: str = ""
) -> AsyncIterator[Entry]:
    """Tell how what is done in this context ends, whatever the end."""
    entry = Entry(actor, target)
    result = "FAILED"
    try:
        yield entry
        result = "OK"
    except Error as failure:
        result = failure.reason
        raise
    finally:
        await audit.record(
            action, actor=entry.actor, target=entry.target, result=result, address=address, details=entry.details
        )
