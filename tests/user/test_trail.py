"""The audit trail itself: in which order it is written, and that nothing is done to it unseen, even by a superuser."""

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
from tests.databases import Databases
from tests.user import memory

KEY = bytes(range(32))
TIME = datetime(2026, 11, 23, 10, 0, 0, 123456, tzinfo=UTC)


def event(number: int, **changes: Any) -> Event:
    told = Event(
        id=f"{number:032x}",
        time=TIME + timedelta(seconds=number),
        service="storage",
        action="object.read",
        actor="spiffe://cluster.local/ns/moneyprinter/sa/audio",
        result="OK",
        target=f"music/{number}",
        details={"b": "2", "a": "ü"},
    )
    return replace(told, **changes)


@dataclass
class Database:
    """A database with a trail, and its superuser."""

    pool: db.Pool
    superuser: str

    async def behind_the_back(self, *statements: str) -> None:
        """Do with the table what only a superuser can."""
        async with await AsyncConnection.connect(self.superuser) as connection:
            await connection.execute("SET session_replication_role = replica")
            await connection.execute('SET search_path TO "user"')
            for statement in statements:
                await connection.execute(statement.encode())


@asynccontextmanager
async def opened(databases: Databases) -> AsyncIterator[Database]:
    conninfo = await databases.fresh("user")
    name = str(conninfo_to_dict(conninfo)["dbname"])
    async with db.open_pool("user", conninfo) as pool:
        yield Database(pool, databases.server.conninfo("postgres", name))


@pytest.fixture
async def database(postgres: Databases) -> AsyncIterator[Database]:
    async with opened(postgres) as found:
        yield found


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest, postgres: Databases) -> AsyncIterator[AuditLogStore]:
    if request.param == "memory":
        yield memory.MemoryAuditLogStore()
    else:
        async with opened(postgres) as database:
            yield _stored(database)


def _stored(database: Database) -> AuditLogStore:
    return postgres.create_audit_log_store(database.pool)


@pytest.fixture
def trail(store: AuditLogStore) -> AuditLog:
    return AuditLog(store, KEY)


async def all_of(store: AuditLogStore) -> list[Record]:
    return await store.read_after(0, 10_000)


async def test_an_empty_trail_is_intact(trail: AuditLog) -> None:
    assert await trail.verify(Head()) == Verification(Head())


async def test_records_come_back_as_they_were_told_and_anybody_can_compute_their_hashes(
    trail: AuditLog, store: AuditLogStore
) -> None:
    told = [event(1), event(2, target="", details={}, time=TIME.astimezone(UTC))]
    await trail.append(told)
    first, second = await all_of(store)
    assert [first.event, second.event] == told
    assert [first.number, second.number] == [1, 2]
    written = json.dumps(
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
    assert first.hash == hashlib.sha256(bytes(32) + written.encode()).digest()
    assert second.hash == record_hash(first.head, told[1])
    assert await trail.verify(first.head) == Verification(second.head)


async def test_what_is_told_twice_is_kept_once(trail: AuditLog, store: AuditLogStore) -> None:
    await trail.append([event(1), event(2)])
    await trail.append([event(2), event(3), event(1), event(3)])
    assert [record.event for record in await all_of(store)] == [event(1), event(2), event(3)]


async def test_two_instances_write_one_chain(store: AuditLogStore) -> None:
    trails = [AuditLog(store, KEY), AuditLog(store, KEY)]
    await asyncio.gather(*(trails[number % 2].append([event(number)]) for number in range(60)))
    records = await all_of(store)
    assert [record.number for record in records] == list(range(1, 61))
    assert {record.event.id for record in records} == {event(number).id for number in range(60)}
    for trail in trails:
        assert await trail.verify(Head()) == Verification(records[-1].head)


async def test_what_cannot_be_kept_is_told_to_all_who_wait_and_can_be_told_again(store: AuditLogStore) -> None:
    class Away:
        """A store that is away at first."""

        away = True

        def __getattr__(self, name: str) -> Any:
            if name == "append" and self.away:
                raise ConnectionError
            return getattr(store, name)

    away: Any = Away()
    trail = AuditLog(away, KEY)
    failed = await asyncio.gather(*(trail.append([event(n)]) for n in range(3)), return_exceptions=True)
    assert [type(failure) for failure in failed] == [ConnectionError] * 3
    away.away = False
    await asyncio.gather(*(trail.append([event(n)]) for n in range(3)))
    assert {record.event.id for record in await all_of(store)} == {event(n).id for n in range(3)}


async def test_a_part_of_it_is_found_by_what_it_says_newest_first(trail: AuditLog) -> None:
    told = [
        event(1),
        event(2, action="object.write"),
        event(3, actor="user_1", result="ROLE_MISSING"),
        event(4, action="sign_in", target="user_1"),
        event(5),
    ]
    await trail.append(told)

    async def numbers(size: int = 0, token: str = "", **wanted: Any) -> tuple[list[int], str]:
        records, following = await trail.list_page(RecordFilter(**wanted), size, token)
        return [record.number for record in records], following

    assert await numbers() == ([5, 4, 3, 2, 1], "")
    assert await numbers(2) == ([5, 4], "4")
    assert await numbers(2, "4") == ([3, 2], "2")
    assert await numbers(2, "2") == ([1], "")
    assert await numbers(actor="user_1") == ([3], "")
    assert await numbers(action="object.") == ([5, 3, 2, 1], "")
    assert await numbers(action="object.write") == ([2], "")
    assert await numbers(target="user_1") == ([4], "")
    assert await numbers(result="ROLE_MISSING", action="object.read") == ([3], "")
    assert await numbers(from_time=told[1].time, to_time=told[3].time) == ([3, 2], "")
    assert await numbers(action="%") == ([], "")


@pytest.mark.parametrize("text", ["soon", "2025-01-29", "2025-01-29T10:30:00", "2025-13-29T10:30:00Z", "\0"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="from_time"):
        parse_time(text, "from_time")
    assert parse_time("2025-01-29T11:30:00+01:00", "from_time") == datetime(2025, 1, 29, 10, 30, tzinfo=UTC)


async def test_one_verification_at_a_time(database: Database) -> None:
    trail = AuditLog(_stored(database), KEY)
    await trail.append([event(number) for number in range(5)])
    verdicts = await asyncio.gather(*(trail.verify(Head()) for _ in range(3)), return_exceptions=True)
    assert sorted(type(verdict).__name__ for verdict in verdicts) == [
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
async def test_the_services_own_role_may_only_add(database: Database, statement: str) -> None:
    await AuditLog(_stored(database), KEY).append([event(1)])
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with database.pool.connection() as connection:
            await connection.execute(statement)
    # Nor may anybody whom the privileges let do it, unless the trigger is taken away first.
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="only ever added to"):
        async with await AsyncConnection.connect(database.superuser) as connection:
            await connection.execute('SET search_path TO "user"')
            await connection.execute(statement.encode())


LAST = 12
"""How long the trails are that are tampered with."""
MOVED = ", ".join(
    f"{name} = other.{name}"
    for name in (
        *("time", "service", "action", "actor", "credential", "peer", "target", "result"),
        *("address", "trace_id", "method", "details"),
    )
)
TAMPERINGS: dict[str, tuple[str, Fault, int]] = {
    # What is done, what is found, and at which record.
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
    "a changed seal": ("UPDATE audit_records SET seal = sha256('x') WHERE number = 5", "FORGED", 5),
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
        " peer, target, result, address, trace_id, method, details, hash, seal FROM audit_records WHERE number = 5",
        "CHANGED", 13,
    ),
}  # fmt: skip


@pytest.mark.parametrize("tampering", TAMPERINGS)
async def test_what_is_done_behind_its_back_is_found_at_the_record(database: Database, tampering: str) -> None:
    statements, fault, number = TAMPERINGS[tampering]
    trail = AuditLog(_stored(database), KEY)
    await trail.append([event(n) for n in range(LAST)])
    before = await all_of(_stored(database))
    assert (await trail.verify(Head())).fault == ""
    await database.behind_the_back(*statements.split(";"))
    head = before[number - 2].head if number > 1 else Head()
    assert await trail.verify(Head()) == Verification(head, fault, number)
    # An instance that has seen nothing of it knows as much, if it is told how long the trail was.
    anew = AuditLog(_stored(database), KEY)
    assert await anew.verify(before[-1].head) == Verification(head, fault, number)
    if fault != "CUT":
        assert await anew.verify(Head()) == Verification(head, fault, number)


async def test_who_mends_the_chain_cannot_make_the_seals(database: Database) -> None:
    """All records from the fifth on are written anew, with right hashes, by somebody who has no key."""
    store = _stored(database)
    trail = AuditLog(store, KEY)
    await trail.append([event(n) for n in range(LAST)])
    records = await all_of(store)
    await database.behind_the_back("DELETE FROM audit_records WHERE number > 4")
    forger = AuditLog(store, b"some other key")
    await forger.append([replace(record.event, actor="user_innocent") for record in records[4:]])
    assert await forger.verify(Head(0)) == Verification(Head(), "FORGED", 1)
    assert await AuditLog(store, KEY).verify(Head()) == Verification(records[3].head, "FORGED", 5)


async def test_a_trail_that_goes_on_after_its_end_was_removed_is_found_by_what_was_known(database: Database) -> None:
    store = _stored(database)
    trail = AuditLog(store, KEY)
    await trail.append([event(n) for n in range(LAST)])
    known = (await trail.verify(Head())).head
    await database.behind_the_back("DELETE FROM audit_records WHERE number = 12")
    # Another instance writes on, and its chain is right in itself.
    await AuditLog(store, KEY).append([event(n) for n in range(100, 110)])
    anew = AuditLog(store, KEY)
    assert (await anew.verify(Head())).fault == ""
    for found in (await anew.verify(known), await trail.verify(Head())):
        assert (found.fault, found.number) == ("CHANGED", LAST)
