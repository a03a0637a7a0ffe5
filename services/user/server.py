"""Server: the wiring of the user service."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import structlog

from moneyprinter.config.v1 import config_service_pb2_grpc
from moneyprinter.user.v1 import user_service_pb2_grpc as pb_grpc
from services.runtime import db
from services.runtime.server import Runtime, connected
from services.user import accounts, signing_key
from services.user.argon import ArgonPasswords
from services.user.config import Config
from services.user.first_account import PrivateFile
from services.user.postgres import PostgresAccounts
from services.user.servicer import UserServicer
from services.user.sessions import Desk
from services.user.tokens import JwtTokens

log = structlog.get_logger()


def _now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def wire(config: Config, runtime: Runtime) -> AsyncIterator[None]:
    """Serve the accounts of the database."""
    channel = runtime.connect("config", "moneyprinter.config.v1.ConfigService")
    await connected(channel, "config")
    key = await signing_key.fetch(config_service_pb2_grpc.ConfigServiceStub(channel))
    tokens = JwtTokens(key, runtime.config.token_issuer, runtime.config.token_audience)
    passwords = ArgonPasswords(config.hashes_at_once)
    async with db.open_pool(runtime.service, config.database) as pool:
        store = PostgresAccounts(pool)
        draft = accounts.Draft(f"user_{secrets.token_hex(8)}", secrets.token_urlsafe(18))
        if await accounts.make_first(store, passwords, PrivateFile(config.first_account_file), draft, _now()):
            log.info("first account made", username=accounts.FIRST_USERNAME, file=str(config.first_account_file))
        desk = Desk(store, passwords, tokens, now=_now, random=lambda: secrets.token_urlsafe(32))
        runtime.check("database", store.ping)
        runtime.add(pb_grpc.add_UserServiceServicer_to_server, UserServicer(desk, tokens.public_key))
        yield
