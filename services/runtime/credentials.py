"""Credentials: ends the use of access tokens whose session, API key, account or role was revoked, within a second.

A token is valid until it expires, minutes after it was signed. So each call of a user checks its credential: against
the revocation feed in Redis, or, without Redis and for a credential that is in the feed, with the user service, whose
result is used again for `CACHE_SECONDS`. While neither can be reached, calls go on until their tokens expire.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import structlog

from moneyprinter.errors import Error, PermissionDenied, Unauthenticated, Unavailable
from services.runtime.identity import User
from services.runtime.revocation import Check, Credential
from services.runtime.revocation_feed import RevocationFeed

log = structlog.get_logger()

CACHE_SECONDS = 0.5
CACHE_ENTRIES = 10_000
# Together with the time limit of the database, less than the two seconds in which clients learn of an outage.
CHECK_SECONDS = 0.3
PAUSE_SECONDS = 0.5


class CredentialGuard:
    """Checks the credentials of calls."""

    def __init__(self, check: Check, feed: RevocationFeed | None = None) -> None:
        self._check = check
        self._feed = feed
        self._checked: dict[Credential, tuple[float, Sequence[str] | None]] = {}
        self._running: dict[Credential, asyncio.Task[Sequence[str] | Error | None]] = {}
        self._is_failing = False
        self._paused_until = 0.0

    async def require_valid(self, user: User, role: str) -> None:
        """Check the credential of a user who calls a method that needs `role`, `*` for any.

        Raises `Unauthenticated` when its session, API key or account is revoked, `PermissionDenied` when it lost the
        role, and `Unavailable` when it changed lately and the user service cannot be reached.
        """
        changed = await self._feed.contains_any((user.id, user.session)) if self._feed is not None else None
        if changed is False:
            return
        roles = await self._find_roles((user.id, user.session), must_wait=changed is True)
        if isinstance(roles, Error):
            if changed:
                # It was changed, and how is unknown.
                raise roles
            return
        if roles is None:
            raise Unauthenticated("the session of this token is over; sign in again", reason="TOKEN_INVALID")
        if role not in ("*", *roles):
            raise PermissionDenied(f"this needs the role {role}; ask an administrator for it", reason="ROLE_MISSING")

    async def _find_roles(self, credential: Credential, *, must_wait: bool) -> Sequence[str] | Error | None:
        """Return the roles of a credential, None when it is not valid, or the error of the user service.

        After a failure, calls do not wait for the next checks, which go on in the background, unless they `must_wait`.
        """
        cached = self._checked.get(credential)
        if cached is not None and time.monotonic() - cached[0] < CACHE_SECONDS:
            return cached[1]
        # One check serves all that wait for the same credential.
        task = self._running.get(credential)
        if self._is_failing and not must_wait:
            if not self._running and time.monotonic() >= self._paused_until:
                self._begin_check(credential)
            return _unavailable()
        return await asyncio.shield(task or self._begin_check(credential))

    def _begin_check(self, credential: Credential) -> asyncio.Task[Sequence[str] | Error | None]:
        task = self._running[credential] = asyncio.create_task(self._fetch_roles(credential))
        task.add_done_callback(lambda _: self._running.pop(credential, None))
        return task

    async def _fetch_roles(self, credential: Credential) -> Sequence[str] | Error | None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                roles = (await self._check([credential])).get(credential)
        except (Error, TimeoutError) as failure:
            log.debug("credential not checked", error=type(failure).__name__)
            self._is_failing, self._paused_until = True, time.monotonic() + PAUSE_SECONDS
            return failure if isinstance(failure, Error) else _unavailable()
        self._is_failing = False
        if len(self._checked) >= CACHE_ENTRIES:
            self._checked.clear()
        self._checked[credential] = began, roles
        return roles


def _unavailable() -> Unavailable:
    return Unavailable(
        "the session of this token cannot be checked; try again in a moment",
        reason="SERVICE_UNAVAILABLE",
        retry_after_seconds=1.0,
    )
