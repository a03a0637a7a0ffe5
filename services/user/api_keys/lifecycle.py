"""Lifecycle: users create, list and revoke the API keys of their account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from moneyprinter.errors import InvalidArgument, NotFound, PermissionDenied, ResourceExhausted, Violation
from services.user.api_keys.model import KEY_PREFIX, ApiKey
from services.user.authorization import require_account, require_recent_proof
from services.user.context import Actor, Context
from services.user.tokens.opaque_tokens import hash_token


@dataclass(frozen=True)
class ApiKeyRequest:
    """An API key to be created."""

    display_name: str
    roles: tuple[str, ...]
    valid_for: timedelta | None = None
    """None: the default of the platform."""


async def create_api_key(context: Context, actor: Actor, request: ApiKeyRequest) -> tuple[str, ApiKey]:
    """Create a key; return its full text, which is not stored, and the key.

    Raises `PermissionDenied` without a recent proof of identity, or when the key would have a role that its owner has
    not; `InvalidArgument` when it would be valid for too long; `ResourceExhausted` when the account has too many.
    """
    async with context.audit_actor_action(actor, "api_key.create") as entry:
        account = await require_recent_proof(context, actor)
        if missing := [role for role in request.roles if role not in account.roles]:
            raise PermissionDenied(f"you do not have the role {missing[0]} yourself", reason="ROLE_MISSING")
        lifetime = request.valid_for or context.policy.api_key_lifetime
        if lifetime > context.policy.max_api_key_lifetime:
            problem = f"must be at most {context.policy.max_api_key_lifetime.days} days"
            raise InvalidArgument(
                f"valid_for: {problem}", reason="REQUEST_INVALID", violations=[Violation("valid_for", problem)]
            )
        now, secret = context.now(), context.random(32).hex()
        key = ApiKey(
            id=context.new_id("key"),
            account_id=account.id,
            display_name=request.display_name,
            sha256=hash_token(secret),
            roles=request.roles,
            create_time=now,
            expire_time=now + lifetime,
        )
        entry.target = key.id
        entry.details.update(roles=" ".join(key.roles), expire_time=key.expire_time.isoformat(timespec="seconds"))
        if not await context.store.api_keys.add(key, context.policy.max_api_keys):
            raise ResourceExhausted(
                f"you have {context.policy.max_api_keys} API keys, as many as are allowed; revoke one",
                reason="API_KEYS_EXHAUSTED",
            )
        return f"mpk_{key.id.removeprefix(KEY_PREFIX)}_{secret}", key


async def list_api_keys(context: Context, actor: Actor) -> list[ApiKey]:
    """Return the keys of the actor's account; API keys are admitted."""
    account = await require_account(context, actor, allow_api_key=True)
    return await context.store.api_keys.list_by_account(account.id)


async def revoke_api_key(context: Context, actor: Actor, key_id: str) -> None:
    """Revoke a key of the actor's account. Raises `NotFound`."""
    async with context.audit_actor_action(actor, "api_key.revoke", key_id):
        account = await require_account(context, actor)
        if not await context.store.api_keys.revoke(account.id, key_id, context.now()):
            raise NotFound(f"you have no API key {key_id}", reason="API_KEY_NOT_FOUND")
