"""Trail: what was done on the platform, kept so that nobody changes it unseen. It is only ever added to.

Each record has the next number, a hash over the former record's hash and its own fields, and a seal of that hash
with a key that is not in the database. Who changes, removes, inserts or moves records breaks the chain there; who
mends the chain cannot make the seals. Records that are removed from the end leave no trace in the rest: they are
missed by who knows how long the trail was: every instance, of what it wrote; the log; and whoever kept what a former
verification told.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

import structlog

from moneyprinter.errors import ResourceExhausted

log = structlog.get_logger()

KEY_NAME = "user/audit-key"
KEY_BYTES = 32

PAGE_SIZE = 50
# How many records are read at once, and how many are written in one transaction.
READ_AT_ONCE = 250
WRITTEN_AT_ONCE = 1000
# After how many records the log says how far the trail is: what it said once must hold for ever.
LOGGED_EVERY = 100

# Senders collect events for a moment. Those that came later say when they claim that it was.
CLAIM_TOLERANCE = timedelta(seconds=2)
CLAIMED_TIME = "claimed_time"

Fault = Literal["", "REMOVED", "CHANGED", "FORGED", "CUT"]


@dataclass(frozen=True)
class Event:
    """Something that was done, or tried."""

    id: str
    time: datetime
    service: str
    """The service that told of it."""
    action: str
    actor: str
    """A user's account, or a workload's SPIFFE id; empty when nobody is known."""
    result: str
    """`OK`, or the reason why not."""
    target: str = ""
    credential: str = ""
    """The session or API key of the user."""
    peer: str = ""
    """The workload that made the call."""
    address: str = ""
    trace_id: str = ""
    method: str = ""
    details: Mapping[str, str] = field(default_factory=dict)

    def received(self, now: datetime) -> Event:
        """The event with the time at which it came to the trail; a time far from it is kept as its sender's claim."""
        details = {name: value for name, value in self.details.items() if name != CLAIMED_TIME}
        if abs(now - self.time) > CLAIM_TOLERANCE:
            details[CLAIMED_TIME] = self.time.astimezone(UTC).isoformat(timespec="microseconds")
        return replace(self, time=now, details=details)


@dataclass(frozen=True)
class Head:
    """Where a trail ends: how many records it has, and the hash of the last, which stands for all."""

    number: int = 0
    hash: bytes = bytes(32)


@dataclass(frozen=True)
class Record:
    """An event in the trail."""

    number: int
    event: Event
    hash: bytes
    seal: bytes

    @property
    def head(self) -> Head:
        """The trail up to this record."""
        return Head(self.number, self.hash)


@dataclass(frozen=True)
class Filter:
    """Which records are wanted; what is empty fits all."""

    actor: str = ""
    action: str = ""
    """One that ends with a dot fits all that begin so."""
    target: str = ""
    result: str = ""
    from_time: datetime | None = None
    to_time: datetime | None = None
    account: str = ""
    """Those of the user service that the account did, or that were done to it."""
    actions: tuple[str, ...] = ()
    """Any of them."""


@dataclass(frozen=True)
class Verdict:
    """What a verification found."""

    head: Head
    """How far the trail is as it was written."""
    fault: Fault = ""
    number: int = 0
    """The first record that is wrong or missing."""


Chain = Callable[[Head, Iterable[Event]], list[Record]]


class TrailStore(Protocol):
    """Where records are kept. There is no way to change or remove one."""

    async def append(self, events: Sequence[Event], chain: Chain) -> Head:
        """Add the events that are not there yet, as `chain` links them to the trail's end, and return its end then.

        All instances do so one after another, and all of it happens or nothing.
        """

    async def page(self, wanted: Filter, size: int, before: int | None) -> list[Record]:
        """Records that fit, the newest first, from before a number on."""

    async def after(self, number: int, size: int) -> list[Record]:
        """The records after a number, in their order."""

    async def length(self) -> int:
        """The number of the last record."""


class Trail:
    """The audit trail, as an instance of this service keeps and reads it."""

    def __init__(self, store: TrailStore, key: bytes) -> None:
        self._store = store
        self._key = key
        self._writing = asyncio.Lock()
        self._verifying = asyncio.Lock()
        self._open = _Batch()
        self._seen = Head()
        """The furthest end that this instance has seen."""

    async def append(self, events: Sequence[Event]) -> None:
        """Add events; they are on disk when this returns. What comes meanwhile is written together."""
        if len(self._open.events) + len(events) > WRITTEN_AT_ONCE:
            self._open = _Batch()
        batch = self._open
        batch.events.extend(events)
        async with self._writing:
            if not batch.kept:
                if self._open is batch:
                    self._open = _Batch()
                head = await self._store.append(batch.events, self._chained)
                batch.kept = True
                self._see(head)

    async def page(self, wanted: Filter, size: int, token: str) -> tuple[list[Record], str]:
        """A page of records, newest first, and the token of the next."""
        size = size or PAGE_SIZE
        found = await self._store.page(wanted, size + 1, int(token) if token else None)
        return found[:size], str(found[size - 1].number) if len(found) > size else ""

    async def verify(self, known: Head) -> Verdict:
        """Read the whole trail, and find the first record that is not as it was written.

        `known` is what a former verification told. Raises ResourceExhausted while another one goes on.
        """
        if self._verifying.locked():
            raise ResourceExhausted("the trail is being verified; try again", reason="BUSY", retry_after_seconds=5.0)
        async with self._verifying:
            # Before the length is read: it grows meanwhile.
            ends = (known, self._seen)
            length = await self._store.length()
            head = Head()
            while head.number < length and (records := await self._store.after(head.number, READ_AT_ONCE)):
                for record in records:
                    if fault := self._fault(head, record, ends):
                        return Verdict(head, fault, head.number + 1)
                    head = record.head
                # Others have their turn.
                await asyncio.sleep(0)
            if any(head.number < end.number for end in ends):
                return Verdict(head, "CUT", head.number + 1)
            return Verdict(head)

    def _see(self, head: Head) -> None:
        if head.number // LOGGED_EVERY > self._seen.number // LOGGED_EVERY:
            log.info("audit trail", record_count=head.number, head_hash=head.hash.hex())
        if head.number > self._seen.number:
            self._seen = head

    def _fault(self, head: Head, record: Record, ends: Iterable[Head]) -> Fault:
        if record.number > head.number + 1:
            return "REMOVED"
        if record.number != head.number + 1 or record.hash != linked(head, record.event):
            return "CHANGED"
        if not hmac.compare_digest(record.seal, self._seal(record.hash)):
            return "FORGED"
        if any(record.number == end.number and record.hash != end.hash for end in ends):
            return "CHANGED"
        return ""

    def _chained(self, head: Head, events: Iterable[Event]) -> list[Record]:
        records = []
        for event in events:
            digest = linked(head, event)
            record = Record(head.number + 1, event, digest, self._seal(digest))
            records.append(record)
            head = record.head
        return records

    def _seal(self, digest: bytes) -> bytes:
        return hmac.digest(self._key, b"moneyprinter audit record\0" + digest, "sha256")


@dataclass
class _Batch:
    """Events that are written together."""

    events: list[Event] = field(default_factory=list)
    kept: bool = False


def linked(head: Head, event: Event) -> bytes:
    """The hash of an event that follows on a head: SHA-256 over the former hash and the record as JSON.

    The JSON has all fields but the hash and the seal, sorted by name, without spaces, in ASCII; times in UTC with
    microseconds. Whoever has the records can compute it without this program.
    """
    fields = {
        **{name: value for name, value in vars(event).items() if name not in ("time", "details")},
        "number": head.number + 1,
        "time": event.time.astimezone(UTC).isoformat(timespec="microseconds"),
        "details": dict(event.details),
    }
    written = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(head.hash + written.encode()).digest()
