"""Proof: who has signed in shows the password again before something that a stolen token must not do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from moneyprinter.errors import PermissionDenied
from services.user.accounts import Account
from services.user.desk import Desk
from services.user.store import Client


@asynccontextmanager
async def proven(desk: Desk, account: Account, password: str, client: Client) -> AsyncIterator[None]:
    """Check the password; what fails within the context counts as a failure to prove oneself, too.

    Raises PermissionDenied, or ResourceExhausted after too many failures, of signing in or here.
    """
    async with desk.guard.counted(account.username, client.address, desk.now):
        if not await desk.passwords.verify(account.password_hash, password):
            raise PermissionDenied("the password is wrong", reason="CREDENTIALS_WRONG")
        yield
