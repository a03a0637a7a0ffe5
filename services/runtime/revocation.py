"""Revocation: ends streaming calls whose token, session, API key, account or role is no longer valid.

A token is verified when a call begins, and a stream may last for hours. A timer ends it when its token expires, and a
periodic check of all open streams ends those whose credential was revoked. While the user service is unreachable,
streams continue until their tokens expire, within minutes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import structlog

from moneyprinter import calls, contract
from moneyprinter.errors import Error, Unauthenticated
from moneyprinter.user.v1 import authority_service_pb2 as pb
from moneyprinter.user.v1 import authority_service_pb2_grpc as pb_grpc
from services.runtime import identity

log = structlog.get_logger()

# How often credentials are checked. With the check itself, a call outlives its credential by less than a second.
CHECK_SECONDS = 0.5
CHECK_BATCH = 500

Credential = tuple[str, str]
"""The id of an account, and the id of one of its sessions or API keys."""
Check = Callable[[Sequence[Credential]], Awaitable[Mapping[Credential, Sequence[str]]]]
"""Returns the roles of those credentials that are valid."""


class _Stream:
    """An open streaming call."""

    def __init__(self, user: identity.User, role: str) -> None:
        self.credential = (user.id, user.session)
        self.role = role
        self.end = asyncio.timeout(user.expire_time - time.time())

    def stop(self) -> None:
        """End the call now."""
        self.end.reschedule(asyncio.get_running_loop().time())


class RevocationMonitor:
    """The open streaming calls of a server, whose credentials it checks."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._streams: set[_Stream] = set()
        self._any = asyncio.Event()

    @asynccontextmanager
    async def guard(self, method: str) -> AsyncIterator[None]:
        """Cancel the body of the context when the user of the running call may no longer call `method`.

        Raises `Unauthenticated` then. Calls without a user are not affected.
        """
        user, rule = identity.find_user(), contract.rule(method)
        if user is None or rule is None:
            yield
            return
        stream = _Stream(user, rule.role)
        self._streams.add(stream)
        self._any.set()
        try:
            async with stream.end:
                yield
        except TimeoutError:
            if not stream.end.expired():
                raise
            raise Unauthenticated(
                "this call has ended with its token, session or role; get a new token and go on",
                reason="AUTHORITY_ENDED",
            ) from None
        finally:
            self._streams.discard(stream)

    async def run(self) -> None:
        """Check the credentials of the open streams every CHECK_SECONDS, until cancelled."""
        while True:
            await self._any.wait()
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await self._check_all()
            except Error as failure:
                log.debug("credentials not checked", reason=failure.reason, error=failure.message)
            if not self._streams:
                self._any.clear()

    async def _check_all(self) -> None:
        credentials = sorted({stream.credential for stream in self._streams})
        for first in range(0, len(credentials), CHECK_BATCH):
            batch = credentials[first : first + CHECK_BATCH]
            valid = await self._check(batch)
            # Streams that began or ended during the check are left out.
            for stream in [stream for stream in self._streams if stream.credential in batch]:
                if stream.role not in ("*", *valid.get(stream.credential, ())) or stream.credential not in valid:
                    self._streams.discard(stream)
                    stream.stop()


def credential_check(channel: calls.TypedChannel) -> Check:
    """Return a check that calls the user service on a channel."""
    stub = pb_grpc.AuthorityServiceStub(channel)

    async def check(credentials: Sequence[Credential]) -> Mapping[Credential, Sequence[str]]:
        messages = [pb.Credential(account_id=account, credential_id=credential) for account, credential in credentials]
        states = (await stub.CheckCredentials(pb.CheckCredentialsRequest(credentials=messages))).states
        pairs = zip(credentials, states, strict=True)
        return {credential: state.roles for credential, state in pairs if state.valid}

    return check


def checking_services() -> Sequence[str]:
    """Return the services that may check credentials: those with long-lasting calls of users."""
    rule = contract.rule("/moneyprinter.user.v1.AuthorityService/CheckCredentials")
    return rule.callers if rule is not None else ()
