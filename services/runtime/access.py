"""Access: who is calling, and whether the contract lets it.

A peer is known by the SPIFFE id of its certificate; a user by the token that the call carries. The
method's rule (`moneyprinter.access.v1`) says which workloads may call it and which role the user must
hold, `*` for any user. A method without a rule is refused.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import jwt

from moneyprinter import contract
from moneyprinter.errors import Error, PermissionDenied, Unauthenticated
from services.runtime import tls
from services.runtime.config import RuntimeConfig

# Answered for every workload of the mesh: they say nothing of any user.
_FOR_EVERY_WORKLOAD = ("/grpc.health.v1.Health/", "/grpc.reflection.v1alpha.ServerReflection/")

KEYS_SECONDS = 60.0

# One token and nothing beside it: parsers differ in what they make of anything else. A token of ours is far shorter.
_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] ([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)", re.ASCII)
MAX_TOKEN = 4096


@dataclass(frozen=True)
class User:
    """The user on whose behalf a call is made."""

    id: str
    roles: tuple[str, ...]
    session: str = ""
    """The session, or the API key, that the token was made for."""


_caller: ContextVar[str] = ContextVar("caller")
_user: ContextVar[User] = ContextVar("user")


def caller() -> str:
    """The workload that makes the running call."""
    return _caller.get()


def user() -> User:
    """The user on whose behalf the running call is made. Only methods whose rule names a role have one."""
    return _user.get()


class Keys:
    """The public keys that user tokens are signed with, fetched when they are needed and kept a minute."""

    def __init__(self, fetch: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        self._fetch = fetch
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = float("-inf")
        self._lock = asyncio.Lock()

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """The key of an id; None when it is none of ours."""
        age = time.monotonic() - self._fetched
        if age > KEYS_SECONDS or (key_id not in self._keys and age > 1.0):
            async with self._lock:
                try:
                    await self._refresh()
                except Error:
                    # The user service is away: a key that was good a minute ago still is.
                    if key_id not in self._keys:
                        raise
        return self._keys.get(key_id)

    async def _refresh(self) -> None:
        if time.monotonic() - self._fetched > 1.0:
            found = await self._fetch()
            self._keys = {key["kid"]: jwt.PyJWK(key, algorithm="ES256") for key in found["keys"]}
            self._fetched = time.monotonic()


class Access:
    """Decides on every call of a server."""

    def __init__(self, config: RuntimeConfig, keys: Keys) -> None:
        self._config = config
        self.keys = keys

    async def admit(self, method: str, auth_context: dict[str, list[bytes]], metadata: dict[str, str]) -> None:
        """Let a call pass, and remember its caller and user; raise when the contract does not allow it."""
        caller = self.peer(auth_context)
        _caller.set(caller)
        if method.startswith(_FOR_EVERY_WORKLOAD):
            return
        rule = contract.rule(method)
        if rule is None:
            raise PermissionDenied(f"{method} has no access rule", reason="METHOD_UNKNOWN")
        if caller not in rule.callers and "*" not in rule.callers:
            raise PermissionDenied(f"{caller} may not call {method}", reason="CALLER_NOT_ALLOWED")
        if rule.role:
            _user.set(await self._authorized(metadata.get("authorization", ""), rule.role))

    def peer(self, auth_context: dict[str, list[bytes]]) -> str:
        """The workload at the other end."""
        if auth_context.get("ssl_tls_version") != [b"TLSv1.3"]:
            raise Unauthenticated("the connection is not TLS 1.3", reason="PEER_UNIDENTIFIED")
        for identity in auth_context.get("peer_spiffe_id", []):
            if caller := tls.workload(self._config, identity.decode(errors="replace")):
                return caller
        raise Unauthenticated("the peer's certificate names no workload of this mesh", reason="PEER_UNIDENTIFIED")

    async def _authorized(self, authorization: str, role: str) -> User:
        match = _BEARER.fullmatch(authorization)
        if match is None or len(match[1]) > MAX_TOKEN:
            raise Unauthenticated("sign in first: the call carries no bearer token", reason="TOKEN_INVALID")
        claims = await self._verified(match[1])
        roles = claims.get("roles")
        found = User(claims["sub"], tuple(roles) if isinstance(roles, list) else (), str(claims.get("sid", "")))
        if role not in ("*", *found.roles):
            raise PermissionDenied(f"this needs the role {role}; ask an administrator for it", reason="ROLE_MISSING")
        return found

    async def _verified(self, token: str) -> dict[str, Any]:
        try:
            key = await self.keys.find(str(jwt.get_unverified_header(token).get("kid", "")))
            if key is None:
                raise Unauthenticated("the token is signed with a key that is not ours", reason="TOKEN_INVALID")
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=["ES256"],
                audience=self._config.token_audience,
                issuer=self._config.token_issuer,
                options={"require": ["exp", "iat", "aud", "iss", "sub"]},
            )
            if not claims["sub"]:
                raise Unauthenticated("the token is nobody's", reason="TOKEN_INVALID")
            return claims
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("the token has expired; refresh it", reason="TOKEN_INVALID") from None
        except jwt.PyJWTError as failure:
            raise Unauthenticated(f"the token is not valid: {failure}", reason="TOKEN_INVALID") from None
