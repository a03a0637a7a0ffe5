"""Authority: calls that last end with what allowed them, which is their token, session or API key, account and role.

A token is checked when a call begins. A call that streams may go on for hours: a timer ends it when its token expires,
and one check of all of them together, while there are any, ends those whose credential is not valid any more. While the
user service is away they go on until their tokens expire, which is minutes.
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
from services.runtime import access

log = structlog.get_logger()

# How often credentials are checked. With the check itself, a call outlives its credential by less than 5 seconds.
CHECK_SECONDS = 1.0
CHECKED_AT_ONCE = 500

Credential = tuple[str, str]
"""An account's id, and that of a session or API key of it."""
Check = Callable[[Sequence[Credential]], Awaitable[Mapping[Credential, Sequence[str]]]]
"""Returns the roles of the credentials that are valid."""


class _Stream:
    """A call that lasts."""

    def __init__(self, user: access.User, role: str) -> None:
        self.credential = (user.id, user.session)
        self.role = role
        self.end = asyncio.timeout(user.expire_time - time.time())

    def stop(self) -> None:
        """End it now."""
        self.end.reschedule(asyncio.get_running_loop().time())


class Authority:
    """The calls of a server that last, and the end of each."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._streams: set[_Stream] = set()
        self._any = asyncio.Event()

    @asynccontextmanager
    async def required(self, method: str) -> AsyncIterator[None]:
        """End what is done in this context as soon as its user may not do it any more.

        Raises Unauthenticated then. Calls that are not made for a user go on.
        """
        user, rule = access.current_user(), contract.rule(method)
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
        """Check the credentials of all calls that last, again and again while there are any."""
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
        for first in range(0, len(credentials), CHECKED_AT_ONCE):
            asked = credentials[first : first + CHECKED_AT_ONCE]
            valid = await self._check(asked)
            # Those that have begun or ended meanwhile are left out.
            for stream in [stream for stream in self._streams if stream.credential in asked]:
                if stream.role not in ("*", *valid.get(stream.credential, ())) or stream.credential not in valid:
                    self._streams.discard(stream)
                    stream.stop()


def checker(channel: calls.TypedChannel) -> Check:
    """What asks the user service, on a channel to it."""
    stub = pb_grpc.AuthorityServiceStub(channel)

    async def check(credentials: Sequence[Credential]) -> Mapping[Credential, Sequence[str]]:
        asked = [pb.Credential(account_id=account, credential_id=credential) for account, credential in credentials]
        states = (await stub.CheckCredentials(pb.CheckCredentialsRequest(credentials=asked))).states
        pairs = zip(credentials, states, strict=True)
        return {credential: state.roles for credential, state in pairs if state.valid}

    return check
