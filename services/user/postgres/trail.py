"""The audit trail in PostgreSQL. Whoever adds to it holds one lock, so that it has one end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from services.user.postgres.tables import Tables, row
from services.user.trail import Chain, Event, Filter, Head, Record

_FIELDS = (
    *("id", "time", "service", "action", "actor", "credential", "peer", "target"),
    *("result", "address", "trace_id", "method"),
)
_INSERT = (
    f"INSERT INTO audit_records (number, {', '.join(_FIELDS)}, details, hash, seal)"  # noqa: S608
    f" VALUES ({', '.join(['%s'] * (len(_FIELDS) + 4))})"
)


class PostgresTrail(Tables):
    """A TrailStore."""

    async def append(self, events: Sequence[Event], chain: Chain) -> Head:
        async with self._transaction() as connection:
            # Held until the transaction is over; what is read after it is what others have committed.
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('user audit trail'))")
            last = await row(connection, "SELECT number, hash FROM audit_records ORDER BY number DESC LIMIT 1")
            head = Head(last["number"], last["hash"]) if last else Head()
            by_id = {event.id: event for event in events}
            known = await connection.execute("SELECT id FROM audit_records WHERE id = ANY (%s)", (list(by_id),))
            for found in await known.fetchall():
                del by_id[found["id"]]
            records = chain(head, by_id.values())
            async with connection.cursor() as cursor:
                await cursor.executemany(_INSERT, [_values(record) for record in records])
            return records[-1].head if records else head

    async def page(self, wanted: Filter, size: int, before: int | None) -> list[Record]:
        conditions: dict[str, object] = {
            "actor = %s": wanted.actor,
            "action ^@ %s" if wanted.action.endswith(".") else "action = %s": wanted.action,
            "target = %s": wanted.target,
            "result = %s": wanted.result,
            "time >= %s": wanted.from_time,
            "time < %s": wanted.to_time,
            "number < %s": before,
            "action = ANY (%s)": list(wanted.actions) or None,
        }
        asked = {condition: value for condition, value in conditions.items() if value not in (None, "")}
        if not wanted.account:
            query, values = _newest(asked, size)
        else:
            # Each half by its own index; what an account did to itself is in both.
            sides = [f"service = 'user' AND {side} = %s" for side in ("actor", "target")]
            (first, one), (second, other) = [_newest({**asked, side: wanted.account}, size) for side in sides]
            query = f"SELECT * FROM (({first}) UNION ({second})) found ORDER BY number DESC LIMIT %s"  # noqa: S608
            values = (*one, *other, size)
        rows = await self._rows(query, *values)
        return [_record(found) for found in rows]

    async def after(self, number: int, size: int) -> list[Record]:
        rows = await self._rows(
            "SELECT * FROM audit_records WHERE number > %s ORDER BY number LIMIT %s", *(number, size)
        )
        return [_record(found) for found in rows]

    async def length(self) -> int:
        last = await self._row("SELECT max(number) AS number FROM audit_records")
        return (last and last["number"]) or 0


def _newest(conditions: Mapping[str, object], size: int) -> tuple[str, tuple[object, ...]]:
    """A query for the newest records that fulfil conditions, each with its value, and the values of it all."""
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    query = f"SELECT * FROM audit_records {where} ORDER BY number DESC LIMIT %s"  # noqa: S608
    return query, (*conditions.values(), size)


def _values(record: Record) -> tuple[object, ...]:
    fields = (getattr(record.event, name) for name in _FIELDS)
    return (record.number, *fields, Jsonb(dict(record.event.details)), record.hash, record.seal)


def _record(found: DictRow) -> Record:
    fields = {name: found[name] for name in _FIELDS}
    event = Event(**{**fields, "time": found["time"].astimezone(UTC)}, details=found["details"])
    return Record(found["number"], event, found["hash"], found["seal"])
