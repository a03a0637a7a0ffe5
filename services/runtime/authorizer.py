"""Authorizer: identifies the caller of a call and enforces the access rule of its method.

The peer is identified by the SPIFFE id of its certificate, the user by the bearer token of the call. The method's rule
(`moneyprinter.access.v1`) lists the workloads that may call it and the role that the user must hold, `*` for any user.
A method without a rule is refused.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import jwt

from moneyprinter import contract
from moneyprinter.errors import Error, PermissionDenied, Unauthenticated
from services.runtime import identity, tls
from services.runtime.config import RuntimeConfig
from services.runtime.credentials import CredentialGuard
from services.runtime.identity import User

# Every workload of the mesh may call these: they reveal nothing about users.
FOR_EVERY_WORKLOAD = ("/grpc.health.v1.Health/", "/grpc.reflection.v1alpha.ServerReflection/")

CLIENT = "x-client"
"""The metadata key in which a service names the client for which it calls another service."""

KEYS_SECONDS = 60.0

# One token and nothing else: parsers differ in how they read anything else. Our tokens are far shorter than the limit.
_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] ([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)", re.ASCII)
MAX_TOKEN = 4096
# A signature check takes longer than most calls, so the results for this many tokens are cached.
MAX_VERIFIED = 4096


class TokenKeys:
    """The public keys that sign user tokens, fetched on demand and cached for a minute."""

    def __init__(self, fetch: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        self._fetch = fetch
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = float("-inf")
        self._lock = asyncio.Lock()

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """Return the key with an id, or None. Raises the error of the fetch when no cached key has the id."""
        age = time.monotonic() - self._fetched
        if age > KEYS_SECONDS or (key_id not in self._keys and age > 1.0):
            async with self._lock:
                try:
                    await self._refresh()
                except Error:
                    # While the user service is unreachable, a key that was valid a minute ago stays valid.
                    if key_id not in self._keys:
                        raise
        return self._keys.get(key_id)

    async def _refresh(self) -> None:
        if time.monotonic() - self._fetched > 1.0:
            found = await self._fetch()
            self._keys = {key["kid"]: jwt.PyJWK(key, algorithm="ES256") for key in found["keys"]}
            self._fetched = time.monotonic()


class Authorizer:
    """Authorizes the calls of a server."""

    def __init__(self, config: RuntimeConfig, keys: TokenKeys) -> None:
        self._config = config
        self.keys = keys
        self.credentials: CredentialGuard | None = None
        """Checks whether the credentials of valid tokens were revoked; None: they are not checked."""
        self._verified: dict[str, tuple[str, jwt.PyJWK, dict[str, Any]]] = {}

    async def authorize(
        self, method: str, auth_context: dict[str, list[bytes]], metadata: dict[str, str], peer: str
    ) -> None:
        """Identify the peer, caller, client and user of the running call, and check the access rule of its method.

        `method` is the path `/package.Service/Method`; `peer` is gRPC's name of the other end of the connection.
        Raises `Unauthenticated` when the peer or the user is not identified, or the user's credential was revoked, and
        `PermissionDenied` when the rule forbids the call.
        """
        identity.set_connection(_peer_spiffe_id(auth_context), identity.peer_host(peer))
        caller = self._identify_peer(auth_context)
        identity.set_caller(caller)
        if caller == "gateway":
            identity.set_client_address(metadata.get("x-client-address", ""))
            # Clients cannot choose their client name: the gateway's calls ignore that metadata.
            identity.set_client(identity.network_of(identity.client_address()))
        else:
            identity.set_client(metadata.get(CLIENT, ""))
        if method.startswith(FOR_EVERY_WORKLOAD):
            return
        rule = contract.rule(method)
        if rule is None:
            raise PermissionDenied(f"{method} has no access rule", reason="METHOD_UNKNOWN")
        if caller not in rule.callers and "*" not in rule.callers:
            raise PermissionDenied(f"{caller} may not call {method}", reason="CALLER_NOT_ALLOWED")
        if rule.role:
            found = await self._authenticate(metadata.get("authorization", ""))
            identity.set_user(found)
            if rule.role not in ("*", *found.roles):
                raise PermissionDenied(
                    f"this needs the role {rule.role}; ask an administrator for it", reason="ROLE_MISSING"
                )
            if self.credentials is not None:
                await self.credentials.require_valid(found, rule.role)

    def _identify_peer(self, auth_context: dict[str, list[bytes]]) -> str:
        """Return the workload at the other end of the connection. Raises `Unauthenticated` when there is none."""
        if auth_context.get("ssl_tls_version") != [b"TLSv1.3"]:
            raise Unauthenticated("the connection is not TLS 1.3", reason="PEER_UNIDENTIFIED")
        for name in auth_context.get("peer_spiffe_id", []):
            if caller := tls.parse_workload(self._config, name.decode(errors="replace")):
                return caller
        raise Unauthenticated("the peer's certificate names no workload of this mesh", reason="PEER_UNIDENTIFIED")

    async def _authenticate(self, authorization: str) -> User:
        """Return the user of an `authorization` header."""
        match = _BEARER.fullmatch(authorization)
        if match is None or len(match[1]) > MAX_TOKEN:
            raise Unauthenticated("sign in first: the call carries no bearer token", reason="TOKEN_INVALID")
        claims = await self._verify(match[1])
        roles = claims.get("roles")
        held = tuple(roles) if isinstance(roles, list) else ()
        return User(claims["sub"], held, str(claims.get("sid", "")), float(claims["exp"]))

    async def _verify(self, token: str) -> dict[str, Any]:
        """Return the claims of a token. A verified signature is cached while its key is valid and until it expires."""
        if cached := self._verified.get(token):
            key_id, key, claims = cached
            if await self.keys.find(key_id) is key and time.time() < claims["exp"]:
                return claims
            del self._verified[token]
        key, claims = await self._decode(token)
        if len(self._verified) >= MAX_VERIFIED:
            self._verified.clear()
        self._verified[token] = str(key.key_id), key, claims
        return claims

    async def _decode(self, token: str) -> tuple[jwt.PyJWK, dict[str, Any]]:
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
                raise Unauthenticated("the token names no user", reason="TOKEN_INVALID")
            return key, claims
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("the token has expired; refresh it", reason="TOKEN_INVALID") from None
        except jwt.PyJWTError as failure:
            raise Unauthenticated(f"the token is not valid: {failure}", reason="TOKEN_INVALID") from None


def _peer_spiffe_id(auth_context: dict[str, list[bytes]]) -> str:
    return next((name.decode(errors="replace") for name in auth_context.get("peer_spiffe_id", [])), "")
