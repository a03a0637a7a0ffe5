"""The audit log as administrators use it: through Envoy, over gRPC, and on the command line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict

from moneyprinter import errors
from moneyprinter.user.v1 import account_service_pb2 as own
from moneyprinter.user.v1 import administration_service_pb2 as admin
from moneyprinter.user.v1 import audit_service_pb2 as audit
from moneyprinter.user.v1 import audit_service_pb2_grpc as audit_grpc
from moneyprinter.user.v1 import user_service_pb2 as pb
from services.runtime import audit as runtime_audit
from services.runtime.config import RuntimeConfig
from tests.databases import Databases
from tests.user.conftest import claims
from tests.user.instances import Users, bearer, run_second_instance, run_user_service
from tests.user.test_gateway import STATUS, Front, run_front
from tests.user.test_service import NEW, register


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait long enough that an event is on disk before the response, even on a busy machine."""
    monkeypatch.setattr(runtime_audit, "DURABLE_SECONDS", 60.0)


@pytest.fixture
async def users(config: RuntimeConfig, postgres: Databases, tmp_path: Path) -> AsyncIterator[Users]:
    async with run_user_service(config, postgres, tmp_path) as users:
        yield users


@pytest.fixture
async def front(config: RuntimeConfig, postgres: Databases, tmp_path: Path) -> AsyncIterator[Front]:
    async with run_front(config, postgres, tmp_path) as front:
        yield front


def stub(users: Users, caller: str = "gateway") -> Any:
    return users.mesh.stub(audit_grpc.AuditServiceStub, caller=caller)


async def list_records(users: Users, **filters: Any) -> list[audit.AuditRecord]:
    """Return the records of the audit log, oldest first."""
    request = audit.ListAuditRecordsRequest(page_size=500, **filters)
    found: audit.ListAuditRecordsResponse = await stub(users).ListAuditRecords(request, metadata=await users.bearer())
    return list(reversed(found.records))


async def tamper(users: Users, postgres: Databases, statement: str) -> None:
    name = str(conninfo_to_dict(users.settings.database)["dbname"])
    async with await AsyncConnection.connect(postgres.server.conninfo("postgres", name)) as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(statement.encode())


async def test_actions_on_accounts_are_recorded_before_the_response(users: Users) -> None:
    """Records have actor, credential and result, and neither unknown usernames nor secrets."""
    for name, password in (("admin", "hunter2"), ("nobody.of.this.name", "hunter3")):
        with pytest.raises(errors.Unauthenticated):
            await users.stub.SignIn(pb.SignInRequest(username=name, password=password))
    first = await users.sign_in()
    root = bearer(first.access_token)
    session, account_id = claims(first.access_token)["sid"], claims(first.access_token)["sub"]
    ada = await register(users, "ada", "video.process")
    await users.admin.SetRoles(
        admin.SetRolesRequest(account_id=ada, roles=["content.manage", "audio.generate"]), metadata=root
    )
    made = await users.own.CreateApiKey(own.CreateApiKeyRequest(display_name="k", roles=["user.admin"]), metadata=root)
    exchanged = await users.stub.ExchangeApiKey(pb.ExchangeApiKeyRequest(api_key=made.api_key))
    machine = bearer(exchanged.access_token)
    await users.admin.DisableAccount(admin.DisableAccountRequest(account_id=ada), metadata=machine)
    await users.stub.RefreshToken(pb.RefreshTokenRequest(refresh_token=first.refresh_token))

    records = await list_records(users)
    assert [record.number for record in records] == list(range(1, len(records) + 1))
    seen = [
        (record.event.action, record.event.actor, record.event.target, record.event.result)
        for record in records
        if record.service == "user"
    ]
    for expected in (
        ("sign_in", "", account_id, "CREDENTIALS_WRONG"),
        ("sign_in", "", "", "CREDENTIALS_WRONG"),
        ("sign_in", account_id, account_id, "OK"),
        ("account.set_roles", account_id, ada, "OK"),
        ("api_key.create", account_id, made.key.key_id, "OK"),
        ("account.disable", account_id, ada, "OK"),
        ("session.refresh", account_id, account_id, "OK"),
    ):
        assert expected in seen, expected
    [roles] = [record.event for record in records if record.event.action == "account.set_roles"]
    assert (roles.details["roles"], roles.credential, roles.peer) == (
        "content.manage audio.generate",
        session,
        "gateway",
    )
    [disabled] = [record.event for record in records if record.event.action == "account.disable"]
    assert disabled.credential == made.key.key_id
    everything = str(records)
    for secret in ("hunter2", "hunter3", "nobody.of.this.name", NEW, made.api_key, first.refresh_token):
        assert secret not in everything


async def test_refused_calls_are_recorded_too(users: Users) -> None:
    await register(users, "ada", "video.process")
    token = (await users.sign_in("ada", NEW)).access_token
    with pytest.raises(errors.PermissionDenied):
        await stub(users).VerifyAuditLog(audit.VerifyAuditLogRequest(), metadata=bearer(token))
    with pytest.raises(errors.PermissionDenied):
        await users.admin.SetRoles(
            admin.SetRolesRequest(account_id=claims(token)["sub"], roles=["user.admin"]), metadata=bearer(token)
        )
    with pytest.raises(errors.PermissionDenied):
        await stub(users, "audio").ListAuditRecords(audit.ListAuditRecordsRequest())
    with pytest.raises(errors.PermissionDenied):
        event = audit.AuditEvent(event_id="0" * 32, action="sign_in", result="OK")
        event.time.GetCurrentTime()
        await stub(users).AppendEvents(audit.AppendEventsRequest(events=[event]))

    async def refused() -> set[tuple[str, str, str]]:
        records = [record.event for record in await list_records(users)]
        return {
            (event.action, event.actor, event.result)
            for event in records
            if event.result in ("ROLE_MISSING", "CALLER_NOT_ALLOWED")
        }

    ada = claims(token)["sub"]
    expected = {
        ("audit.verify", ada, "ROLE_MISSING"),
        ("account.set_roles", ada, "ROLE_MISSING"),
        ("audit.list", "spiffe://cluster.local/ns/moneyprinter/sa/audio", "CALLER_NOT_ALLOWED"),
        ("call", "", "CALLER_NOT_ALLOWED"),
    }
    async with asyncio.timeout(20):
        while await refused() != expected:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_service_reports_in_its_own_name_only(users: Users) -> None:
    event = audit.AuditEvent(event_id="a" * 32, action="object.read", result="OK", target="x/1", peer="audio")
    event.actor = "spiffe://cluster.local/ns/moneyprinter/sa/audio"
    event.method = "/moneyprinter.storage.v1.StorageService/GetObject"
    event.time.GetCurrentTime()
    for _ in range(2):
        await stub(users, "storage").AppendEvents(audit.AppendEventsRequest(events=[event]))
    [record] = await list_records(users, action="object.read")
    assert record.service == "storage"
    for wrong in ({"action": "x\n"}, {"result": "no"}, {"address": "here"}, {"event_id": ""}, {"target": "\0"}):
        broken = audit.AuditEvent()
        broken.CopyFrom(event)
        for name, value in wrong.items():
            setattr(broken, name, value)
        with pytest.raises(errors.InvalidArgument):
            await stub(users, "storage").AppendEvents(audit.AppendEventsRequest(events=[broken]))


async def test_two_instances_write_one_audit_log(config: RuntimeConfig, postgres: Databases, tmp_path: Path) -> None:
    async with run_user_service(config, postgres, tmp_path) as users, run_second_instance(users) as other:
        await asyncio.gather(*(one.sign_in() for one in (users, other) for _ in range(5)))
        root = await users.bearer()
        found = await stub(users).VerifyAuditLog(audit.VerifyAuditLogRequest(), metadata=root)
        known = audit.VerifyAuditLogRequest(known_count=found.record_count, known_hash=found.head_hash)
        assert (found.intact, found.record_count >= 11) == (True, True)
        again = await stub(other).VerifyAuditLog(known, metadata=root)
        assert again.intact
        await tamper(users, postgres, 'DELETE FROM "user".audit_records WHERE number > 3')
        for one in (users, other):
            cut = await stub(one).VerifyAuditLog(known, metadata=root)
            assert (cut.intact, cut.fault) == (False, "CUT")
            # The calls of this test are in the log too.
            assert cut.fault_number == cut.record_count + 1
            assert 3 <= cut.record_count < found.record_count


async def test_an_administrator_reads_and_verifies_the_log_over_rest(front: Front, postgres: Databases) -> None:
    machine = {"x-client-address": "6.6.6.6"}
    root = await front.sign_in()
    assert (await front.http.get(STATUS, headers=root | machine)).status_code == 200
    with pytest.raises(errors.Error):
        await front.users.stub.SignIn(pb.SignInRequest(username="admin", password="wrong"))

    async def listed(**query: Any) -> Any:
        answer = await front.http.get("/v1/audit", headers=root, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    [seen] = (await listed(action="sign_in", result="CREDENTIALS_WRONG"))["records"]
    assert seen["event"]["time"].endswith("Z")
    assert seen["service"] == "user"
    first = await listed(page_size=1)
    second = await listed(page_size=1, page_token=first["next_page_token"])
    numbers = [int(page["records"][0]["number"]) for page in (first, second)]
    assert numbers[0] == numbers[1] + 1
    assert not (await listed(from_time="2999-01-01T00:00:00Z"))["records"]
    assert await front.refused("GET", "/v1/audit?from_time=soon", root) == (400, "REQUEST_INVALID")
    assert await front.refused("GET", "/v1/audit?actor=%27%3B--", root) == (400, "REQUEST_INVALID")
    assert await front.refused("GET", "/v1/audit") == (401, "TOKEN_INVALID")

    found = (await front.http.get("/v1/audit/verification", headers=root)).json()
    assert (found["intact"], found["fault"], found["fault_number"]) == (True, "", "0")
    await tamper(
        front.users, postgres, """UPDATE "user".audit_records SET result = 'OK' WHERE result = 'CREDENTIALS_WRONG'"""
    )
    found = (await front.http.get("/v1/audit/verification", headers=root)).json()
    assert (found["intact"], found["fault"], found["fault_number"]) == (False, "CHANGED", seen["number"])


async def test_jobs_are_recorded_with_the_address_that_the_gateway_saw(front: Front) -> None:
    """The service was started after the user service, and the client sends forged headers."""
    root = await front.sign_in()
    forged = {"x-client-address": "6.6.6.6", "x-forwarded-for": "6.6.6.6"}
    await front.http.get("/v1/videos/vid_1", headers=root | forged)
    account_id = claims(root["authorization"].split()[1])["sub"]
    async with asyncio.timeout(20):
        while not (records := await list_records(front.users, action="job.read")):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    [record] = records
    event = record.event
    assert (record.service, event.actor, event.target, event.result) == ("orchestrator", account_id, "vid_1", "OK")
    assert event.address == "127.0.0.1"
    assert len(event.trace_id) == 32
