"""Server: the wiring of the user service."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import structlog

from moneyprinter.config.v1 import config_service_pb2_grpc
from moneyprinter.user.v1 import (
    account_service_pb2_grpc,
    administration_service_pb2_grpc,
    audit_service_pb2,
    audit_service_pb2_grpc,
    authority_service_pb2_grpc,
    user_service_pb2_grpc,
)
from services.runtime import access, db, tls
from services.runtime.admission import Turns
from services.runtime.server import Runtime, connected
from services.user import accounts, postgres, sealing, tokens
from services.user.argon import ArgonPasswords
from services.user.attempts import Guard, Limits
from services.user.authority_servicer import AuthorityServicer
from services.user.config import Config
from services.user.config_secrets import ConfigSecrets
from services.user.desk import Desk, Policy
from services.user.first_account import PrivateFile
from services.user.otp import AuthenticatorCodes
from services.user.own_events import TrailAudit
from services.user.servicer import AccountServicer, AdministrationServicer, AuditServicer, UserServicer, event_of
from services.user.signing_keys import KeyRing, Schedule
from services.user.trail import KEY_BYTES, KEY_NAME, Trail

log = structlog.get_logger()


def _now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def wire(config: Config, runtime: Runtime) -> AsyncIterator[None]:
    """Serve the accounts of the database."""
    channel = runtime.connect("config", "moneyprinter.config.v1.ConfigService")
    await connected(channel, "config")
    kept = ConfigSecrets(config_service_pb2_grpc.ConfigServiceStub(channel))
    schedule = Schedule(config.signing_key_life, config.signing_key_notice, config.token_life)
    keys = KeyRing(kept, schedule, tokens.new_key, _now)
    await keys.look()
    signed = tokens.JwtTokens(keys, runtime.config.token_issuer, runtime.config.token_audience, config.token_life)
    signed.listed(_now())
    runtime.keys = access.Keys(_listed(signed))
    seal = sealing.AesSeal(await kept.fetch(sealing.NAME, sealing.new_key))
    audit_key = await kept.fetch(KEY_NAME, lambda: secrets.token_bytes(KEY_BYTES))
    passwords = ArgonPasswords(Turns(config.hashes_at_once, access.client).acquire)
    async with db.open_pool(runtime.service, config.database) as pool:
        store = postgres.store(pool)
        trail = Trail(postgres.trail(pool), audit_key)
        runtime.outbox.send = _into(trail, runtime.service)
        draft = accounts.Draft(f"user_{secrets.token_hex(8)}", secrets.token_urlsafe(18))
        if await accounts.make_first(store.accounts, passwords, PrivateFile(config.first_account_file), draft, _now()):
            log.info("first account made", username=accounts.FIRST_USERNAME, file=str(config.first_account_file))
        desk = Desk(
            store=store,
            guard=Guard(store.attempts, _limits(config)),
            passwords=passwords,
            tokens=signed,
            codes=AuthenticatorCodes(config.totp_issuer),
            seal=seal,
            audit=TrailAudit(runtime.outbox),
            now=_now,
            random=secrets.token_bytes,
            policy=Policy(
                registration=config.registration,
                registered_roles=config.registered_roles,
                key_life=config.api_key_life,
                key_life_at_most=config.api_key_life_at_most,
            ),
        )
        runtime.check("database", lambda: postgres.ping(pool))
        runtime.check("signing-keys", keys.known)
        runtime.add(user_service_pb2_grpc.add_UserServiceServicer_to_server, UserServicer(desk, signed))
        runtime.add(account_service_pb2_grpc.add_AccountServiceServicer_to_server, AccountServicer(desk, trail))
        runtime.add(
            administration_service_pb2_grpc.add_AdministrationServiceServicer_to_server,
            AdministrationServicer(desk, keys, signed),
        )
        audit = AuditServicer(desk, trail, lambda workload: tls.spiffe_id(runtime.config, workload))
        runtime.add(audit_service_pb2_grpc.add_AuditServiceServicer_to_server, audit)
        runtime.add(authority_service_pb2_grpc.add_AuthorityServiceServicer_to_server, AuthorityServicer(desk))
        async with runtime.background(keys.keep(config.signing_key_look), "signing keys"):
            yield


def _into(trail: Trail, service: str) -> Callable[[Sequence[audit_service_pb2.AuditEvent]], Awaitable[object]]:
    async def send(events: Sequence[audit_service_pb2.AuditEvent]) -> None:
        await trail.append([event_of(event, service) for event in events])

    return send


def _limits(config: Config) -> Limits:
    usual = Limits()
    return Limits(
        name=replace(usual.name, attempts=config.sign_in_failures),
        address=replace(usual.address, attempts=config.address_failures),
        registration=replace(usual.registration, attempts=config.address_registrations),
    )


def _listed(signed: tokens.JwtTokens) -> Any:
    async def fetch() -> dict[str, Any]:
        return {"keys": signed.listed(_now())}

    return fetch
