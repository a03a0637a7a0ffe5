"""The audit log in PostgreSQL. Appending takes one lock, so that the chain has one end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from services.user.audit.model import ROUTINE_RESULTS, ChainFunction, Event, Head, Record, RecordFilter
from services.user.postgres.queries import PostgresStore, fetch_row

_FIELDS = (
    *("id", "time", "service", "action", "actor", "credential", "peer", "target"),
    *("result", "address", "trace_id", "method"),
)
_INSERT = (
    f"INSERT INTO audit_records (number, {', '.join(_FIELDS)}, details, hash, hmac)"  # noqa: S608
    f" VALUES ({', '.join(['%s'] * (len(_FIELDS) + 4))})"
)


class PostgresAuditLogStore(PostgresStore):
    """An AuditLogStore."""

    async def append(self, events: Sequence[Event], chain: ChainFunction) -> Head:
        async with self._transaction() as connection:
            # Held until the end of the transaction. What is read after it is what other instances have committed.
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('user audit trail'))")
            last = await fetch_row(connection, "SELECT number, hash FROM audit_records ORDER BY number DESC LIMIT 1")
            head = Head(last["number"], last["hash"]) if last else Head()
            by_id = {event.id: event for event in events}
            stored = await connection.execute("SELECT id FROM audit_records WHERE id = ANY (%s)", (list(by_id),))
            for found in await stored.fetchall():
                del by_id[found["id"]]
            records = chain(head, by_id.values())
            async with connection.cursor() as cursor:
                await cursor.executemany(_INSERT, [_values(record) for record in records])
            return records[-1].head if records else head

    async def list_page(self, record_filter: RecordFilter, size: int, before: int | None) -> list[Record]:
        conditions: dict[str, object] = {
            "actor = %s": record_filter.actor,
            "action ^@ %s" if record_filter.action.endswith(".") else "action = %s": record_filter.action,
            "target = %s": record_filter.target,
            "result = %s": record_filter.result,
            "time >= %s": record_filter.from_time,
            "time < %s": record_filter.to_time,
            "number < %s": before,
            "action = ANY (%s)": list(record_filter.actions) or None,
            "NOT (actor ^@ 'spiffe://' AND result = ANY (%s))": (
                list(ROUTINE_RESULTS) if record_filter.omits_routine else None
            ),
        }
        required = {condition: value for condition, value in conditions.items() if value not in (None, "")}
        if not record_filter.account:
            query, values = _newest(required, size)
        else:
            # Each half uses its own index; UNION removes the records whose actor and target are the same account.
            sides = [f"service = 'user' AND {side} = %s" for side in ("actor", "target")]
            (first, one), (second, other) = [_newest({**required, side: record_filter.account}, size) for side in sides]
            query = f"SELECT * FROM (({first}) UNION ({second})) found ORDER BY number DESC LIMIT %s"  # noqa: S608
            values = (*one, *other, size)
        rows = await self._fetch_rows(query, *values)
        return [_record(found) for found in rows]

    async def read_after(self, number: int, size: int) -> list[Record]:
        rows = await self._fetch_rows(
            "SELECT * FROM audit_records WHERE number > %s ORDER BY number LIMIT %s", *(number, size)
        )
        return [_record(found) for found in rows]

    async def count(self) -> int:
        last = await self._fetch_row("SELECT max(number) AS number FROM audit_records")
        return (last and last["number"]) or 0


def _newest(conditions: Mapping[str, object], size: int) -> tuple[str, tuple[object, ...]]:
    """Return a query for the newest records that fulfil all conditions, and its values."""
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    query = f"SELECT * FROM audit_records {where} ORDER BY number DESC LIMIT %s"  # noqa: S608
    return query, (*conditions.values(), size)


def _values(record: Record) -> tuple[object, ...]:
    fields = (getattr(record.event, name) for name in _FIELDS)
    return (record.number, *fields, Jsonb(dict(record.event.details)), record.hash, record.mac)


def _record(found: DictRow) -> Record:
    fields = {name: found[name] for name in _FIELDS}
    event = Event(**{**fields, "time": found["time"].astimezone(UTC)}, details=found["details"])
    return Record(found["number"], event, found["hash"], found["hmac"])
