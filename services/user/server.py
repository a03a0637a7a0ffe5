"""Server: wires the user service."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
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
    provider_key_service_pb2_grpc,
    user_service_pb2_grpc,
)
from services.runtime import identity, tls
from services.runtime.admission import FairSemaphore
from services.runtime.authorizer import TokenKeys
from services.runtime.data_keys import DataKeys
from services.runtime.issued_database import open_database
from services.runtime.revocation_feed import RevocationPublisher
from services.runtime.secrets import SecretClient
from services.runtime.server import Runtime, wait_connected
from services.user import postgres
from services.user.account_servicer import AccountServicer
from services.user.accounts.first_account import FIRST_USERNAME, FirstAccountDraft, create_first_account
from services.user.accounts.first_account_file import PrivateFile
from services.user.administration_servicer import AdministrationServicer
from services.user.audit.audit_log import KEY_NAME as AUDIT_KEY_NAME
from services.user.audit.audit_log import AuditLog
from services.user.audit.audit_recorder import AuditLogRecorder
from services.user.audit_servicer import AuditServicer, read_event
from services.user.authentication.passwords import Argon2Hasher
from services.user.authentication.throttling import AttemptLimits, LoginThrottle
from services.user.authority_servicer import AuthorityServicer
from services.user.config import Config
from services.user.context import Context, Policy
from services.user.mfa.encryption import KEY_NAME as MFA_KEY_NAME
from services.user.mfa.encryption import PLAIN_KEY_NAME as PLAIN_MFA_KEY_NAME
from services.user.mfa.encryption import AesFactorCipher
from services.user.mfa.totp import PyotpCodes
from services.user.provider_key_servicer import ProviderKeyServicer
from services.user.provider_keys.encryption import KEY_NAME as PROVIDER_KEYS_KEY_NAME
from services.user.provider_keys.encryption import AesKeyCipher
from services.user.provider_keys.lifecycle import ProviderKeys
from services.user.servicer import UserServicer
from services.user.sessions.revocations import delete_old_revocations, publish_revocations
from services.user.tokens.access_tokens import JwtTokens, generate_signing_key
from services.user.tokens.signing_keys import KeyRing, RotationSchedule

log = structlog.get_logger()


def _now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def wire(config: Config, runtime: Runtime) -> AsyncIterator[None]:
    """Serve the accounts of the database."""
    channel = runtime.connect("config", "moneyprinter.config.v1.ConfigService")
    await wait_connected(channel, "config")
    config_stub = config_service_pb2_grpc.ConfigServiceStub(channel)
    secret_client = SecretClient(config_stub)
    schedule = RotationSchedule(config.signing_key_lifetime, config.signing_key_notice, config.token_lifetime)
    key_ring = KeyRing(secret_client, schedule, generate_signing_key, _now)
    await key_ring.refresh()
    tokens = JwtTokens(key_ring, runtime.config.token_issuer, runtime.config.token_audience, config.token_lifetime)
    # Raises when a key is unusable.
    tokens.public_keys(_now())
    runtime.keys = TokenKeys(_key_source(tokens))
    mfa_keys = DataKeys(secret_client, MFA_KEY_NAME, time.time)
    await mfa_keys.open(PLAIN_MFA_KEY_NAME)
    cipher = AesFactorCipher(mfa_keys.current.value)
    key_cipher = AesKeyCipher((await secret_client.fetch_or_create_key(PROVIDER_KEYS_KEY_NAME)).value)
    audit_key = await secret_client.fetch_or_create_key(AUDIT_KEY_NAME)
    passwords = Argon2Hasher(FairSemaphore(config.max_concurrent_hashes, identity.client).acquire)
    async with open_database(runtime, config, config_stub) as pool:
        store = postgres.create_store(pool)
        audit_log = AuditLog(postgres.create_audit_log_store(pool), audit_key.value)
        runtime.audit.send = _audit_sender(audit_log, runtime.service)
        draft = FirstAccountDraft(f"user_{secrets.token_hex(8)}", secrets.token_urlsafe(18))
        file = PrivateFile(config.first_account_file)
        if await create_first_account(store.accounts, passwords, file, draft, _now()):
            log.info("first account created", username=FIRST_USERNAME, file=str(config.first_account_file))
        context = Context(
            store=store,
            throttle=LoginThrottle(store.attempts, _limits(config)),
            passwords=passwords,
            tokens=tokens,
            totp=PyotpCodes(config.totp_issuer),
            cipher=cipher,
            recorder=AuditLogRecorder(runtime.audit),
            now=_now,
            random=secrets.token_bytes,
            policy=Policy(
                registration=config.registration,
                registered_roles=config.registered_roles,
                api_key_lifetime=config.api_key_lifetime,
                max_api_key_lifetime=config.max_api_key_lifetime,
            ),
        )
        runtime.check("database", lambda: postgres.ping(pool))
        runtime.check("signing-keys", key_ring.check_fresh)
        runtime.add(user_service_pb2_grpc.add_UserServiceServicer_to_server, UserServicer(context, tokens))
        runtime.add(account_service_pb2_grpc.add_AccountServiceServicer_to_server, AccountServicer(context, audit_log))
        runtime.add(
            administration_service_pb2_grpc.add_AdministrationServiceServicer_to_server,
            AdministrationServicer(context, key_ring, tokens),
        )
        audit = AuditServicer(context, audit_log, lambda workload: tls.spiffe_id(runtime.config, workload))
        runtime.add(audit_service_pb2_grpc.add_AuditServiceServicer_to_server, audit)
        provider_keys = ProviderKeys(context, postgres.create_provider_key_store(pool), key_cipher)
        authority = AuthorityServicer(context, provider_keys)
        runtime.add(authority_service_pb2_grpc.add_AuthorityServiceServicer_to_server, authority)
        runtime.add(
            provider_key_service_pb2_grpc.add_ProviderKeyServiceServicer_to_server, ProviderKeyServicer(provider_keys)
        )
        revocations = postgres.create_revocation_store(pool)
        async with AsyncExitStack() as stack:
            for work, name in (
                (key_ring.run(config.signing_key_refresh), "signing keys"),
                (delete_old_revocations(revocations), "old revocations"),
                (mfa_keys.run(), "data keys"),
            ):
                await stack.enter_async_context(runtime.background(work, name))
            if runtime.redis is not None:
                runtime.check("redis", runtime.redis.check)
                publisher = RevocationPublisher(runtime.redis, revocations.list_since)
                await stack.enter_async_context(runtime.background(publish_revocations(publisher), "revocations"))
            yield


def _audit_sender(
    audit_log: AuditLog, service: str
) -> Callable[[Sequence[audit_service_pb2.AuditEvent]], Awaitable[object]]:
    """Return the function that appends this service's own events, which need no call."""

    async def send(events: Sequence[audit_service_pb2.AuditEvent]) -> None:
        await audit_log.append([read_event(event, service) for event in events])

    return send


def _limits(config: Config) -> AttemptLimits:
    defaults = AttemptLimits()
    return AttemptLimits(
        account=replace(defaults.account, attempts=config.max_sign_in_failures),
        address=replace(defaults.address, attempts=config.max_address_failures),
        registration=replace(defaults.registration, attempts=config.max_address_registrations),
    )


def _key_source(tokens: JwtTokens) -> Callable[[], Awaitable[dict[str, Any]]]:
    """Return the function that fetches the keys which verify tokens; this service needs no call for it."""

    async def fetch() -> dict[str, Any]:
        return {"keys": tokens.public_keys(_now())}

    return fetch
