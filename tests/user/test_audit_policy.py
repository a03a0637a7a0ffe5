"""What each workload may record in the audit log: its own calls, as the contracts describe them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.contracts import load_methods
from moneyprinter import contract, errors
from moneyprinter.user.v1 import audit_service_pb2 as audit
from services.runtime.config import PORTS, SERVICES, RuntimeConfig
from services.user.audit.model import Event
from services.user.audit.policy import find_refusal
from tests.databases import Databases
from tests.user.instances import Users, run_user_service
from tests.user.test_audit import list_records, stub

START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
SPIFFE = "spiffe://cluster.local/ns/moneyprinter/sa/"
READ = "/moneyprinter.storage.v1.StorageService/GetObject"
JOB = "/moneyprinter.video.v1.VideoService/GetVideo"
HONEST = {"action": "object.read", "actor": f"{SPIFFE}processing", "peer": "processing", "method": READ}
USERS = {
    "action": "job.read",
    "actor": "user_7",
    "credential": "ses_7",
    "peer": "gateway",
    "method": JOB,
    "service": "orchestrator",
}


def spiffe_id(workload: str) -> str:
    return SPIFFE + workload


def event(**fields: Any) -> Event:
    known = {"id": "a" * 32, "time": START, "service": "storage", "action": "call", "actor": "", "result": "OK"}
    return Event(**{**known, **fields})


def test_every_call_that_the_contracts_allow_can_be_recorded_by_its_service_only() -> None:
    for method in load_methods():
        assert contract.serves(method.service, method.path)
        rule = contract.rule(method.path)
        assert rule is not None
        for caller in rule.callers:
            peer = "audio" if caller == "*" else caller
            user = {"actor": "user_7", "credential": "ses_7"}
            machine = {"actor": "" if peer == "gateway" else spiffe_id(peer)}
            fields = {"action": contract.audit_action(method.path), "method": method.path, "peer": peer}
            done = event(service=method.service, **fields, **(user if rule.role else machine))
            expected = rule.audit.by_service
            assert bool(find_refusal(done, spiffe_id)) == expected, method.path
            for service in SERVICES:
                if service != method.service:
                    assert find_refusal(replace(done, service=service), spiffe_id), method.path
        for peer in PORTS:
            refused = event(
                service=method.service, action=contract.audit_action(method.path), method=method.path, peer=peer,
                actor="" if peer == "gateway" else spiffe_id(peer), result="CALLER_NOT_ALLOWED",
            )  # fmt: skip
            assert not find_refusal(refused, spiffe_id), method.path


FORGERIES: dict[str, dict[str, Any]] = {
    "a sign-in": {"action": "sign_in", "actor": "user_7"},
    "a sign-in as a call": {
        "action": "sign_in",
        "actor": "user_7",
        "peer": "gateway",
        "method": "/moneyprinter.user.v1.UserService/SignIn",
    },
    "a sign-in by a method of its own": {**HONEST, "action": "sign_in", "actor": "user_7"},
    "a call that another service serves": {**USERS, "service": "storage"},
    "a call of no method": {**HONEST, "method": ""},
    "a call of an unknown method": {**HONEST, "method": "/moneyprinter.storage.v1.StorageService/Nothing"},
    "another action": {**HONEST, "action": "object.write"},
    "a user where no user calls": {**HONEST, "actor": "user_7"},
    "a user behind another peer": {**USERS, "peer": "audio"},
    "another actor than the peer": {**HONEST, "actor": f"{SPIFFE}rendering"},
    "a success of a peer that may not call": {**HONEST, "peer": "encoder", "actor": f"{SPIFFE}encoder"},
    "a success of an unknown peer": {**HONEST, "peer": "", "actor": "spiffe://elsewhere/x"},
    "a success for no user": {**USERS, "actor": "", "credential": ""},
    "a credential of a workload": {**HONEST, "credential": "ses_7"},
    "a lost event of another one": {"action": "audit.lost", "actor": f"{SPIFFE}user", "result": "LOST"},
    "a handshake with another one": {"action": "connect", "target": f"{SPIFFE}user", "result": "PEER_UNIDENTIFIED"},
    "a handshake of a user": {
        "action": "connect",
        "target": f"{SPIFFE}storage",
        "result": "PEER_UNIDENTIFIED",
        "actor": "user_7",
    },
}


@pytest.mark.parametrize("fields", FORGERIES.values(), ids=FORGERIES)
def test_a_forgery_is_refused(fields: dict[str, Any]) -> None:
    assert find_refusal(event(**fields), spiffe_id)


@pytest.mark.parametrize(
    "fields",
    [
        HONEST,
        USERS,
        {**HONEST, "peer": "", "actor": "spiffe://elsewhere/x", "result": "PEER_UNIDENTIFIED"},
        {**USERS, "actor": "", "credential": "", "result": "TOKEN_INVALID"},
        {"action": "audit.lost", "actor": f"{SPIFFE}storage", "result": "LOST"},
        {"action": "connect", "target": f"{SPIFFE}storage", "result": "PEER_UNIDENTIFIED"},
        {"method": "/grpc.health.v1.Health/Check", "result": "PEER_UNIDENTIFIED"},
    ],
)
def test_valid_reports_of_services_are_accepted(fields: dict[str, Any]) -> None:
    assert not find_refusal(event(**fields), spiffe_id)


@pytest.mark.parametrize(("late", "claimed"), [(0, False), (1, False), (-1, False), (60, True), (-86400, True)])
def test_the_time_of_a_record_is_when_it_was_received(late: int, claimed: bool) -> None:
    now = START + timedelta(seconds=late)
    found = event(details={"claimed_time": "2001-01-01T00:00:00+00:00", "roles": "x"}).with_receive_time(now)
    assert found.time == now
    assert found.details == {"roles": "x", **({"claimed_time": "2026-11-23T10:00:00.000000+00:00"} if claimed else {})}


@pytest.fixture
async def users(config: RuntimeConfig, postgres: Databases, tmp_path: Path) -> AsyncIterator[Users]:
    async with run_user_service(config, postgres, tmp_path) as users:
        yield users


def sent(number: int, **fields: Any) -> audit.AuditEvent:
    """Return an event as storage sends it, with an old time."""
    known = {**HONEST, "result": "OK", **fields}
    known.pop("service", None)
    return audit.AuditEvent(event_id=f"{number:032x}", time=Timestamp(seconds=1_000_000_000), **known)


async def test_forged_and_backdated_events_are_not_recorded(users: Users) -> None:
    """A forged event is refused together with all events of its call, and the attempt is recorded."""
    append = stub(users, "storage").AppendEvents
    for number, fields in enumerate(FORGERIES.values()):
        forged = sent(number, **{"action": "call", "actor": "", "peer": "", "method": "", **fields})
        with pytest.raises(errors.PermissionDenied) as refused:
            await append(audit.AppendEventsRequest(events=[sent(1000 + number), forged]))
        assert refused.value.reason == "AUDIT_EVENT_REFUSED"
    await append(audit.AppendEventsRequest(events=[sent(2000, target="x/1")]))
    async with asyncio.timeout(30):
        while len(attempts := await list_records(users, result="AUDIT_EVENT_REFUSED")) < len(FORGERIES):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert {(record.service, record.event.actor) for record in attempts} == {("user", f"{SPIFFE}storage")}
    [record] = await list_records(users, action="object.read")
    assert record.event.target == "x/1"
    assert abs(record.event.time.ToDatetime(UTC) - datetime.now(UTC)) < timedelta(minutes=2)
    assert record.event.details["claimed_time"].startswith("2001-09-09T01:46:40")
