"""Access: who is calling, whether the contract lets it, and what the audit trail is told of it.

A peer is known by the SPIFFE id of its certificate; a user by the token that the call carries. The
method's rule (`moneyprinter.access.v1`) says which workloads may call it and which role the user must
hold, `*` for any user. A method without a rule is refused. The rule also says what a call is in the audit
trail, which the user service keeps; refusals are told of every method.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, reduce
from itertools import islice
from typing import Any

import jwt
import structlog
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from moneyprinter import contract
from moneyprinter.errors import Error, InvalidArgument, PermissionDenied, Unauthenticated
from moneyprinter.user.v1.audit_service_pb2 import AuditEvent
from services.runtime import telemetry, tls
from services.runtime.config import RuntimeConfig

log = structlog.get_logger()

# Answered for every workload of the mesh: they say nothing of any user.
FOR_EVERY_WORKLOAD = ("/grpc.health.v1.Health/", "/grpc.reflection.v1alpha.ServerReflection/")

CLIENT = "x-client"
"""The metadata in which a service that calls another one names the client that it serves."""

KEYS_SECONDS = 60.0

# One token and nothing beside it: parsers differ in what they make of anything else. A token of ours is far shorter.
_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] ([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)", re.ASCII)
MAX_TOKEN = 4096
IPV6_PREFIX = 64
# To check a signature takes longer than most calls do; of so many tokens it is remembered.
MAX_VERIFIED = 4096

# Events of the audit trail are sent together that come within this time.
FLUSH_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
BATCH = 500
# How many wait while the user service is away; of further ones, only their number is told.
MAX_WAITING = 10_000
DRAIN_SECONDS = 5.0
# How long a call waits at most for its own event, where it waits at all.
KEEP_SECONDS = 1.0

# What a failed call of a user's named is told only if it looks like an id of ours: people type all kinds of things.
_ID = re.compile(r"[a-z]{1,16}_[0-9A-Za-z]{1,64}")
_RESULT = re.compile(r"[A-Z0-9_]{1,64}")
MAX_TEXT = 256


@dataclass(frozen=True)
class User:
    """The user on whose behalf a call is made."""

    id: str
    roles: tuple[str, ...]
    session: str = ""
    """The session, or the API key, that the token was made for."""
    expire_time: float = float("inf")
    """When the token expires, in seconds since 1970."""


_caller: ContextVar[str] = ContextVar("caller")
_user: ContextVar[User] = ContextVar("user")
_client: ContextVar[str] = ContextVar("client", default="")
_identity: ContextVar[str] = ContextVar("identity", default="")
"""What the peer's certificate calls it, whether or not that is a workload of ours."""


_address: ContextVar[str] = ContextVar("address", default="")


def caller() -> str:
    """The workload that makes the running call."""
    return _caller.get()


def client_address() -> str:
    """The IP address that the running call came from; empty when it is not known.

    Of a call through the gateway, it is the client's: the gateway alone knows how many proxies before it are to be
    trusted, and overwrites `x-client-address`. Of a call by another workload, it is that of the connection.
    """
    return _address.get()


def user() -> User:
    """The user on whose behalf the running call is made. Only methods whose rule names a role have one."""
    return _user.get()


def client() -> str:
    """Whom the running call is served for: a user, or the address without one. Empty: the mesh itself, as for a job."""
    return _client.get()


def current_user() -> User | None:
    """The same; None when the running call is not made for one."""
    return _user.get(None)


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
        self._verified_before: dict[str, tuple[str, jwt.PyJWK, dict[str, Any]]] = {}

    async def admit(
        self, method: str, auth_context: dict[str, list[bytes]], metadata: dict[str, str], peer: str
    ) -> None:
        """Let a call pass, and remember its caller, user and address; raise when the contract does not allow it.

        `peer` is gRPC's name of the other end of the connection. Raises Unauthenticated for an unknown peer or
        user, and PermissionDenied for a known one that the access rule does not admit.
        """
        _identity.set(_claimed(auth_context))
        _address.set(parse_address(tls.host(peer)))
        caller = self.peer(auth_context)
        _caller.set(caller)
        if caller == "gateway":
            _address.set(parse_address(metadata.get("x-client-address", "")))
        # Clients name none: what they call by that name means nothing where they come in.
        _client.set(network(client_address()) if caller == "gateway" else metadata.get(CLIENT, ""))
        if method.startswith(FOR_EVERY_WORKLOAD):
            return
        rule = contract.rule(method)
        if rule is None:
            raise PermissionDenied(f"{method} has no access rule", reason="METHOD_UNKNOWN")
        if caller not in rule.callers and "*" not in rule.callers:
            raise PermissionDenied(f"{caller} may not call {method}", reason="CALLER_NOT_ALLOWED")
        if rule.role:
            found = await self._user(metadata.get("authorization", ""))
            _user.set(found)
            _client.set(found.id)
            if rule.role not in ("*", *found.roles):
                raise PermissionDenied(
                    f"this needs the role {rule.role}; ask an administrator for it", reason="ROLE_MISSING"
                )

    def peer(self, auth_context: dict[str, list[bytes]]) -> str:
        """The workload at the other end. Raises Unauthenticated when the connection does not identify one."""
        if auth_context.get("ssl_tls_version") != [b"TLSv1.3"]:
            raise Unauthenticated("the connection is not TLS 1.3", reason="PEER_UNIDENTIFIED")
        for identity in auth_context.get("peer_spiffe_id", []):
            if caller := tls.workload(self._config, identity.decode(errors="replace")):
                return caller
        raise Unauthenticated("the peer's certificate names no workload of this mesh", reason="PEER_UNIDENTIFIED")

    async def _user(self, authorization: str) -> User:
        match = _BEARER.fullmatch(authorization)
        if match is None or len(match[1]) > MAX_TOKEN:
            raise Unauthenticated("sign in first: the call carries no bearer token", reason="TOKEN_INVALID")
        claims = await self._verified(match[1])
        roles = claims.get("roles")
        held = tuple(roles) if isinstance(roles, list) else ()
        return User(claims["sub"], held, str(claims.get("sid", "")), float(claims["exp"]))

    async def _verified(self, token: str) -> dict[str, Any]:
        """The claims of a token. One whose signature was found good is believed while its key is, until it expires."""
        if known := self._verified_before.get(token):
            key_id, key, claims = known
            if await self.keys.find(key_id) is key and time.time() < claims["exp"]:
                return claims
            del self._verified_before[token]
        key, claims = await self._decoded(token)
        if len(self._verified_before) >= MAX_VERIFIED:
            self._verified_before.clear()
        self._verified_before[token] = str(key.key_id), key, claims
        return claims

    async def _decoded(self, token: str) -> tuple[jwt.PyJWK, dict[str, Any]]:
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
            return key, claims
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("the token has expired; refresh it", reason="TOKEN_INVALID") from None
        except jwt.PyJWTError as failure:
            raise Unauthenticated(f"the token is not valid: {failure}", reason="TOKEN_INVALID") from None


def network(address: str) -> str:
    """An address; of IPv6, the network that a household is given. Empty if it is none."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""
    return str(found) if found.version == 4 else str(ipaddress.ip_network((int(found), IPV6_PREFIX), strict=False))


def _claimed(auth_context: dict[str, list[bytes]]) -> str:
    return next((name.decode(errors="replace") for name in auth_context.get("peer_spiffe_id", [])), "")


@dataclass(frozen=True)
class _Told:
    """What the audit trail is told of a method's calls."""

    action: str
    always: bool
    """Whether calls that succeed are told too."""
    by_service: bool
    for_user: bool
    request: tuple[str, ...]
    """The path to the target in the request; empty when it is not there."""
    response: tuple[str, ...]
    """The same in the answer."""


@cache
def _told(method: str) -> _Told:
    rule = contract.rule(method)
    if rule is None or not rule.HasField("audit"):
        return _Told(contract.UNNAMED_ACTION, False, False, bool(rule and rule.role), (), ())
    side, *path = rule.audit.target.split(".")
    paths = {side: tuple(path)}
    return _Told(
        action=rule.audit.action,
        always=True,
        by_service=rule.audit.by_service,
        for_user=bool(rule.role),
        request=paths.get("request", ()),
        response=paths.get("response", ()),
    )


class Call:
    """A call that is being served, and what the audit trail is told when it has ended."""

    def __init__(self, outbox: Outbox, method: str) -> None:
        self.reached = False
        """Whether the service has begun to serve it."""
        self._outbox = outbox
        self._method = method
        self._told = _told(method)
        self._target = ""

    def requested(self, message: Message) -> None:
        """See a message of the request, which keeps the contract's rules."""
        if self._told.request and not self._target:
            self._target = str(reduce(getattr, self._told.request, message))

    def answered(self, message: Message) -> None:
        """See a message of the answer."""
        if self._told.response and not self._target:
            self._target = str(reduce(getattr, self._told.response, message))

    def ended(self, result: str, *, refused: bool = False) -> None:
        """Tell how it ended: `OK` or the reason why not; `refused`: since it was not allowed."""
        if not (self._told.always or refused) or (self._told.by_service and self.reached):
            return
        target = self._target
        if self._told.for_user and result != "OK" and not _ID.fullmatch(target):
            target = ""
        event = self._outbox.event(
            self._told.action, target=target, result=result, address=client_address(), method=self._method
        )
        self._outbox.tell(event)


class Outbox:
    """What this service has to tell the audit trail: it waits in memory until the user service has it on disk.

    No call waits for it, and none fails because the user service is away. What waits when the process is killed is
    lost: what came within FLUSH_SECONDS and the time of one send; while the user service is away, all that came
    since, up to MAX_WAITING.
    """

    def __init__(
        self, config: RuntimeConfig, service: str, send: Callable[[Sequence[AuditEvent]], Awaitable[object]]
    ) -> None:
        self.send = send
        """Hands events over; returns when they are on disk, and may be called again with the same ones."""
        self._config = config
        self._service = service
        self._waiting: deque[AuditEvent] = deque()
        self._lost = 0
        self._kept: dict[str, asyncio.Future[None]] = {}
        """Those that somebody waits for, by the ids of their events."""
        self._reached = False
        """Whether any were taken."""
        self._away = False
        """Whether the last ones were not."""
        self._any = asyncio.Event()
        self._soon = asyncio.Event()

    def event(
        self,
        action: str,
        *,
        target: str = "",
        result: str,
        address: str = "",
        method: str = "",
        actor: str | None = None,
        details: Mapping[str, str] | None = None,
    ) -> AuditEvent:
        """What the running call is to the trail. `actor` is whoever makes it, unless another one is named."""
        peer, found = _caller.get(""), _user.get(None)
        if actor is None:
            actor = found.id if found else tls.spiffe_id(self._config, peer) if peer else _identity.get()
            if peer == "gateway" and not found:
                # It calls for people; nobody has shown who it is.
                actor = ""
        return AuditEvent(
            event_id=uuid.uuid4().hex,
            time=_now(),
            action=action,
            actor=_text(actor),
            credential=_text(found.session) if found else "",
            peer=peer,
            target=_text(target),
            result=result if _RESULT.fullmatch(result) else "UNKNOWN",
            address=parse_address(address),
            trace_id=telemetry.trace_id(),
            method=_text(method),
            details={name: _text(value) for name, value in (details or {}).items()},
        )

    def left_unknown(self, address: str) -> None:
        """Tell of a connection to this service that ended before anybody on it was known."""
        own = tls.spiffe_id(self._config, self._service)
        self.tell(self.event("connect", actor="", target=own, result="PEER_UNIDENTIFIED", address=address))

    def tell(self, event: AuditEvent) -> None:
        """Tell of an event, some time soon."""
        if len(self._waiting) >= MAX_WAITING:
            # The newest: nobody hides a deed by many others after it.
            self._lost += 1
        else:
            self._waiting.append(event)
        self._any.set()

    async def keep(self, event: AuditEvent) -> None:
        """Tell of an event, and wait until it is on disk. If that takes long, the event waits with the others."""
        kept = self._kept[event.event_id] = asyncio.get_running_loop().create_future()
        try:
            self.tell(event)
            self._soon.set()
            if not self._away:
                await asyncio.wait({kept}, timeout=KEEP_SECONDS)
        finally:
            del self._kept[event.event_id]

    async def run(self) -> None:
        """Send what waits, again and again."""
        pause = FLUSH_SECONDS
        while True:
            await self._any.wait()
            # More come meanwhile, and go with it.
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._soon.wait()
            pause = FLUSH_SECONDS if await self._flush() else min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def drain(self) -> None:
        """Send what waits, at the end. If it cannot be sent, it is lost, and the log says how much."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                # Where nobody ever took any, nobody will now.
                while not await self._flush() and self._reached:  # noqa: ASYNC110  nothing tells us when
                    await asyncio.sleep(FLUSH_SECONDS)
        if lost := len(self._waiting) + self._lost:
            log.error("audit events lost", service=self._service, events=lost)

    async def _flush(self) -> bool:
        """Send all that waits; false if the user service is away."""
        self._soon.clear()
        one_by_one = 0
        while self._waiting:
            batch = list(islice(self._waiting, 1 if one_by_one else BATCH))
            one_by_one = max(0, one_by_one - 1)
            try:
                await self.send(batch)
            except (InvalidArgument, PermissionDenied) as failure:
                # A defect of ours, and no reason to keep all others from the trail for ever.
                if len(batch) > 1:
                    one_by_one = len(batch)
                    continue
                log.error("audit event refused", service=self._service, action=batch[0].action, error=failure.message)
                self._lost += 1
                loss = []
            except Error as failure:
                log.debug("audit events wait", service=self._service, events=len(self._waiting), reason=failure.reason)
                self._away = True
                return False
            else:
                self._reached, self._away = True, False
                loss = [self._loss()] if self._lost else []
            for event in batch:
                self._waiting.popleft()
                if (kept := self._kept.get(event.event_id)) and not kept.done():
                    kept.set_result(None)
            self._waiting.extend(loss)
        self._any.clear()
        return True

    def _loss(self) -> AuditEvent:
        """That events were lost is an event too."""
        lost, self._lost = self._lost, 0
        own = tls.spiffe_id(self._config, self._service)
        return self.event("audit.lost", actor=own, result="LOST", details={"events": str(lost)})


def _text(text: str) -> str:
    """A text as the trail takes it: of one line, and not longer than needed."""
    return text if text.isascii() and text.isprintable() and len(text) <= MAX_TEXT else _cut(text)


def _cut(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:MAX_TEXT])


def parse_address(text: str) -> str:
    """An IP address in its usual spelling, IPv4 also where IPv6 carries it; empty when it is none."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    return str(getattr(found, "ipv4_mapped", None) or found)


def _now() -> Timestamp:
    # To the microsecond, which is what databases keep.
    nanoseconds = time.time_ns() // 1000 * 1000
    return Timestamp(seconds=nanoseconds // 1_000_000_000, nanos=nanoseconds % 1_000_000_000)
