"""Sessions: sign in with name and password, stay signed in with refresh tokens that are good for one use."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from datetime import timedelta

from moneyprinter.errors import NotFound, PermissionDenied, Unauthenticated
from services.user.accounts import Account, normalised
from services.user.attempts import network_of, password_of
from services.user.desk import Actor, Desk, Subject, acting, sha256, text_of
from services.user.proof import Code, check_code
from services.user.store import Client, RefreshToken, Session, Use

REFRESH_LIFE = timedelta(days=30)
# How long a network counts as the owner's after a sign-in from it.
NETWORK_LIFE = timedelta(days=90)


@dataclass(frozen=True)
class Credentials:
    """What is shown to sign in."""

    username: str
    password: str = field(repr=False)
    code: Code = field(default_factory=Code)


@dataclass(frozen=True)
class Tokens:
    """What a user has to show until the access token expires, and how to go on then."""

    access_token: str = field(repr=False)
    access_life: timedelta
    refresh_token: str = field(default="", repr=False)


async def sign_in(desk: Desk, credentials: Credentials, client: Client) -> Tokens:
    """Trade name and password, and a code where the account asks for one, for a session.

    Raises Unauthenticated, in the same words and after the same time whether the name or the password was
    wrong, and ResourceExhausted when there were too many failures; only to who knows the password, that a code
    is missing or wrong, and PermissionDenied when the account is disabled.
    """
    name, network = normalised(credentials.username), network_of(client.address)
    async with desk.audited("sign_in", client) as entry:
        account = await desk.store.accounts.named(name)
        if account is not None:
            entry.target = account.id
        # Asked of names that there are not, too: an answer takes as long for them.
        at_home = await desk.store.accounts.uses_network(account.id if account else "", network, desk.now())
        counted = (
            desk.guard.counted_at_home(password_of(name, network), desk.now)
            if at_home
            else desk.guard.counted(password_of(name), client.address, desk.now)
        )
        async with counted:
            # Read again: while this attempt waited for others, the password may have changed.
            account = await desk.store.accounts.named(name)
            known = await desk.passwords.verify(account.password_hash if account else None, credentials.password)
            if account is None or account.password_hash is None or not known:
                raise Unauthenticated("name and password do not belong together", reason="CREDENTIALS_WRONG")
        if account.mfa:
            await _check_code(desk, account, credentials.code, client)
        password_hash = await _fresh_hash(desk, account, account.password_hash, credentials.password)
        token, now = desk.new_token(), desk.now()
        session = Session(desk.new_id("ses", 16), account.id, now, now, client)
        kept = RefreshToken(sha256(token), now + REFRESH_LIFE)
        if not await desk.store.sessions.begin(session, kept, password_hash):
            raise PermissionDenied("this account is disabled; ask an administrator", reason="ACCOUNT_DISABLED")
        if network:
            await desk.store.accounts.use_network(account.id, network, now, now + NETWORK_LIFE)
        entry.actor, entry.details["session"] = account.id, session.id
        return _tokens(desk, account, session.id, token)


async def _check_code(desk: Desk, account: Account, code: Code, client: Client) -> None:
    if not code.given:
        raise Unauthenticated("this account asks for a code: send totp_code or recovery_code", reason="MFA_REQUIRED")
    wrong = Unauthenticated("the code is wrong, too old, or was used before", reason="MFA_CODE_WRONG")
    await check_code(desk, account, code, client, wrong)


async def _fresh_hash(desk: Desk, account: Account, password_hash: str, password: str) -> str:
    """The hash of the account's password, made anew when it was made with parameters of former times."""
    if not desk.passwords.stale(password_hash):
        return password_hash
    fresh = await desk.passwords.hash(password)
    return fresh if await desk.store.accounts.rehash(account.id, password_hash, fresh) else password_hash


async def refresh(desk: Desk, token: str, client: Client) -> Tokens:
    """Trade a refresh token for the next tokens. Raises Unauthenticated when it is not good, or not good any more.

    Its successor is made of the token itself and a salt that is kept: who uses it twice at once is told the
    same one twice, and nobody else can make it, neither of what is kept nor of an old token.
    """
    async with desk.audited("session.refresh", client) as entry:
        now, salt = desk.now(), desk.random(32)
        successor = RefreshToken(sha256(_successor(token, salt)), now + REFRESH_LIFE)
        rotated = await desk.store.sessions.rotate(sha256(token), Use(now, client, salt, successor))
        if rotated is not None:
            entry.actor = entry.target = rotated.account.id
            entry.details["session"] = rotated.session_id
        if rotated is None:
            await desk.guard.guessed("refresh token", client.address, now)
        if rotated is None or rotated.salt is None:
            entry.details["replayed"] = str(rotated is not None).lower()
            raise Unauthenticated(
                "the refresh token is unknown, expired, or was used before; sign in again",
                reason="REFRESH_TOKEN_INVALID",
            )
        return _tokens(desk, rotated.account, rotated.session_id, _successor(token, rotated.salt))


async def sign_out(desk: Desk, token: str, client: Client) -> None:
    """End the session of a refresh token, if it has one."""
    async with desk.audited("sign_out", client) as entry:
        if session := await desk.store.sessions.end_by_token(sha256(token)):
            entry.actor = entry.target = session.account_id
            entry.details["session"] = session.id


async def listed(desk: Desk, actor: Actor) -> list[Session]:
    """The sessions of who is asking."""
    account = await acting(desk, actor)
    return await desk.store.sessions.listed(account.id, desk.now())


async def end(desk: Desk, actor: Actor, session_id: str) -> None:
    """End a session of who is asking. Raises NotFound."""
    async with desk.audited_by(actor, "session.end", session_id):
        account = await acting(desk, actor)
        if not await desk.store.sessions.end(account.id, session_id):
            raise NotFound(f"you have no session {session_id}", reason="SESSION_NOT_FOUND")


async def end_all(desk: Desk, actor: Actor, keep_current: bool) -> int:
    """End the sessions of who is asking, and say how many there were."""
    async with desk.audited_by(actor, "session.end_all", actor.account_id):
        account = await acting(desk, actor)
        return await desk.store.sessions.end_all(account.id, actor.session_id if keep_current else "")


def _successor(token: str, salt: bytes) -> str:
    return text_of(hmac.digest(token.encode(), salt, "sha256"))


def _tokens(desk: Desk, account: Account, session_id: str, refresh_token: str) -> Tokens:
    subject = Subject(account.id, session_id, account.roles)
    return Tokens(desk.tokens.sign(subject, desk.now()), desk.tokens.life, refresh_token)
