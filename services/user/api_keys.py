"""Api keys: what machines show to get an access token, each for a part of what its owner may do."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from datetime import timedelta

from moneyprinter.errors import (
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Violation,
)
from services.user.desk import KEY_PREFIX, Actor, Desk, Subject, acting, key_holder, sha256
from services.user.proof import acting_proven
from services.user.sessions import Tokens
from services.user.store import ApiKey, Client

_SHOWN = re.compile(r"mpk_([0-9a-f]{16})_([0-9a-f]{64})")


@dataclass(frozen=True)
class Wish:
    """A key to be made."""

    display_name: str
    roles: tuple[str, ...]
    valid_for: timedelta | None = None
    """None: as long as usual."""


async def create(desk: Desk, actor: Actor, wish: Wish) -> tuple[str, ApiKey]:
    """Make a key; returns what is shown once, and what is kept.

    Raises PermissionDenied without a proof of late, or when it were to do more than its owner; InvalidArgument when it
    were to last for too long, ResourceExhausted when there are too many.
    """
    async with desk.audited_by(actor, "api_key.create") as entry:
        account = await acting_proven(desk, actor)
        if missing := [role for role in wish.roles if role not in account.roles]:
            raise PermissionDenied(f"you do not have the role {missing[0]} yourself", reason="ROLE_MISSING")
        life = wish.valid_for or desk.policy.key_life
        if life > desk.policy.key_life_at_most:
            said = f"must be at most {desk.policy.key_life_at_most.days} days"
            raise InvalidArgument(
                f"valid_for: {said}", reason="REQUEST_INVALID", violations=[Violation("valid_for", said)]
            )
        now, secret = desk.now(), desk.random(32).hex()
        key = ApiKey(
            id=desk.new_id("key"),
            account_id=account.id,
            display_name=wish.display_name,
            sha256=sha256(secret),
            roles=wish.roles,
            create_time=now,
            expire_time=now + life,
        )
        entry.target = key.id
        entry.details.update(roles=" ".join(key.roles), expire_time=key.expire_time.isoformat(timespec="seconds"))
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
            await desk.guard.guessed("API key", client.address, now)
            raise Unauthenticated("the API key is unknown, expired, or revoked", reason="API_KEY_INVALID")
        entry.actor = account.id
        await desk.store.keys.used(key_id, client.address, now)
        subject = Subject(account.id, key_id, account.roles, found[0].expire_time)
        return Tokens(desk.tokens.sign(subject, now), min(desk.tokens.life, found[0].expire_time - now))
