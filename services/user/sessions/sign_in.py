"""Sign-in: username, password and, with MFA, a code are exchanged for the tokens of a new session."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from moneyprinter.errors import PermissionDenied, Unauthenticated
from services.user.accounts.credential_rules import normalize_username
from services.user.accounts.model import Account
from services.user.authentication.reauthentication import SecondFactorCode, require_code
from services.user.authentication.throttling import network_of, sign_in_counter
from services.user.client import Client
from services.user.context import Context
from services.user.sessions.lifecycle import issue_tokens
from services.user.sessions.model import REFRESH_TOKEN_LIFETIME, IssuedTokens, RefreshToken, Session
from services.user.tokens.opaque_tokens import hash_token

# How long a network counts as known after a sign-in from it.
NETWORK_LIFETIME = timedelta(days=90)


@dataclass(frozen=True)
class Credentials:
    """What a client presents to sign in."""

    username: str
    password: str = field(repr=False)
    code: SecondFactorCode = field(default_factory=SecondFactorCode)


async def sign_in(context: Context, credentials: Credentials, client: Client) -> IssuedTokens:
    """Exchange credentials for a session.

    Raises `Unauthenticated`, with the same message and after the same time whether the username or the password is
    wrong, and `ResourceExhausted` after too many failures. Only with the correct password does a client learn that a
    code is missing or wrong (`Unauthenticated`), or that the account is disabled (`PermissionDenied`).
    """
    username, network = normalize_username(credentials.username), network_of(client.address)
    async with context.audit_action("sign_in", client) as entry:
        account = await context.store.accounts.find_by_username(username)
        if account is not None:
            entry.target = account.id
        # Queried for unknown usernames too, so that the response takes as long for them.
        is_known_network = await context.store.accounts.is_known_network(
            account.id if account else "", network, context.now()
        )
        attempt = (
            context.throttle.attempt_from_known_network(sign_in_counter(username, network), context.now)
            if is_known_network
            else context.throttle.attempt(sign_in_counter(username), client.address, context.now)
        )
        async with attempt:
            # Read again: while this attempt waited for others, the password may have changed.
            account = await context.store.accounts.find_by_username(username)
            matches = await context.passwords.verify(account.password_hash if account else None, credentials.password)
            if account is None or account.password_hash is None or not matches:
                raise Unauthenticated("name and password do not belong together", reason="CREDENTIALS_WRONG")
        if account.mfa_enabled:
            await _require_code(context, account, credentials.code, client)
        password_hash = await _update_hash(context, account, account.password_hash, credentials.password)
        token, now = context.new_token(), context.now()
        session = Session(context.new_id("ses", 16), account.id, now, now, client)
        refresh_token = RefreshToken(hash_token(token), now + REFRESH_TOKEN_LIFETIME)
        if not await context.store.sessions.add(session, refresh_token, password_hash):
            raise PermissionDenied("this account is disabled; ask an administrator", reason="ACCOUNT_DISABLED")
        if network:
            await context.store.accounts.remember_network(account.id, network, now, now + NETWORK_LIFETIME)
        entry.actor, entry.details["session"] = account.id, session.id
        return issue_tokens(context, account, session.id, token)


async def _require_code(context: Context, account: Account, code: SecondFactorCode, client: Client) -> None:
    if not code.is_present:
        raise Unauthenticated("this account asks for a code: send totp_code or recovery_code", reason="MFA_REQUIRED")
    wrong = Unauthenticated("the code is wrong, too old, or was used before", reason="MFA_CODE_WRONG")
    await require_code(context, account, code, client, wrong)


async def _update_hash(context: Context, account: Account, password_hash: str, password: str) -> str:
    """Hash the password again when its hash was made with former parameters; return the current hash."""
    if not context.passwords.needs_rehash(password_hash):
        return password_hash
    new_hash = await context.passwords.hash(password)
    return new_hash if await context.store.accounts.replace_hash(account.id, password_hash, new_hash) else password_hash
