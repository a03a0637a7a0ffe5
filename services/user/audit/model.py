"""Model: audit events, the records of the hash chain, and the Protocol of their store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

# Senders collect events for a moment. The time that a sender claims for an event that arrives later is kept as a claim.
CLAIM_TOLERANCE = timedelta(seconds=2)
CLAIMED_TIME = "claimed_time"

# The results of the calls that services make of themselves all the time: they look for an object before they make it.
ROUTINE_RESULTS = ("OK", "OBJECT_NOT_FOUND", "SECRET_NOT_FOUND")

Fault = Literal["", "REMOVED", "CHANGED", "FORGED", "CUT"]


@dataclass(frozen=True)
class Event:
    """An action that was done or attempted."""

    id: str
    time: datetime
    service: str
    """The service that reported it."""
    action: str
    actor: str
    """The id of a user's account, or a workload's SPIFFE id; empty when the actor is unknown."""
    result: str
    """`OK`, or the reason of the error."""
    target: str = ""
    credential: str = ""
    """The session or API key of the user."""
    peer: str = ""
    """The workload that made the call."""
    address: str = ""
    trace_id: str = ""
    method: str = ""
    details: Mapping[str, str] = field(default_factory=dict)

    def with_receive_time(self, now: datetime) -> Event:
        """Return the event with the time at which it arrived; a distant time is kept in its details as a claim."""
        details = {name: value for name, value in self.details.items() if name != CLAIMED_TIME}
        if abs(now - self.time) > CLAIM_TOLERANCE:
            details[CLAIMED_TIME] = self.time.astimezone(UTC).isoformat(timespec="microseconds")
        return replace(self, time=now, details=details)


@dataclass(frozen=True)
class Head:
    """The end of a log: how many records it has, and the hash of the last, which depends on all of them."""

    number: int = 0
    hash: bytes = bytes(32)


@dataclass(frozen=True)
class Record:
    """An event in the log."""

    number: int
    event: Event
    hash: bytes
    mac: bytes
    """HMAC of the hash."""

    @property
    def head(self) -> Head:
        """The log up to this record."""
        return Head(self.number, self.hash)


@dataclass(frozen=True)
class RecordFilter:
    """Which records to return; an empty field matches all."""

    actor: str = ""
    action: str = ""
    """With a dot at its end: all actions that begin so."""
    target: str = ""
    result: str = ""
    from_time: datetime | None = None
    to_time: datetime | None = None
    account: str = ""
    """The records of the user service whose actor or target is this account."""
    actions: tuple[str, ...] = ()
    """Any of them."""
    omits_routine: bool = False
    """Whether records of services' own calls with one of ROUTINE_RESULTS are left out."""


@dataclass(frozen=True)
class Verification:
    """The result of a verification."""

    head: Head
    """The end of the part without a fault."""
    fault: Fault = ""
    number: int = 0
    """The first record that is wrong or missing."""


ChainFunction = Callable[[Head, Iterable[Event]], list[Record]]


class AuditLogStore(Protocol):
    """The store of the records. No method changes or removes one."""

    async def append(self, events: Sequence[Event], chain: ChainFunction) -> Head:
        """Add the events that are not stored yet, as `chain` links them to the log's end, and return the new end.

        Appends of all instances run one after another, and each happens completely or not at all.
        """

    async def list_page(self, record_filter: RecordFilter, size: int, before: int | None) -> list[Record]:
        """Return up to `size` matching records, newest first, with numbers below `before`."""

    async def read_after(self, number: int, size: int) -> list[Record]:
        """Return up to `size` records after a number, in their order."""

    async def count(self) -> int:
        """Return the number of the last record."""


def record_hash(head: Head, event: Event) -> bytes:
    """Return the hash of an event that follows a head: SHA-256 over the former hash and the record as JSON.

    The JSON has all fields but the hash and the HMAC, sorted by name, without spaces, in ASCII; times in UTC with
    microseconds. So the hashes can be computed from the records without this program.
    """
    fields = {
        **{name: value for name, value in vars(event).items() if name not in ("time", "details")},
        "number": head.number + 1,
        "time": event.time.astimezone(UTC).isoformat(timespec="microseconds"),
        "details": dict(event.details),
    }
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(head.hash + text.encode()).digest()
