"""Api keys: what machines show to get an access token, each for a part of what its owner may do."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from datetime import timedelta

from moneyprinter.errors import NotFound, PermissionDenied, ResourceExhausted, Unauthenticated
from services.user.desk import KEY_PREFIX, Actor, Desk, Subject, acting, key_holder, sha256
from services.user.sessions import Tokens
from services.user.store import ApiKey, Client

_SHOWN = re.compile(r"mpk_([0-9a-f]{16})_([0-9a-f]{64})")


@dataclass(frozen=True)
class Wish:
    """A key to be made."""

    display_name: str
    roles: tuple[str, ...]
    valid_for: timedelta | None = None
    """None: until it is revoked."""


async def create(desk: Desk, actor: Actor, wish: Wish) -> tuple[str, ApiKey]:
    """Make a key; returns what is shown once, and what is kept.

    Raises PermissionDenied when it were to do more than its owner, ResourceExhausted when there are too many.
    """
    async with desk.audited_by(actor, "api_key.create") as entry:
        account = await acting(desk, actor)
        if missing := [role for role in wish.roles if role not in account.roles]:
            raise PermissionDenied(f"you do not have the role {missing[0]} yourself", reason="ROLE_MISSING")
        now, secret = desk.now(), desk.random(32).hex()
        key = ApiKey(
            id=desk.new_id("key"),
            account_id=account.id,
            display_name=wish.display_name,
            sha256=sha256(secret),
            roles=wish.roles,
            create_time=now,
            expire_time=now + wish.valid_for if wish.valid_for else None,
        )
        entry.target, entry.details["roles"] = key.id, " ".join(key.roles)
        if not await desk.store.keys.add(key, desk.policy.keys_at_most):
            raise ResourceExhausted(
                f"you have {desk.policy.keys_at_most} API keys, as many as are allowed; revoke one",
                reason="API_KEYS_EXHAUSTED",
            )
        return f"mpk_{key.id.removeprefix(KEY_PREFIX)}_{secret}", key


async def listed(desk: Desk, actor: Actor) -> list[ApiKey]:
    """The keys of who is asking; a machine may ask too."""
    account = await acting(desk, actor, person=False)
    return await desk.store.keys.listed(account.id)


async def revoke(desk: Desk, actor: Actor, key_id: str) -> None:
    """Revoke a key of who is asking. Raises NotFound."""
    async with desk.audited_by(actor, "api_key.revoke", key_id):
        account = await acting(desk, actor)
        if not await desk.store.keys.revoke(account.id, key_id, desk.now()):
            raise NotFound(f"you have no API key {key_id}", reason="API_KEY_NOT_FOUND")


async def exchange(desk: Desk, shown: str, client: Client) -> Tokens:
    """Trade a key for an access token. Raises Unauthenticated, whatever is wrong with it."""
    async with desk.audited("api_key.exchange", client) as entry:
        match, now = _SHOWN.fullmatch(shown), desk.now()
        key_id, secret = (KEY_PREFIX + match[1], match[2]) if match else ("", "")
        found = await desk.store.keys.find(key_id)
        if found is not None:
            entry.target = key_id
        account = key_holder(found, now)
        if found is None or account is None or not hmac.compare_digest(found[0].sha256, sha256(secret)):
            raise Unauthenticated("the API key is unknown, expired, or revoked", reason="API_KEY_INVALID")
        entry.actor = account.id
        await desk.store.keys.used(key_id, client.address, now)
        return Tokens(desk.tokens.sign(Subject(account.id, key_id, account.roles), now), desk.tokens.life)
