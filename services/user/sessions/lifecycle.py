"""Lifecycle: sessions continue with refresh tokens, each valid for one use, until they are ended."""

from __future__ import annotations

import hmac

from moneyprinter.errors import NotFound, Unauthenticated
from services.user.accounts.model import Account
from services.user.authorization import require_account
from services.user.client import Client
from services.user.context import Actor, Context, TokenSubject
from services.user.sessions.model import REFRESH_TOKEN_LIFETIME, IssuedTokens, RefreshToken, Session, TokenUse
from services.user.tokens.opaque_tokens import encode_token, hash_token


async def refresh_tokens(context: Context, token: str, client: Client) -> IssuedTokens:
    """Exchange a refresh token for the next tokens. Raises `Unauthenticated` when it is not valid.

    The successor is derived from the token itself and a stored salt. Two concurrent uses therefore get the same
    successor, and neither the stored data nor an older token is enough to derive it.
    """
    async with context.audit_action("session.refresh", client) as entry:
        now, salt = context.now(), context.random(32)
        successor = RefreshToken(hash_token(_successor(token, salt)), now + REFRESH_TOKEN_LIFETIME)
        rotation = await context.store.sessions.rotate(hash_token(token), TokenUse(now, client, salt, successor))
        if rotation is not None:
            entry.actor = entry.target = rotation.account.id
            entry.details["session"] = rotation.session_id
        if rotation is None:
            await context.throttle.count_invalid_token("refresh token", client.address, now)
        if rotation is None or rotation.salt is None:
            entry.details["replayed"] = str(rotation is not None).lower()
            raise Unauthenticated(
                "the refresh token is unknown, expired, or was used before; sign in again",
                reason="REFRESH_TOKEN_INVALID",
            )
        return issue_tokens(context, rotation.account, rotation.session_id, _successor(token, rotation.salt))


async def sign_out(context: Context, token: str, client: Client) -> None:
    """End the session of a refresh token. An unknown token is ignored."""
    async with context.audit_action("sign_out", client) as entry:
        if session := await context.store.sessions.end_by_token(hash_token(token)):
            entry.actor = entry.target = session.account_id
            entry.details["session"] = session.id


async def list_sessions(context: Context, actor: Actor) -> list[Session]:
    """Return the active sessions of the actor's account."""
    account = await require_account(context, actor)
    return await context.store.sessions.list_active(account.id, context.now())


async def end_session(context: Context, actor: Actor, session_id: str) -> None:
    """End a session of the actor's account. Raises `NotFound`."""
    async with context.audit_actor_action(actor, "session.end", session_id):
        account = await require_account(context, actor)
        if not await context.store.sessions.end(account.id, session_id):
            raise NotFound(f"you have no session {session_id}", reason="SESSION_NOT_FOUND")


async def end_sessions(context: Context, actor: Actor, keep_current: bool) -> int:
    """End the sessions of the actor's account, and return how many there were."""
    async with context.audit_actor_action(actor, "session.end_all", actor.account_id):
        account = await require_account(context, actor)
        return await context.store.sessions.end_all(account.id, actor.session_id if keep_current else "")


def issue_tokens(context: Context, account: Account, session_id: str, refresh_token: str) -> IssuedTokens:
    """Return a new access token for a session, beside its refresh token."""
    subject = TokenSubject(account.id, session_id, account.roles)
    return IssuedTokens(context.tokens.sign(subject, context.now()), context.tokens.lifetime, refresh_token)


def _successor(token: str, salt: bytes) -> str:
    return encode_token(hmac.digest(token.encode(), salt, "sha256"))
