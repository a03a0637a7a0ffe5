"""The audit log: its order, and the detection of tampering, even by a superuser."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict

from moneyprinter.errors import InvalidArgument, ResourceExhausted
from services.runtime import db
from services.runtime.request_checks import parse_time
from services.user import postgres
from services.user.audit.audit_log import AuditLog
from services.user.audit.model import AuditLogStore, Event, Fault, Head, Record, RecordFilter, Verification, record_hash
from tests.databases import Databases, open_pool
from tests.user import memory

KEY = bytes(range(32))
TIME = datetime(2026, 11, 23, 10, 0, 0, 123456, tzinfo=UTC)


def event(number: int, **changes: Any) -> Event:
    default = Event(
        id=f"{number:032x}",
        time=TIME + timedelta(seconds=number),
        service="storage",
        action="object.read",
        actor="spiffe://cluster.local/ns/moneyprinter/sa/audio",
        result="OK",
        target=f"music/{number}",
        details={"b": "2", "a": "ü"},
    )
    return replace(default, **changes)


@dataclass
class Database:
    """A database with an audit log, and its superuser."""

    pool: db.Pool
    superuser: str

    async def tamper(self, *statements: str) -> None:
        """Execute statements that only a superuser may execute."""
        async with await AsyncConnection.connect(self.superuser) as connection:
            await connection.execute("SET session_replication_role = replica")
            await connection.execute('SET search_path TO "user"')
            for statement in statements:
                await connection.execute(statement.encode())


@asynccontextmanager
async def open_database(databases: Databases) -> AsyncIterator[Database]:
    conninfo = await databases.fresh("user")
    name = str(conninfo_to_dict(conninfo)["dbname"])
    async with open_pool("user", conninfo) as pool:
        yield Database(pool, databases.server.conninfo("postgres", name))


@pytest.fixture
async def database(postgres: Databases) -> AsyncIterator[Database]:
    async with open_database(postgres) as found:
        yield found


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest, postgres: Databases) -> AsyncIterator[AuditLogStore]:
    if request.param == "memory":
        yield memory.MemoryAuditLogStore()
    else:
        async with open_database(postgres) as database:
            yield _create_store(database)


def _create_store(database: Database) -> AuditLogStore:
    return postgres.create_audit_log_store(database.pool)


@pytest.fixture
def audit_log(store: AuditLogStore) -> AuditLog:
    return AuditLog(store, KEY)


async def read_all(store: AuditLogStore) -> list[Record]:
    return await store.read_after(0, 10_000)


async def test_an_empty_log_is_intact(audit_log: AuditLog) -> None:
    assert await audit_log.verify(Head()) == Verification(Head())


async def test_records_are_read_as_written_and_their_hashes_can_be_computed(
    audit_log: AuditLog, store: AuditLogStore
) -> None:
    events = [event(1), event(2, target="", details={}, time=TIME.astimezone(UTC))]
    await audit_log.append(events)
    first, second = await read_all(store)
    assert [first.event, second.event] == events
    assert [first.number, second.number] == [1, 2]
    text = json.dumps(
        {
            "action": "object.read",
            "actor": "spiffe://cluster.local/ns/moneyprinter/sa/audio",
            "address": "",
            "credential": "",
            "details": {"a": "ü", "b": "2"},
            "id": f"{1:032x}",
            "method": "",
            "number": 1,
            "peer": "",
            "result": "OK",
            "service": "storage",
            "target": "music/1",
            "time": "2026-11-23T10:00:01.123456+00:00",
            "trace_id": "",
        },
        separators=(",", ":"),
    )
    assert first.hash == hashlib.sha256(bytes(32) + text.encode()).digest()
    assert second.hash == record_hash(first.head, events[1])
    assert await audit_log.verify(first.head) == Verification(second.head)


async def test_a_repeated_event_is_stored_once(audit_log: AuditLog, store: AuditLogStore) -> None:
    await audit_log.append([event(1), event(2)])
    await audit_log.append([event(2), event(3), event(1), event(3)])
    assert [record.event for record in await read_all(store)] == [event(1), event(2), event(3)]


async def test_two_instances_write_one_chain(store: AuditLogStore) -> None:
    audit_logs = [AuditLog(store, KEY), AuditLog(store, KEY)]
    await asyncio.gather(*(audit_logs[number % 2].append([event(number)]) for number in range(60)))
    records = await read_all(store)
    assert [record.number for record in records] == list(range(1, 61))
    assert {record.event.id for record in records} == {event(number).id for number in range(60)}
    for audit_log in audit_logs:
        assert await audit_log.verify(Head()) == Verification(records[-1].head)


async def test_a_failed_append_fails_for_all_its_callers_and_can_be_repeated(store: AuditLogStore) -> None:
    class Unavailable:
        """A store that is unavailable at first."""

        unavailable = True

        def __getattr__(self, name: str) -> Any:
            if name == "append" and self.unavailable:
                raise ConnectionError
            return getattr(store, name)

    unavailable: Any = Unavailable()
    audit_log = AuditLog(unavailable, KEY)
    failed = await asyncio.gather(*(audit_log.append([event(n)]) for n in range(3)), return_exceptions=True)
    assert [type(failure) for failure in failed] == [ConnectionError] * 3
    unavailable.unavailable = False
    await asyncio.gather(*(audit_log.append([event(n)]) for n in range(3)))
    assert {record.event.id for record in await read_all(store)} == {event(n).id for n in range(3)}


async def test_records_are_filtered_and_listed_newest_first(audit_log: AuditLog) -> None:
    events = [
        event(1),
        event(2, action="object.write"),
        event(3, actor="user_1", result="ROLE_MISSING"),
        event(4, action="sign_in", target="user_1"),
        event(5),
    ]
    await audit_log.append(events)

    async def numbers(size: int = 0, token: str = "", **filters: Any) -> tuple[list[int], str]:
        records, next_token = await audit_log.list_page(RecordFilter(**filters), size, token)
        return [record.number for record in records], next_token

    assert await numbers() == ([5, 4, 3, 2, 1], "")
    assert await numbers(2) == ([5, 4], "4")
    assert await numbers(2, "4") == ([3, 2], "2")
    assert await numbers(2, "2") == ([1], "")
    assert await numbers(actor="user_1") == ([3], "")
    assert await numbers(action="object.") == ([5, 3, 2, 1], "")
    assert await numbers(action="object.write") == ([2], "")
    assert await numbers(target="user_1") == ([4], "")
    assert await numbers(result="ROLE_MISSING", action="object.read") == ([3], "")
    assert await numbers(from_time=events[1].time, to_time=events[3].time) == ([3, 2], "")
    assert await numbers(action="%") == ([], "")


async def test_the_routine_of_services_can_be_left_out(audit_log: AuditLog) -> None:
    service = "spiffe://cluster.local/ns/moneyprinter/sa/processing"
    await audit_log.append(
        [
            event(1, actor="user_1"),
            event(2, actor=service),
            event(3, actor=service, result="OBJECT_NOT_FOUND"),
            event(4, actor=service, result="CALLER_NOT_ALLOWED"),
            event(5, actor="user_1", result="OBJECT_NOT_FOUND"),
            event(6, actor="", action="connect", result="PEER_UNIDENTIFIED"),
        ]
    )
    records, _ = await audit_log.list_page(RecordFilter(omits_routine=True), 0, "")
    assert [record.number for record in records] == [6, 5, 4, 1]
    records, _ = await audit_log.list_page(RecordFilter(), 0, "")
    assert [record.number for record in records] == [6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize("text", ["soon", "2025-01-29", "2025-01-29T10:30:00", "2025-13-29T10:30:00Z", "\0"])
def test_an_invalid_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="from_time"):
        parse_time(text, "from_time")
    assert parse_time("2025-01-29T11:30:00+01:00", "from_time") == datetime(2025, 1, 29, 10, 30, tzinfo=UTC)


async def test_one_verification_runs_at_a_time(database: Database) -> None:
    audit_log = AuditLog(_create_store(database), KEY)
    await audit_log.append([event(number) for number in range(5)])
    results = await asyncio.gather(*(audit_log.verify(Head()) for _ in range(3)), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == [
        ResourceExhausted.__name__, ResourceExhausted.__name__, Verification.__name__
    ]  # fmt: skip


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_records SET result = 'OK'",
        "DELETE FROM audit_records",
        "TRUNCATE audit_records",
    ],
)
async def test_the_services_role_may_only_insert(database: Database, statement: str) -> None:
    await AuditLog(_create_store(database), KEY).append([event(1)])
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with database.pool.connection() as connection:
            await connection.execute(statement)
    # Nor may a role with the privileges, unless it drops the trigger first.
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="only ever added to"):
        async with await AsyncConnection.connect(database.superuser) as connection:
            await connection.execute('SET search_path TO "user"')
            await connection.execute(statement.encode())


LAST = 12
"""The length of the logs that are tampered with."""
MOVED = ", ".join(
    f"{name} = other.{name}"
    for name in (
        *("time", "service", "action", "actor", "credential", "peer", "target", "result"),
        *("address", "trace_id", "method", "details"),
    )
)
TAMPERINGS: dict[str, tuple[str, Fault, int]] = {
    # The statements, the fault that is detected, and its record.
    **{
        f"a changed {name}": (f"UPDATE audit_records SET {name} = {value} WHERE number = 5", "CHANGED", 5)  # noqa: S608
        for name, value in {
            **dict.fromkeys(
                ("service", "action", "actor", "credential", "peer", "target", "result", "address", "trace_id"), "'x'"
            ),
            "method": "'x'",
            "id": "repeat('f', 32)",
            "time": "time + interval '1 microsecond'",
            "details": """'{"a": "ü", "b": "3"}'""",
            "hash": "sha256('x')",
        }.items()
    },
    "a changed HMAC": ("UPDATE audit_records SET hmac = sha256('x') WHERE number = 5", "FORGED", 5),
    "a record removed from the middle": ("DELETE FROM audit_records WHERE number = 5", "REMOVED", 5),
    "the first record removed": ("DELETE FROM audit_records WHERE number = 1", "REMOVED", 1),
    "the end removed": ("DELETE FROM audit_records WHERE number > 9", "CUT", 10),
    "all removed": ("DELETE FROM audit_records", "CUT", 1),
    "a record removed and the others moved up": (
        "DELETE FROM audit_records WHERE number = 5; UPDATE audit_records SET number = number - 100 WHERE number > 5;"
        " UPDATE audit_records SET number = number + 99 WHERE number < 0 OR number = 0",
        "CHANGED", 5,
    ),
    "two records exchanged": (
        f"UPDATE audit_records a SET {MOVED} FROM audit_records other"  # noqa: S608
        " WHERE (a.number, other.number) IN ((5, 6), (6, 5))",
        "CHANGED", 5,
    ),
    "a record inserted at the end": (
        "INSERT INTO audit_records SELECT 13, repeat('e', 32), time, service, action, actor, credential,"
        " peer, target, result, address, trace_id, method, details, hash, hmac FROM audit_records WHERE number = 5",
        "CHANGED", 13,
    ),
}  # fmt: skip


@pytest.mark.parametrize("tampering", TAMPERINGS)
async def test_tampering_is_detected_at_its_record(database: Database, tampering: str) -> None:
    statements, fault, number = TAMPERINGS[tampering]
    audit_log = AuditLog(_create_store(database), KEY)
    await audit_log.append([event(n) for n in range(LAST)])
    before = await read_all(_create_store(database))
    assert (await audit_log.verify(Head())).fault == ""
    await database.tamper(*statements.split(";"))
    head = before[number - 2].head if number > 1 else Head()
    assert await audit_log.verify(Head()) == Verification(head, fault, number)
    # An instance that has not seen the log detects the same with the known head.
    other = AuditLog(_create_store(database), KEY)
    assert await other.verify(before[-1].head) == Verification(head, fault, number)
    if fault != "CUT":
        assert await other.verify(Head()) == Verification(head, fault, number)


async def test_a_repaired_chain_without_the_key_is_detected(database: Database) -> None:
    """All records from the fifth on are rewritten with correct hashes, without the key."""
    store = _create_store(database)
    audit_log = AuditLog(store, KEY)
    await audit_log.append([event(n) for n in range(LAST)])
    records = await read_all(store)
    await database.tamper("DELETE FROM audit_records WHERE number > 4")
    forger = AuditLog(store, b"some other key")
    await forger.append([replace(record.event, actor="user_innocent") for record in records[4:]])
    assert await forger.verify(Head(0)) == Verification(Head(), "FORGED", 1)
    assert await AuditLog(store, KEY).verify(Head()) == Verification(records[3].head, "FORGED", 5)


async def test_a_removed_end_is_detected_by_a_known_head_although_the_log_continues(database: Database) -> None:
    store = _create_store(database)
    audit_log = AuditLog(store, KEY)
    await audit_log.append([event(n) for n in range(LAST)])
    known_head = (await audit_log.verify(Head())).head
    await database.tamper("DELETE FROM audit_records WHERE number = 12")
    # Another instance continues the log with a correct chain.
    await AuditLog(store, KEY).append([event(n) for n in range(100, 110)])
    other = AuditLog(store, KEY)
    assert (await other.verify(Head())).fault == ""
    for found in (await other.verify(known_head), await audit_log.verify(Head())):
        assert (found.fault, found.number) == ("CHANGED", LAST)
