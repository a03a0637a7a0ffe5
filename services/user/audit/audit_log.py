"""Audit log: an append-only, tamper-evident record of what was done on the platform.

Each record has the next number, a hash over the former record's hash and its own fields, and an HMAC of that hash with
a key that is not in the database. Changing, removing, inserting or moving records breaks the hash chain at that place,
and a repaired chain lacks valid HMACs. Records that are removed from the end leave no trace in the rest: a verification
compares the end with the furthest one that this instance has seen and the one that the caller knows, for instance from
the service's log or a former verification.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import structlog

from moneyprinter.errors import ResourceExhausted
from services.user.audit.model import (
    AuditLogStore,
    Event,
    Fault,
    Head,
    Record,
    RecordFilter,
    Verification,
    record_hash,
)

log = structlog.get_logger()

KEY_NAME = "user/audit-key"

PAGE_SIZE = 50
# How many records are read at once, and how many are written in one transaction.
READ_BATCH = 250
WRITE_BATCH = 1000
# After so many records, the service's log names the end of the audit log, as evidence outside the database.
LOG_INTERVAL = 100


class AuditLog:
    """The audit log, as an instance of this service writes and reads it."""

    def __init__(self, store: AuditLogStore, key: bytes) -> None:
        self._store = store
        self._key = key
        self._writing = asyncio.Lock()
        self._verifying = asyncio.Lock()
        self._open = _Batch()
        self._furthest = Head()
        """The furthest end that this instance has seen."""

    async def append(self, events: Sequence[Event]) -> None:
        """Add events, which are on disk when this returns. Events of concurrent calls share a transaction."""
        if len(self._open.events) + len(events) > WRITE_BATCH:
            self._open = _Batch()
        batch = self._open
        batch.events.extend(events)
        async with self._writing:
            if not batch.is_written:
                if self._open is batch:
                    self._open = _Batch()
                head = await self._store.append(batch.events, self._chain)
                batch.is_written = True
                self._record_head(head)

    async def list_page(self, record_filter: RecordFilter, size: int, token: str) -> tuple[list[Record], str]:
        """Return a page of records, newest first, and the token of the next page."""
        size = size or PAGE_SIZE
        records = await self._store.list_page(record_filter, size + 1, int(token) if token else None)
        return records[:size], str(records[size - 1].number) if len(records) > size else ""

    async def verify(self, known_head: Head) -> Verification:
        """Read the whole log, and find the first record that is not as it was written.

        `known_head` comes from a former verification. Raises `ResourceExhausted` while another one is running.
        """
        if self._verifying.locked():
            raise ResourceExhausted(
                "another verification of the audit log is running; try again", reason="BUSY", retry_after_seconds=5.0
            )
        async with self._verifying:
            # Taken before the length is read, since the log grows meanwhile.
            known_heads = (known_head, self._furthest)
            length = await self._store.count()
            head = Head()
            while head.number < length and (records := await self._store.read_after(head.number, READ_BATCH)):
                for record in records:
                    if fault := self._find_fault(head, record, known_heads):
                        return Verification(head, fault, head.number + 1)
                    head = record.head
                # Lets other tasks run.
                await asyncio.sleep(0)
            if any(head.number < known.number for known in known_heads):
                return Verification(head, "CUT", head.number + 1)
            return Verification(head)

    def _record_head(self, head: Head) -> None:
        if head.number // LOG_INTERVAL > self._furthest.number // LOG_INTERVAL:
            log.info("audit log head", record_count=head.number, head_hash=head.hash.hex())
        if head.number > self._furthest.number:
            self._furthest = head

    def _find_fault(self, head: Head, record: Record, known_heads: Iterable[Head]) -> Fault:
        if record.number > head.number + 1:
            return "REMOVED"
        if record.number != head.number + 1 or record.hash != record_hash(head, record.event):
            return "CHANGED"
        if not hmac.compare_digest(record.mac, self._mac(record.hash)):
            return "FORGED"
        if any(record.number == known.number and record.hash != known.hash for known in known_heads):
            return "CHANGED"
        return ""

    def _chain(self, head: Head, events: Iterable[Event]) -> list[Record]:
        records = []
        for event in events:
            digest = record_hash(head, event)
            record = Record(head.number + 1, event, digest, self._mac(digest))
            records.append(record)
            head = record.head
        return records

    def _mac(self, digest: bytes) -> bytes:
        return hmac.digest(self._key, b"moneyprinter audit record\0" + digest, "sha256")


@dataclass
class _Batch:
    """Events that are written in one transaction."""

    events: list[Event] = field(default_factory=list)
    is_written: bool = False
